"""Planning on a machine: for its memory and a given time, and the plan file that comes of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from autounet.data.dataset import RawDataset
from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.planners import DEFAULT_PLANNER, PLANNERS
from autounet.planners.request import PlanRequest
from autounet.plans import Configuration, Plan, plan_path
from autounet.preprocessing.dataset import recipe, store_for
from autounet.progress import Reporter
from autounet.records import read_json

# Planned by rule; any other configuration of a plan file is the user's own, and is kept.
RULED = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")


def make_plan(
    planner: str,
    fingerprint: Fingerprint,
    description: DatasetDescription,
    request: PlanRequest,
    max_seconds: float | None,
    *,
    device: str,
    reporter: Reporter,
) -> Plan:
    """Plan a dataset for a device, and for a time if one is given.

    Sizes that the user asks for are kept whatever the time; how long they take is told.

    Args:
        planner: Name in `autounet.planners.PLANNERS`.
        fingerprint: Of the dataset.
        description: What `dataset.json` says.
        request: What the plan must be like.
        max_seconds: Time for training.
        device: To plan for.
        reporter: Shows what is measured.

    Raises:
        RequestError: The request does not fit the dataset, the network, the memory, or this machine.
    """
    make = PLANNERS.find(planner)
    if getattr(make, "asks_device", False):
        request = _with_device(request, device)
    plan = make(fingerprint, description, request)
    if max_seconds is None and not request.has_sizes:
        return plan
    from autounet.launch.timing import fit_plan_to_time
    from autounet.training.config import TrainConfig
    from autounet.training.device import choose_device
    from autounet.training.precision import choose_precision

    chosen = choose_device(device)
    precision = choose_precision("auto", chosen)
    names = request.configurations or tuple(plan.configurations)
    if max_seconds is None:
        config, names = TrainConfig(), tuple(name for name in names if plan.configurations[name].fixed_sizes)
    else:
        config = TrainConfig.for_clock(max_seconds)
    replan = partial(make, fingerprint, description)
    return fit_plan_to_time(plan, names, config, chosen, precision, replan, reporter)


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


def _with_device(request: PlanRequest, device: str) -> PlanRequest:
    """A request with what the device offers."""
    import torch

    from autounet.training.device import choose_device, device_memory_gib

    if device.startswith("cuda") and not torch.cuda.is_available():
        if request.memory_gib is None:
            raise RequestError(
                f"there is no {device} here to plan for. Name its memory, for example --memory-gib 24, or plan for "
                f"this machine with --device cpu."
            )
        return request.model_copy(update={"half_precision": True})
    chosen = choose_device(device)
    offer = {"half_precision": chosen.type == "cuda", "device_memory_gib": device_memory_gib(chosen)}
    return request.model_copy(update=offer)


def read_plan(preprocessed: Path, planner: str, dataset: str) -> Plan:
    """The plan of a planner.

    Raises:
        RequestError: There is none, or it does not hold together.
    """
    path = plan_path(preprocessed, planner)
    if not path.exists():
        option = "" if planner == DEFAULT_PLANNER else f" --planner {planner}"
        others = sorted(other.stem.removeprefix("plan_") for other in preprocessed.glob("plan_*.json"))
        known = [name for name in others if not name.endswith(".previous")]
        there = f" There are plans by: {', '.join(known)} (--planner)." if known else ""
        raise RequestError(
            f"{path} does not exist. Make it with: autounet plan_and_preprocess -d {dataset}{option}.{there}"
        )
    return Plan.read(path)


def write_plan(plan: Plan, folder: Path, reporter: Reporter) -> tuple[Plan, Path]:
    """Write a plan; what a user wrote is not lost.

    Configurations of the user's own stay in the plan. A plan of another content, perhaps edited by hand, is kept
    beside it.

    Returns:
        The plan as it was written, and its path.
    """
    path = plan_path(folder, plan.planner)
    earlier = _read_if_whole(path)
    if earlier is not None:
        plan = with_own_configurations(plan, earlier)
    if path.exists() and not _holds(path, plan):
        kept = path.with_name(f"{path.stem}.previous.json")
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


def _holds(path: Path, plan: Plan) -> bool:
    try:
        return bool(read_json(path) == plan.model_dump(mode="json"))
    except RequestError:
        return False
