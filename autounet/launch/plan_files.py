"""The plan file: read, written without losing what a user wrote, and what must be prepared by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autounet.data.dataset import RawDataset
from autounet.errors import RequestError
from autounet.planners import planner_option
from autounet.planners.request import PlanRequest
from autounet.plans import Configuration, Plan, plan_path
from autounet.preprocessing.dataset import recipe, store_for
from autounet.progress import Reporter
from autounet.records import free_previous_name

# Planned by rule; any other configuration of a plan file is the user's own, and is kept.
RULED = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")


def without_own(request: PlanRequest, path: Path) -> PlanRequest:
    """A request without the configurations that a user added to the plan file; no planner knows them.

    Raises:
        RequestError: Sizes are asked for such a configuration.
    """
    earlier = _read_if_whole(path)
    known = () if earlier is None else tuple(name for name in earlier.configurations if name not in RULED)
    own = [name for name in request.configurations if name in known]
    if own and request.has_sizes:
        raise RequestError(f"{own[0]} is a configuration of your own: write its sizes into {path}")
    rest = tuple(name for name in request.configurations if name not in own)
    return request.model_copy(update={"configurations": rest})


def read_plan(preprocessed: Path, planner: str, dataset: str, network: str | None = None) -> Plan:
    """The plan of a planner, or its plan for a network that was asked for.

    Raises:
        RequestError: There is none, or it does not hold together.
    """
    path = plan_path(preprocessed, planner, network)
    if not path.exists():
        others = sorted(other.stem.removeprefix("plan_") for other in preprocessed.glob("plan_*.json"))
        known = [name for name in others if ".previous" not in name and "__" not in name]
        there = f" There are plans by: {', '.join(known)} (--planner)." if known else ""
        raise RequestError(
            f"{path} does not exist. Make it with: autounet plan_and_preprocess -d {dataset}"
            f"{planner_option(planner, network)}.{there}"
        )
    return Plan.read(path)


def write_plan(plan: Plan, folder: Path, reporter: Reporter) -> tuple[Plan, Path]:
    """Write a plan; what a user wrote is not lost.

    Configurations of the user's own stay in the plan. A plan of another content, perhaps edited by hand, is kept
    beside it, under the next free number; new measurements of time are no other content.

    Returns:
        The plan as it was written, and its path.
    """
    path = plan_path(folder, plan.planner, plan.network)
    earlier = _read_if_whole(path)
    if earlier is not None:
        plan = with_own_configurations(plan, earlier)
    if path.exists() and (earlier is None or _without_time(earlier) != _without_time(plan)):
        kept = free_previous_name(path)
        path.replace(kept)
        reporter.say(f"the plan differs from the one that was there, which is kept as {kept}")
    plan.write(path)
    return plan, path


def with_own_configurations(plan: Plan, earlier: Plan) -> Plan:
    """A new plan with the configurations that a user had added to the one before, as far as their parents remain."""
    content = plan.model_dump(mode="json")
    own = {
        name: entry
        for name, entry in earlier.model_dump(mode="json")["configurations"].items()
        if name not in RULED and name not in plan.configurations
    }
    content["configurations"] |= own
    try:
        return Plan.parse(content, "the plan") if own else plan
    except RequestError as error:
        raise RequestError(
            f"the plan that is there has configurations of your own ({', '.join(own)}) that do not fit the new plan: "
            f"{error}. Take them out of it, or give them all values."
        ) from None


def must_prepare(raw: RawDataset, plan: Plan, configuration: Configuration, folder: Path) -> list[str]:
    """Names of the cases that are not prepared for a configuration from the raw files and the plan as they are now."""
    store = store_for(folder, plan, configuration)
    return [case.name for case in raw.cases if not store.holds(case.name, recipe(case, plan, configuration))]


def _read_if_whole(path: Path) -> Plan | None:
    """The plan of a file; `None` where there is none, or none that can be read, torn by an editor, say."""
    try:
        return Plan.read(path)
    except RequestError:
        return None


def _without_time(plan: Plan) -> dict[str, Any]:
    content = plan.model_dump(mode="json", exclude={"configurations": {"__all__": {"time"}}})
    content["decisions"] = [entry for entry in content["decisions"] if not entry["name"].endswith(".time")]
    return content
