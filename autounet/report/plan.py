"""A plan for people: a table of its configurations, every decision with its reason, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autounet.planners import planner_option, training_command
from autounet.planners.configuration import decided_values
from autounet.planners.reasons import by_axis
from autounet.planners.request import PlanRequest
from autounet.planners.spacing import AXES
from autounet.plans import Configuration, Decision, MemoryEstimate, Plan, TimePlan
from autounet.progress import duration
from autounet.workspace import dataset_number

_GIB = 2**30


def plan_table(plan: Plan) -> Table:
    """The configurations of a plan, side by side."""
    table = Table(title=f"Plan of {plan.dataset_name} by planner '{plan.planner}'", title_justify="left")
    table.add_column("")
    configurations = [_with_own_cost(plan, entry) for entry in plan.configurations.values()]
    for configuration in configurations:
        table.add_column(Text(configuration.name))
    rows = {
        "spacing (mm)": [by_axis(entry.spacing_mm) for entry in configurations],
        "median shape": [by_axis(entry.median_shape) for entry in configurations],
        "patch": [by_axis(entry.patch_size) for entry in configurations],
        "batch": [str(entry.batch_size) for entry in configurations],
        "network": [entry.network.name for entry in configurations],
        "stages": [str(entry.network.num_stages) for entry in configurations],
        "features": [by_axis(entry.network.features) for entry in configurations],
    }
    if any(entry.memory for entry in configurations):
        rows["memory"] = [_memory(entry.memory) for entry in configurations]
    if any(entry.time for entry in configurations):
        rows["training"] = [_time(entry.time) for entry in configurations]
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def explanation(plan: Plan) -> RenderableType:
    """Every decision of a plan with its reason and its alternatives, those of each configuration together."""
    parts: list[RenderableType] = [
        Text(f"{plan.dataset_name}, planned by '{plan.planner}' for {plan.memory_gib:g} GiB", style="bold")
    ]
    if plan.transpose_forward != (0, 1, 2):
        order = ", ".join(AXES[axis] for axis in plan.transpose_forward)
        parts.append(Text(f"Sizes are in the plan's axis order: {order} of the images.", style="italic"))
    names = set(plan.configurations)
    general = [entry for entry in plan.decisions if entry.name.partition(".")[0] not in names or "." not in entry.name]
    parts.append(_decisions(general, {}))
    for name, configuration in plan.configurations.items():
        own = [entry for entry in plan.decisions if entry.name.startswith(f"{name}.")]
        parts += [
            _heading(plan, _with_own_cost(plan, configuration), own),
            _decisions(own, decided_values(configuration)),
        ]
    return Group(*parts)


def what_next(plan: Plan, path: Path, waiting: dict[str, int]) -> Iterable[str]:
    """What must run again after planning, and the command to type.

    Args:
        plan: The plan.
        path: Where it lies.
        waiting: Cases that are yet to be prepared, of the configurations in question.
    """
    number = dataset_number(plan.dataset_name)
    option = planner_option(plan.planner, plan.network)
    yield f"Every value and its reason: autounet plan {number}{option} --explain, or {path}"
    for name, configuration in plan.configurations.items():
        if configuration.time is not None:
            yield f"{name}: {configuration.time.summary}"
    ready = [name for name, count in waiting.items() if not count]
    missing = [name for name, count in waiting.items() if count]
    if missing:
        yield f"To prepare: {', '.join(missing)}. Models trained before keep the plan that they were trained by."
        yield f"Next: autounet preprocess {number}{option}"
        return
    yield "Prepared cases fit this plan. Models trained before keep the plan that they were trained by."
    trainable = [name for name in ready if plan.configurations[name].previous_stage is None]
    if not trainable:
        return
    chosen = _recommended(plan, trainable)
    time = plan.configurations[chosen].time
    limit = "10m" if time is None or time.max_seconds is None else f"{time.max_seconds:g}s"
    yield f"Next: {training_command(plan, chosen, 0)} --max-time {limit}"


def rounded_patches(plan: Plan, request: PlanRequest) -> Iterable[str]:
    """One line for each configuration whose patch is not quite the one that was asked for."""
    asked = request.patch_size
    if asked is None:
        return
    order = plan.transpose_forward
    for name, entry in plan.configurations.items():
        if not request.concerns(name, entry.num_spatial_dims):
            continue
        wanted = tuple(asked[axis] for axis in order) if len(asked) == 3 else asked
        if entry.patch_size != wanted and all(old <= new for old, new in zip(wanted, entry.patch_size, strict=True)):
            yield (
                f"{name}: patch {by_axis(wanted)} rounded up to {by_axis(entry.patch_size)}, so that its network can "
                f"halve it: divisible by {by_axis(entry.network.divisor)}"
            )


def _recommended(plan: Plan, names: list[str]) -> str:
    """The configuration to train first: low resolution where the time given asks for it, else 3D where there is any."""
    low = plan.configurations.get("3d_lowres")
    if "3d_lowres" in names and low is not None and low.time is not None:
        return "3d_lowres"
    return "3d_fullres" if "3d_fullres" in names else names[-1]


def _with_own_cost(plan: Plan, configuration: Configuration) -> Configuration:
    """A configuration without the memory and time that it has from a parent of other sizes."""
    parent = plan.configurations.get(configuration.inherits_from or "")
    if parent is None or decided_values(parent) == decided_values(configuration):
        return configuration
    inherited = [name for name in ("memory", "time") if getattr(parent, name) == getattr(configuration, name)]
    return configuration.model_copy(update=dict.fromkeys(inherited))


def _heading(plan: Plan, configuration: Configuration, decisions: Iterable[Decision]) -> Text:
    values = decided_values(configuration)
    facts = [configuration.name]
    if configuration.inherits_from in plan.configurations:
        parent = decided_values(plan.configurations[configuration.inherits_from])
        own = [f"{key} {value}" for key, value in values.items() if value != parent[key]]
        facts.append(f"as {configuration.inherits_from}" + (f", but {', '.join(own)}" if own else ""))
    edited = any(values.get(entry.name.partition(".")[2], entry.value) != entry.value for entry in decisions)
    before = " before it was edited" if edited else ""
    if configuration.memory:
        memory = configuration.memory
        facts.append(
            f"{_memory(memory)}{before}: weights {_gib(memory.weights_bytes)}, optimiser "
            f"{_gib(memory.optimizer_bytes)}, activations {_gib(memory.activations_bytes)}, gradients and workspace "
            f"{_gib(memory.working_bytes)}, reserve {_gib(memory.reserve_bytes)}"
        )
    if configuration.time:
        facts.append(f"training {_time(configuration.time)}{before}")
    return Text(" · ".join(facts), style="bold")


def _decisions(decisions: Iterable[Decision], values: dict[str, str]) -> Table:
    """A table of decisions; a value that was edited since is shown beside the one that was decided."""
    table = Table(box=None, padding=(0, 1), show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(ratio=1)
    for entry in decisions:
        key = entry.name.partition(".")[2] or entry.name
        line = Text(entry.value, style="bold")
        now = values.get(key, entry.value)
        if now != entry.value:
            line.append(f", edited to {now}", style="yellow")
        line.append(f"  {entry.reason}", style="not bold")
        if entry.alternatives:
            line.append(f"  Else: {'; '.join(entry.alternatives)}.", style="not bold italic")
        table.add_row(Text(key), line)  # as text: names of channels may look like markup
    return table


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f}"


def _memory(memory: MemoryEstimate | None) -> str:
    return "-" if memory is None else f"{_gib(memory.total_bytes)} GiB"


def _time(time: TimePlan | None) -> str:
    return "-" if time is None else f"{time.num_steps} x {time.step_seconds:.2g} s, {duration(time.total_seconds)}"
