"""Plans for a network that is asked for: each lies in a file of its own, and is made when it is first needed."""

from __future__ import annotations

from pathlib import Path

from autounet.data.dataset import RawDataset
from autounet.errors import RequestError
from autounet.fingerprint import known_fingerprint
from autounet.geometry import permuted
from autounet.launch.plan_files import read_plan, write_plan
from autounet.launch.planning import make_plan
from autounet.planners import PLANNERS
from autounet.planners.request import PlanRequest
from autounet.plans import plan_path
from autounet.progress import Reporter


def asked_network(planner: str, network: str | None) -> str | None:
    """The network by which a plan is told from the planner's usual one; `None` for that.

    Args:
        planner: Whose plan.
        network: As it was typed.

    Raises:
        RequestError: There is no such network or option, or the planner plans for one network only.
    """
    from autounet.networks.choice import NetworkChoice

    if network is None:
        return None
    text = str(NetworkChoice.of(network))
    own = PLANNERS.find(planner).network if planner in PLANNERS else None
    return None if text == own else text


def ensure_plan(
    raw: RawDataset, folder: Path, planner: str, network: str, dataset: str, *, device: str, reporter: Reporter
) -> None:
    """Make the plan for a network if there is none, for the memory and at the spacing of the planner's usual plan.

    Args:
        raw: The dataset.
        folder: Its preprocessed folder.
        planner: Whose plan.
        network: As `asked_network` tells it.
        dataset: As the user calls it.
        device: To plan for.
        reporter: Is told that a plan was made.

    Raises:
        RequestError: There is no usual plan, or the dataset changed since, or the network does not fit it.
    """
    if plan_path(folder, planner, network).exists():
        return
    usual = read_plan(folder, planner, dataset)
    fingerprint = known_fingerprint(folder / "fingerprint.json", raw)
    if fingerprint is None:
        raise RequestError(
            f"the dataset changed since it was planned. Plan anew with: autounet plan_and_preprocess -d {dataset} "
            f"--network {network}"
        )
    request = PlanRequest(memory_gib=usual.memory_gib, network=network)
    spacing = permuted(usual.median_spacing_mm, usual.transpose_backward)
    for wish in (request, request.model_copy(update={"spacing_mm": spacing})):
        plan = make_plan(planner, fingerprint, raw.description, wish, None, device=device, reporter=reporter)
        if plan.median_spacing_mm == usual.median_spacing_mm:
            break
    _, path = write_plan(plan, folder, reporter)
    reporter.say(f"planned for network '{network}' in {usual.memory_gib:g} GiB: {path}")
