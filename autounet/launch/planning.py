"""Planning on a machine: for its memory, and for a given time."""

from __future__ import annotations

from functools import partial

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.planners import PLANNERS
from autounet.planners.request import PlanRequest
from autounet.plans import Plan
from autounet.progress import Reporter


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
    if max_seconds is None and not (request.has_sizes and _is_here(device)):
        return plan
    from autounet.launch.timing import fit_plan_to_time
    from autounet.training.config import TrainConfig
    from autounet.training.device import choose_device
    from autounet.training.precision import precision_for

    chosen = choose_device(device)
    names = request.configurations or tuple(plan.configurations)
    precision = precision_for(next(iter(plan.configurations.values())).network, "auto", chosen)
    if max_seconds is None:
        config, names = TrainConfig(), tuple(name for name in names if plan.configurations[name].fixed_sizes)
    else:
        config = TrainConfig.for_clock(max_seconds)
    replan = partial(make, fingerprint, description)
    return fit_plan_to_time(plan, names, config, chosen, precision, replan, reporter)


def _with_device(request: PlanRequest, device: str) -> PlanRequest:
    """A request with what the device offers."""
    from autounet.training.device import choose_device, device_memory_gib

    if not _is_here(device):
        if request.memory_gib is None:
            raise RequestError(
                f"there is no {device} here to plan for. Name its memory, for example --memory-gib 24, or plan for "
                f"this machine with --device cpu."
            )
        return request.model_copy(update={"half_precision": True})
    chosen = choose_device(device)
    offer = {"half_precision": chosen.type == "cuda", "device_memory_gib": device_memory_gib(chosen)}
    return request.model_copy(update=offer)


def _is_here(device: str) -> bool:
    """Whether a device can be asked; one may plan for a GPU of another machine."""
    import torch

    return not device.startswith("cuda") or torch.cuda.is_available()
