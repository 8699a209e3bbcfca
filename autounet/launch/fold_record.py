"""What a run is about to do, decided and told before it starts: sizes, time, mirrors."""

from __future__ import annotations

from autounet.augmentation.patches import Augmentation
from autounet.diffusion.options import diffusion_options, resolved_objective
from autounet.laterality import Mirroring, is_one_sided
from autounet.launch.diffusion import require_drawable, with_what_drawing_needs
from autounet.launch.fold_run import FoldRun
from autounet.launch.timing import with_time
from autounet.models.folder import ModelRecord
from autounet.models.training_data import TrainingData
from autounet.progress import Reporter
from autounet.training.config import TrainConfig
from autounet.training.precision import Precision


def plan_run(run: FoldRun, precision: Precision, reporter: Reporter) -> ModelRecord:
    """Size the configuration to the time given, tell what is coming, and record it."""
    draws = diffusion_options(resolved_objective(run.config.objective, run.configuration.network.name)) is not None
    if draws:
        require_drawable(run)
    config = _minding_annotation(run, reporter)
    device, keep_network = run.replicas.device, run.start is not None
    configuration = with_time(run.plan, run.configuration, config, device, precision, keep_network=keep_network)
    assert configuration.time is not None
    for change in configuration.time.changes:
        reporter.say(f"sized to the time: {change}")
    reporter.say(configuration.time.summary)
    if config.max_seconds is None:
        reporter.say("for a shorter run that still ends well, give a time: --max-time 30m")
    augmentation = Augmentation.for_plan(run.plan, configuration, config.augmentation, config.laterality)
    _tell_sides(augmentation.mirroring, reporter)
    stored = [run.store.record(name) for name in run.split.train]
    looks = [case.appearance for case in stored]
    record = ModelRecord(
        plan=run.plan,
        configuration=configuration,
        fold=run.fold,
        mirror_axes=augmentation.mirror_axes,
        config=config,
        computed_in=precision.name,
        training_data=TrainingData.of([case.properties for case in stored], looks, run.plan),
        training_digest=run.split.training_digest,
        previous_model=None if run.previous is None else run.previous.name,
    )
    return with_what_drawing_needs(run, record) if draws else record


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
