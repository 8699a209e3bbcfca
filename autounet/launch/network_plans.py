"""Plans for a network that is asked for: each lies in a file of its own, and is made when it is first needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autounet.data.dataset import RawDataset
from autounet.errors import RequestError
from autounet.fingerprint import known_fingerprint
from autounet.geometry import permuted
from autounet.launch.plan_files import read_plan, write_plan
from autounet.launch.planning import make_plan
from autounet.planners import PLANNERS
from autounet.planners.request import PlanRequest
from autounet.plans import Plan, plan_path
from autounet.progress import Reporter


def asked_network(planner: str, network: str | None) -> str | None:
    """The network by which a plan is told from the planner's usual one; `None` for that.

    Args:
        planner: Whose plan.
        network: As it was typed.

    Raises:
        RequestError: There is no such network or option.
    """
    from autounet.networks.choice import NetworkChoice

    if network is None:
        return None
    text = str(NetworkChoice.of(network))
    own = PLANNERS.find(planner).network if planner in PLANNERS else None
    return None if text == own else text


@dataclass(frozen=True)
class PlanPlace:
    """Where the plans of a planner for a dataset are.

    Attributes:
        folder: The dataset's preprocessed folder.
        planner: Whose plans.
        dataset: As the user calls it.
    """

    folder: Path
    planner: str
    dataset: str


def plan_for(raw: RawDataset, place: PlanPlace, network: str, *, device: str, reporter: Reporter) -> Plan:
    """The plan for a network: the one that is there, or one for the memory and at the spacing of the usual plan.

    Args:
        raw: The dataset.
        place: Where its plans are.
        network: As it was typed.
        device: To plan for.
        reporter: Shows what is measured.

    Raises:
        RequestError: There is no plan at all, or the dataset changed since, or the network does not fit it.
    """
    asked = asked_network(place.planner, network)
    has_own, has_usual = (plan_path(place.folder, place.planner, name).exists() for name in (asked, None))
    if has_own or not has_usual:  # without any, the error names the plan that was asked for
        return read_plan(place.folder, place.planner, place.dataset, asked)
    usual = read_plan(place.folder, place.planner, place.dataset)
    fingerprint = known_fingerprint(place.folder / "fingerprint.json", raw)
    if fingerprint is None:
        raise RequestError(
            f"the dataset changed since it was planned. Plan anew with: autounet plan_and_preprocess -d {place.dataset}"
        )
    request = PlanRequest(memory_gib=usual.memory_gib, network=network)
    plan = make_plan(place.planner, fingerprint, raw.description, request, None, device=device, reporter=reporter)
    if plan.median_spacing_mm == usual.median_spacing_mm:
        return plan
    request = request.model_copy(update={"spacing_mm": permuted(usual.median_spacing_mm, usual.transpose_backward)})
    return make_plan(place.planner, fingerprint, raw.description, request, None, device=device, reporter=reporter)


def ensure_plan(raw: RawDataset, place: PlanPlace, network: str | None, *, device: str, reporter: Reporter) -> Plan:
    """The plan to train by: the planner's usual one, or that for a network, written if it was made now.

    Arguments and errors as for `plan_for`.
    """
    asked = asked_network(place.planner, network)
    if network is None or asked is None or plan_path(place.folder, place.planner, asked).exists():
        return read_plan(place.folder, place.planner, place.dataset, asked)
    plan, path = write_plan(plan_for(raw, place, network, device=device, reporter=reporter), place.folder, reporter)
    reporter.say(f"planned for network '{asked}' in {plan.memory_gib:g} GiB: {path}")
    return plan
