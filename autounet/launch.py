"""One training run: its parts are chosen, put together and run, and the result is stored and scored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from autounet.augmentation import POLICIES
from autounet.data.dataset import RawCase
from autounet.data.io import read_image, read_label, write_label
from autounet.data.splits import Split
from autounet.errors import RequestError
from autounet.evaluation.overlap import ClassScore, score_case
from autounet.evaluation.summary import CaseScores, Summary, summarize, write_summary
from autounet.inference.predictor import Predictor
from autounet.losses import LOSSES
from autounet.losses.compound import DeepSupervision
from autounet.models.folder import FoldName, ModelRecord, build_network, record_path, save_weights
from autounet.networks.blocks import SegmentationNetwork
from autounet.parallel import available_cpus, available_memory_bytes
from autounet.plans import Configuration, Plan
from autounet.preprocessing.store import PreparedStore
from autounet.progress import SILENT, Reporter
from autounet.training.config import TrainConfig
from autounet.training.objective import SegmentationObjective
from autounet.training.precision import Precision, choose_precision
from autounet.training.sampling import CaseCache, PatchSampler
from autounet.training.time_budget import measure_step, size_to_clock, with_patch
from autounet.training.trainer import PatchStage, Trainer, Validation

# Whole cases scored at each validation on the way; a different handful each time.
_CASES_A_VALIDATION = 8
# Of a given time, the final validation may take this share; reading and writing add to the network's part of it.
_FINAL_VALIDATION_SHARE = 0.15
_FINAL_VALIDATION_MARGIN = 1.3
# Kept back for storing weights and scores, so that the command ends in time.
_CLOSING_SECONDS = 2.0
_CACHE_SHARE_OF_MEMORY = 0.3
_MAX_WORKERS = 12
_LARGEST_BATCH = 16


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
        folder: Of the fold.
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
        RequestError: A checkpoint to resume from is missing or damaged.
        RunError: Training failed.
    """
    precision = choose_precision(run.config.precision, run.device)
    reporter.say(f"{run.device.type}, {str(precision.dtype).removeprefix('torch.')}: {precision.reason}")
    record = ModelRecord.read(record_path(run.folder)) if run.resume else _plan_run(run, precision, reporter)
    torch.manual_seed(record.config.seed)
    network = build_network(record).to(run.device)
    predictor = Predictor.of(record, (network,), device=run.device, precision=precision)
    final_cases, reserve = _final_validation(run, predictor, record.config, reporter)
    trainer = _trainer(run, record, network, predictor, precision, reserve, reporter)
    if run.resume and trainer.checkpoint_path.exists():
        trainer.resume()
        reporter.say(f"resuming at step {trainer.state.step}, {trainer.progress:.0%} of the run")
    elif run.resume:
        reporter.say("the run was stopped before its first checkpoint; it starts from the beginning")
    record.write(record_path(run.folder))
    weights = trainer.run()
    save_weights(run.folder, weights)
    network.load_state_dict(weights)
    summary = _validate_finally(run, predictor, final_cases, reporter)
    finished = record.model_copy(update={"finished": True, "validation_dice": summary.foreground_dice})
    finished.write(record_path(run.folder))
    return summary


def _plan_run(run: FoldRun, precision: Precision, reporter: Reporter) -> ModelRecord:
    """Size the configuration to the time given, tell what is coming, and record it."""
    plan, config, configuration = run.plan, run.config, run.configuration
    measure = partial(
        measure_step,
        num_channels=len(plan.channels),
        num_outputs=plan.labels.num_outputs,
        device=run.device,
        autocast=precision.autocast(run.device),
    )
    changes: tuple[str, ...] = ()
    if config.max_seconds is None:
        seconds = measure(configuration, 0.0)
        total = config.num_epochs * config.steps_per_epoch * seconds
        reporter.say(
            f"{seconds:.2f} s a step, {config.num_epochs} epochs of {config.steps_per_epoch} steps: "
            f"about {_duration(total)}. For a shorter run that still ends well, give a time: --max-time 30m"
        )
    else:
        sizing = size_to_clock(configuration, config.max_seconds, measure)
        configuration, changes = sizing.configuration, sizing.changes
        for change in changes:
            reporter.say(f"sized to the time: {change}")
        reporter.say(
            f"{sizing.step_seconds:.2f} s a full-size step: about {config.max_seconds / sizing.step_seconds:.0f} "
            f"steps in {_duration(config.max_seconds)}"
        )
    augmentation = POLICIES.find(config.augmentation)(configuration.patch_size, ())
    return ModelRecord(
        plan=plan,
        configuration=configuration,
        fold=run.fold,
        mirror_axes=augmentation.mirror_axes,
        config=config,
        sizing=changes,
    )


def _trainer(
    run: FoldRun,
    record: ModelRecord,
    network: SegmentationNetwork,
    predictor: Predictor,
    precision: Precision,
    reserve: float,
    reporter: Reporter,
) -> Trainer:
    config, labels = record.config, record.plan.labels
    network.deep_supervision = config.deep_supervision
    loss = LOSSES.find(config.loss)(labels, batch_dice=record.configuration.batch_dice)
    objective = SegmentationObjective(
        DeepSupervision(loss, network.output_strides if config.deep_supervision else network.output_strides[:1]),
        run.device,
        precision,
    )
    total = None
    if config.max_seconds is not None:
        total = config.max_seconds - (time.perf_counter() - run.started) - reserve - _CLOSING_SECONDS
        if total < 1:
            raise RequestError(
                f"--max-time {_duration(config.max_seconds)} is too short: getting ready and validating take "
                f"{_duration(config.max_seconds - total)} here. Give at least {_duration(2 * config.max_seconds)}."
            )
    return Trainer(
        network,
        objective,
        _stages(run, record),
        config,
        total_seconds=total,
        validate=_WayValidation(run, predictor),
        folder=run.folder,
        num_workers=0 if run.device.type == "cpu" else min(_MAX_WORKERS, available_cpus()),
        scale_loss=precision.dtype == torch.float16,
        reporter=reporter,
    )


def _stages(run: FoldRun, record: ModelRecord) -> list[PatchStage]:
    config, configuration = record.config, record.configuration
    budget = int(available_memory_bytes() * _CACHE_SHARE_OF_MEMORY)
    cases = CaseCache(run.store, run.split.train, budget)
    masked = tuple(index for index, channel in enumerate(record.plan.channels) if channel.use_mask)
    stages = []
    for end, factor in (*config.growth, (1.0, 1.0)):
        patch = with_patch(configuration, factor)
        augmentation = POLICIES.find(config.augmentation)(patch, masked)
        # A smaller patch gets a larger batch: as many voxels a step, and steadier gradients.
        growth = round(np.prod(configuration.patch_size) / np.prod(patch) * config.growth_batch)
        batch = max(configuration.batch_size, min(configuration.batch_size * growth, _LARGEST_BATCH))
        stages.append(PatchStage(end, PatchSampler(cases, augmentation, batch, config.foreground_share, config.seed)))
    return stages


class _WayValidation:
    """Scores the network on a rotating handful of whole prepared cases, without mirrors."""

    def __init__(self, run: FoldRun, predictor: Predictor) -> None:
        self._run = run
        self._predictor = predictor.without_mirrors()

    def __call__(self, network: SegmentationNetwork, epoch: int) -> Validation:
        names = self._run.split.validation
        count = min(_CASES_A_VALIDATION, len(names))
        scores = [self._score(names[(epoch * count + index) % len(names)]) for index in range(count)]
        labels = self._run.plan.labels
        means = tuple(_mean([score[name].dice for score in scores]) for name in labels.class_names)
        return Validation(class_dice=means, num_cases=count)

    def _score(self, name: str) -> dict[str, ClassScore]:
        labels = self._run.plan.labels
        logits = self._predictor.logits(np.asarray(self._run.store.image(name)[:], dtype=np.float32))
        reference = np.maximum(self._run.store.label(name)[:][0], 0)
        return score_case(reference, labels.segmentation(logits), labels)


def _final_validation(
    run: FoldRun, predictor: Predictor, config: TrainConfig, reporter: Reporter
) -> tuple[tuple[str, ...], float]:
    """The cases of the final validation, and the seconds to keep for it."""
    names = run.split.validation
    if config.max_seconds is None or not names:
        return names, 0.0
    second_a_view = predictor.seconds_per_view(len(run.plan.channels))
    seconds = [second_a_view * predictor.num_views(run.store.record(name).properties.shape) for name in names]
    seconds = [_FINAL_VALIDATION_MARGIN * value for value in seconds]
    allowed = _FINAL_VALIDATION_SHARE * config.max_seconds
    if sum(seconds) <= allowed:
        return names, sum(seconds)
    count = max(1, int(len(names) * allowed / sum(seconds)))
    chosen = tuple(names[index * len(names) // count] for index in range(count))
    reporter.say(
        f"the final validation of {len(names)} cases would take {_duration(sum(seconds))}; {count} of them fit the time"
    )
    return chosen, sum(seconds[names.index(name)] for name in chosen)


def _validate_finally(run: FoldRun, predictor: Predictor, names: Sequence[str], reporter: Reporter) -> Summary:
    """Predict the validation cases from their raw files, keep the masks, and score them in their own space."""
    folder = run.folder / "validation"
    scores = []
    for name in reporter.track(names, "validate", len(names)):
        case = run.cases[name]
        assert case.label is not None
        image = read_image(case.images)
        prediction = predictor.predict(image)
        path = folder / f"{name}{run.plan.file_ending}"
        write_label(path, prediction, image.geometry)
        classes = score_case(read_label(case.label)[0], prediction, run.plan.labels)
        scores.append(CaseScores(case=name, reference=str(case.label), prediction=str(path), classes=classes))
    summary = summarize(scores)
    write_summary(summary, folder / "scores.json")
    return summary


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _duration(seconds: float) -> str:
    """A time that a person can read."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.0f} days"
