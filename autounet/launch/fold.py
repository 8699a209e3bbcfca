"""One training run: its parts are chosen, put together and run, and the result is stored and scored."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from autounet.augmentation.backends import choose_backend
from autounet.augmentation.patches import Augmentation
from autounet.data.dataset import RawCase
from autounet.data.splits import Split
from autounet.errors import RequestError
from autounet.evaluation.summary import Summary
from autounet.inference.predictor import Predictor
from autounet.laterality import Mirroring, is_one_sided
from autounet.launch.timing import with_time
from autounet.launch.validation import HandfulValidation, ValidationPlan, plan_validation, validate_fold
from autounet.losses import LOSSES
from autounet.losses.compound import DeepSupervision
from autounet.models.folder import FoldName, ModelRecord, build_network, record_path, save_weights
from autounet.networks.blocks import SegmentationNetwork
from autounet.parallel import available_cpus, available_memory_bytes
from autounet.plans import Configuration, Plan
from autounet.preprocessing.store import PreparedStore
from autounet.progress import SILENT, Reporter, duration
from autounet.training.config import TrainConfig
from autounet.training.objective import SegmentationObjective
from autounet.training.precision import Precision, choose_precision
from autounet.training.sampling import CaseCache, PatchSampler
from autounet.training.time_budget import growth_stages
from autounet.training.trainer import PatchStage, Trainer

# Kept back for storing weights and scores, so that the command ends in time.
_CLOSING_SECONDS = 2.0
_CACHE_SHARE_OF_MEMORY = 0.3
_MAX_WORKERS = 12


@dataclass(frozen=True)
class FoldRun:
    """All that a run needs.

    Attributes:
        plan: The dataset's plan.
        configuration: As planned.
        fold: Its name.
        split: Training and validation cases.
        cases: The raw cases by name, for the final validation.
        store: The prepared cases.
        config: How to train.
        folder: Of the fold; what an earlier run left there is removed unless it is resumed.
        device: Where to train.
        resume: Go on from the checkpoint in the folder.
        started: When the command began (`time.perf_counter`); a given time counts from there.
    """

    plan: Plan
    configuration: Configuration
    fold: FoldName
    split: Split
    cases: dict[str, RawCase]
    store: PreparedStore
    config: TrainConfig
    folder: Path
    device: torch.device
    resume: bool
    started: float


def train_fold(run: FoldRun, reporter: Reporter = SILENT) -> Summary:
    """Train one fold and score it on its validation cases.

    Returns:
        Scores of the validation cases, in their own space; also written to `validation/scores.json`.

    Raises:
        RequestError: A checkpoint to resume from is missing or damaged, or the time given is too short.
        RunError: Training failed.
    """
    earlier = ModelRecord.read(record_path(run.folder)) if run.resume else None
    config = earlier.config if earlier else run.config
    if config != run.config and run.config != TrainConfig():
        reporter.say("the run goes on as it was configured at its start; other options given now are not used")
    precision = choose_precision(config.precision, run.device)
    reporter.say(f"{run.device.type}, {str(precision.dtype).removeprefix('torch.')}: {precision.reason}")
    record = earlier or _plan_run(run, precision, reporter)
    torch.manual_seed(record.config.seed)
    network = build_network(record).to(run.device)
    predictor = Predictor.of(record, (network,), device=run.device, precision=precision)
    validation = plan_validation(run.split.validation, run.store, predictor, record.config.max_seconds)
    trainer = _trainer(run, record, network, predictor, precision, validation, reporter)
    if not run.resume:
        shutil.rmtree(run.folder, ignore_errors=True)
        record.write(record_path(run.folder))
    elif trainer.checkpoint_path.exists():
        trainer.resume()
        reporter.say(f"resuming at step {trainer.state.step}, {trainer.progress:.0%} of the run")
    else:
        reporter.say("the run was stopped before its first checkpoint; it starts from the beginning")
    weights = trainer.run()
    save_weights(run.folder, weights)
    network.load_state_dict(weights)
    network.deep_supervision = False
    final_cases = [run.cases[name] for name in validation.final_cases]
    summary = validate_fold(predictor, final_cases, run.folder / "validation", reporter)
    finished = record.model_copy(update={"finished": True, "validation_dice": summary.foreground_dice})
    finished.write(record_path(run.folder))
    return summary


def _plan_run(run: FoldRun, precision: Precision, reporter: Reporter) -> ModelRecord:
    """Size the configuration to the time given, tell what is coming, and record it."""
    config = _minding_annotation(run, reporter)
    configuration = with_time(run.plan, run.configuration, config, run.device, precision)
    assert configuration.time is not None
    for change in configuration.time.changes:
        reporter.say(f"sized to the time: {change}")
    reporter.say(configuration.time.summary)
    if config.max_seconds is None:
        reporter.say("for a shorter run that still ends well, give a time: --max-time 30m")
    augmentation = Augmentation.for_plan(run.plan, config.augmentation, config.laterality, configuration.patch_size)
    _tell_sides(augmentation.mirroring, reporter)
    return ModelRecord(
        plan=run.plan,
        configuration=configuration,
        fold=run.fold,
        mirror_axes=augmentation.mirror_axes,
        config=config,
    )


def _minding_annotation(run: FoldRun, reporter: Reporter) -> TrainConfig:
    """The configuration; without swaps of left and right where cases annotate one side only."""
    laterality, config = run.plan.laterality, run.config
    if laterality is None or config.laterality != "swap":
        return config
    known = [run.cases[name].annotated for name in run.split.train]
    if not any(is_one_sided(run.plan.labels, laterality.pairs, names) for names in known if names is not None):
        return config
    reporter.say("some cases annotate one of a left and a right class only, so the left-right axis is not mirrored")
    return config.model_copy(update={"laterality": "no_flip"})


def _tell_sides(mirrors: Mirroring, reporter: Reporter) -> None:
    if mirrors.swap_axis is not None:
        pairs = ", ".join(f"{left} and {right}" for left, right in mirrors.pairs)
        reporter.say(f"mirrors along the left-right axis swap the labels {pairs}")
    elif mirrors.side_axis is not None:
        reporter.say("the left-right axis is not mirrored, as left and right are told apart")


def _trainer(
    run: FoldRun,
    record: ModelRecord,
    network: SegmentationNetwork,
    predictor: Predictor,
    precision: Precision,
    validation: ValidationPlan,
    reporter: Reporter,
) -> Trainer:
    config = record.config
    network.deep_supervision = config.deep_supervision
    strides = network.output_strides if config.deep_supervision else network.output_strides[:1]
    loss = LOSSES.find(config.loss)(record.plan.labels, batch_dice=record.configuration.batch_dice)
    if len(validation.final_cases) < len(run.split.validation):
        reporter.say(
            f"the final validation of {len(run.split.validation)} cases would take "
            f"{duration(validation.final_seconds_of_all)}; {len(validation.final_cases)} of them fit the time"
        )
    return Trainer(
        network,
        SegmentationObjective(DeepSupervision(loss, strides), run.device, precision),
        _stages(run, record, reporter),
        config,
        total_seconds=_training_seconds(run, config, validation),
        validate=HandfulValidation(run.split, run.store, predictor, validation.num_on_the_way),
        folder=run.folder,
        num_workers=0 if run.device.type == "cpu" else min(_MAX_WORKERS, available_cpus()),
        scale_loss=precision.dtype == torch.float16,
        reporter=reporter,
    )


def _training_seconds(run: FoldRun, config: TrainConfig, validation: ValidationPlan) -> float | None:
    """What is left of the time given, after what has passed and what validation will take."""
    if config.max_seconds is None:
        return None
    total = config.max_seconds - (time.perf_counter() - run.started) - validation.seconds - _CLOSING_SECONDS
    if total < 1:
        raise RequestError(
            f"--max-time {duration(config.max_seconds)} is too short: getting ready and validating take "
            f"{duration(config.max_seconds - total)} here. Give at least {duration(2 * (config.max_seconds - total))}."
        )
    return total


def _stages(run: FoldRun, record: ModelRecord, reporter: Reporter) -> list[PatchStage]:
    """The sizes of patch over the run, the last one the configuration's own."""
    config, configuration = record.config, record.configuration
    cases = CaseCache(run.store, run.split.train, int(available_memory_bytes() * _CACHE_SHARE_OF_MEMORY))
    backend = choose_backend(config.augmentation_backend, run.device.type)
    reporter.say(backend.reason)
    stages = []
    for stage in growth_stages(configuration, config):
        augmentation = Augmentation.for_plan(record.plan, config.augmentation, config.laterality, stage.patch_size)
        sampler = PatchSampler(
            cases, augmentation, stage.batch_size, config.foreground_share, config.seed, on_device=backend.on_device
        )
        stages.append(PatchStage(stage.end, sampler))
    return stages
