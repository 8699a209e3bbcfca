"""One training run: its parts are chosen, put together and run, and the result is stored and scored."""

from __future__ import annotations

import math
import shutil
import time

import torch

from autounet.allocator import keep_large_blocks
from autounet.augmentation.backends import choose_backend
from autounet.augmentation.patches import Augmentation
from autounet.errors import RequestError
from autounet.launch.diffusion import DiffusionTask
from autounet.launch.fine_tuning import report_path, start_from
from autounet.launch.fold_record import plan_run
from autounet.launch.fold_run import FoldRun
from autounet.launch.task import FoldScores, SegmentationTask, Task
from autounet.launch.validation import ValidationPlan
from autounet.losses.label_maps import LabelMaps
from autounet.models.folder import ModelRecord, build_network, record_path, save_weights, seal_fold
from autounet.networks.base import SegmentationNetwork
from autounet.networks.layout import set_fast_layout
from autounet.parallel import available_cpus, available_memory_bytes
from autounet.progress import SILENT, Reporter, duration
from autounet.records import parse_json
from autounet.training.config import TrainConfig
from autounet.training.log import LoggedRun, StageMark
from autounet.training.loggers.run_log import RunLog
from autounet.training.precision import Precision, precision_for
from autounet.training.sampling import CaseCache, PatchSampler
from autounet.training.time_budget import growth_stages
from autounet.training.trainer import PatchStage, Trainer

# Kept back for storing weights and scores, so that the command ends in time.
_CLOSING_SECONDS = 2.0
_CACHE_SHARE_OF_MEMORY = 0.3
_MAX_WORKERS = 12


def train_fold(run: FoldRun, reporter: Reporter = SILENT) -> FoldScores | None:
    """Train one fold and score it on its validation cases.

    Returns:
        Scores of the validation cases, in their own space; also written into `validation/`. `None` where the run was
        asked to end before its time: its weights are stored all the same, and `resume` goes on with it.

    Raises:
        RequestError: A checkpoint to go on from is missing or damaged, or the time given is too short.
        RunError: Training failed.
    """
    if not run.replicas.is_main:
        reporter = SILENT
    if run.replicas.device.type == "cpu":
        keep_large_blocks()
    precision = _precision(run, reporter)
    record = _record(run, precision, reporter)
    torch.manual_seed(record.config.seed)
    network = build_network(record).to(run.replicas.device)
    is_new = run.mode == "new"
    transferred = start_from(run.start, network, record, reporter) if run.start and is_new else None
    run.replicas.share(network.parameters())
    set_fast_layout(network, run.replicas.device, precision.dtype)
    task: Task = (SegmentationTask if record.diffusion is None else DiffusionTask)(run, record, network, precision)
    trainer = _trainer(run, record, network, task, precision, reporter)
    if is_new and run.replicas.is_main:
        shutil.rmtree(run.folder, ignore_errors=True)
        if transferred:
            transferred.write(report_path(run.folder))
    if run.replicas.is_main:
        record.write(record_path(run.folder))
    _take_up(run, trainer, reporter)
    outcome = trainer.run()
    if not run.replicas.is_main:
        return None
    save_weights(run.folder, outcome.weights)
    if outcome.stopped is not None:
        seal_fold(run.folder, record.model_copy(update={"stopped_by": outcome.stopped}))
        return None
    network.load_state_dict(outcome.weights)
    scores = task.score_all(reporter)
    seal_fold(run.folder, record.model_copy(update={"finished": True, **scores.of_record}))
    return scores


def _precision(run: FoldRun, reporter: Reporter) -> Precision:
    """The number format; that of the main process for all, as what is measured may differ."""
    earlier = None if run.mode == "new" else ModelRecord.read(record_path(run.folder))
    if earlier is not None and earlier.computed_in is not None:
        # What is measured may come out otherwise, and a run that goes on would not be the one that was stopped.
        precision = Precision(getattr(torch, earlier.computed_in), "as the run began")
    else:
        config = run.config if earlier is None else earlier.config
        precision = precision_for(run.configuration.network, config.precision, run.replicas.device)
    reporter.say(f"{run.replicas.device.type}, {precision.name}: {precision.reason}")
    told = run.replicas.tell(precision.name)
    return precision if told == precision.name else Precision(getattr(torch, told), "as the main process found")


def _record(run: FoldRun, precision: Precision, reporter: Reporter) -> ModelRecord:
    """What is trained: decided by the main process, or by the run that this one goes on from."""
    text = ""
    if run.replicas.is_main:
        record = plan_run(run, precision, reporter) if run.mode == "new" else _earlier_record(run, reporter)
        text = record.model_dump_json()
    return ModelRecord.parse(parse_json(run.replicas.tell(text), "the main process's record"), "the record")


def _earlier_record(run: FoldRun, reporter: Reporter) -> ModelRecord:
    record = ModelRecord.read(record_path(run.folder))
    if record.config != run.config and run.config != TrainConfig():
        reporter.say("the run goes on as it was configured at its start; other options given now are not used")
    config = run.extension.of(record.config) if run.extension else record.config
    return record.model_copy(update={"config": config, "finished": False, "stopped_by": None})


def _take_up(run: FoldRun, trainer: Trainer, reporter: Reporter) -> None:
    """Go on from the checkpoint, if the run is to."""
    if run.mode == "new":
        return
    if not trainer.checkpoint_path.exists():
        if run.mode == "extend":
            raise RequestError(f"{trainer.checkpoint_path} does not exist; without it a run cannot be made longer")
        reporter.say("the run was stopped before its first checkpoint; it starts from the beginning")
        return
    if run.mode == "resume":
        trainer.resume()
    else:
        trainer.extend()
    reporter.say(f"going on at step {trainer.state.step}, {trainer.progress:.0%} of the run")


def _trainer(
    run: FoldRun,
    record: ModelRecord,
    network: SegmentationNetwork,
    task: Task,
    precision: Precision,
    reporter: Reporter,
) -> Trainer:
    config, device, validation = record.config, run.replicas.device, task.validation
    if config.compile:
        network.compile()
    if len(validation.final_cases) < len(run.split.validation):
        reporter.say(
            f"the final validation of {len(run.split.validation)} cases would take "
            f"{duration(validation.final_seconds_of_all)}; {len(validation.final_cases)} of them fit the time"
        )
    total_seconds = _training_seconds(run, config, validation)
    logged = _logged_run(run, record, task, total_seconds)
    return Trainer(
        network,
        task.objective,
        _stages(run, record, task.label_maps, reporter),
        config,
        total_seconds=total_seconds,
        validate=task.score_some,
        folder=run.folder,
        log=RunLog(logged, run.loggers, reporter) if run.replicas.is_main else None,
        replicas=run.replicas,
        num_workers=0 if device.type == "cpu" else min(_MAX_WORKERS, available_cpus() // run.replicas.count),
        scale_loss=precision.dtype == torch.float16,
        reporter=reporter,
    )


def _training_seconds(run: FoldRun, config: TrainConfig, validation: ValidationPlan) -> float | None:
    """What is left of the time given, after what has passed and what validation will take."""
    given = run.extension.seconds if run.extension else config.max_seconds
    if given is None:
        return None
    (total,) = run.replicas.agree([given - (time.perf_counter() - run.started) - validation.seconds - _CLOSING_SECONDS])
    if total < 1:
        option = "--extend" if run.extension else "--max-time"
        raise RequestError(
            f"{option} {duration(given)} is too short: getting ready and validating take "
            f"{duration(given - total)} here. Give at least {duration(math.ceil(2 * (given - total)))}."
        )
    return total


def _stages(run: FoldRun, record: ModelRecord, label_maps: LabelMaps | None, reporter: Reporter) -> list[PatchStage]:
    """The sizes of patch over the run, the last one the configuration's own."""
    config, configuration = record.config, record.configuration
    max_bytes = int(available_memory_bytes() * _CACHE_SHARE_OF_MEMORY)
    cases = CaseCache(run.store, run.split.train, max_bytes, run.previous)
    backend = choose_backend(
        config.augmentation_backend,
        run.replicas.device.type,
        needs_maps=label_maps is not None,
        is_cascade=run.previous is not None,
    )
    reporter.say(backend.reason)
    stages = []
    for stage in growth_stages(configuration, config):
        augmentation = Augmentation.for_plan(
            record.plan, configuration, config.augmentation, config.laterality, stage.patch_size
        )
        sampler = PatchSampler(
            cases,
            augmentation,
            stage.batch_size,
            config.foreground_share,
            config.seed,
            label_maps,
            configuration.network.halo,
            on_device=backend.on_device,
        )
        stages.append(PatchStage(stage.end, sampler))
    return stages


def _logged_run(run: FoldRun, record: ModelRecord, task: Task, total_seconds: float | None) -> LoggedRun:
    """What the log says of the run as a whole."""
    stages = growth_stages(record.configuration, record.config)
    return LoggedRun(
        folder=run.folder,
        title=f"{record.plan.dataset_name}, {record.configuration.name}, fold {record.fold}",
        class_names=task.class_names,
        config=record.config,
        num_validation_cases=len(run.split.validation),
        total_seconds=total_seconds,
        total_steps=record.config.total_steps if total_seconds is None else None,
        stages=tuple(StageMark(stage.end, stage.patch_size) for stage in stages),
    )
