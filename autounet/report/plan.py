"""A plan for people: a table of its configurations, every decision with its reason, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autounet.planners.configuration import decided_values
from autounet.planners.reasons import by_axis
from autounet.planners.spacing import AXES
from autounet.plans import Configuration, Decision, MemoryEstimate, Plan, TimePlan
from autounet.progress import duration

_GIB = 2**30


def plan_table(plan: Plan) -> Table:
    """The configurations of a plan, side by side."""
    table = Table(title=f"Plan of {plan.dataset_name} by planner '{plan.planner}'", title_justify="left")
    table.add_column("")
    configurations = plan.configurations.values()
    for configuration in configurations:
        table.add_column(configuration.name)
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
        parts += [_heading(configuration), _decisions(own, decided_values(configuration))]
    return Group(*parts)


def what_next(plan: Plan, path: Path, waiting: dict[str, int]) -> Iterable[str]:
    """What must run again after planning, and the command to type.

    Args:
        plan: The plan.
        path: Where it lies.
        waiting: Cases that are yet to be prepared, of the configurations in question.
    """
    number = int(plan.dataset_name[7:10])
    option = "" if plan.planner == "default" else f" --planner {plan.planner}"
    yield f"Every value and its reason: autounet plan {number}{option} --explain, or {path}"
    ready = [name for name, count in waiting.items() if not count]
    missing = [name for name, count in waiting.items() if count]
    if missing:
        yield f"To prepare: {', '.join(missing)}. Models trained before keep the plan that they were trained by."
        yield f"Next: autounet plan_and_preprocess -d {number}{option} (with the same options)"
        return
    trainable = [name for name in ready if plan.configurations[name].previous_stage is None]
    chosen = _recommended(trainable)
    time = plan.configurations[chosen].time
    limit = "10m" if time is None or time.max_seconds is None else f"{time.max_seconds:g}s"
    yield "Prepared cases fit this plan. Models trained before keep the plan that they were trained by."
    yield f"Next: autounet train {number} {chosen} 0{option} --max-time {limit}"


def _recommended(names: list[str]) -> str:
    """Low resolution where there is one: it sees most of a case, and is the sooner trained."""
    return next((name for name in ("3d_lowres", "3d_fullres") if name in names), names[-1])


def _heading(configuration: Configuration) -> Text:
    facts = [configuration.name]
    if configuration.inherits_from:
        facts.append(f"as {configuration.inherits_from}")
    if configuration.memory:
        memory = configuration.memory
        facts.append(
            f"{_memory(memory)}: weights {_gib(memory.weights_bytes)}, optimiser {_gib(memory.optimizer_bytes)}, "
            f"activations {_gib(memory.activations_bytes)}, gradients and workspace {_gib(memory.working_bytes)}, "
            f"reserve {_gib(memory.reserve_bytes)}"
        )
    if configuration.time:
        facts.append(f"training {_time(configuration.time)}")
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
        table.add_row(key, line)
    return table


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f}"


def _memory(memory: MemoryEstimate | None) -> str:
    return "-" if memory is None else f"{_gib(memory.total_bytes)} GiB"


def _time(time: TimePlan | None) -> str:
    return "-" if time is None else f"{time.num_steps} x {time.step_seconds:.2g} s, {duration(time.total_seconds)}"
