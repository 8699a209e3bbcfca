"""Plan for a raw dataset, or read the plan that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.data.dataset import RawDataset
from autounet.data.fold_planning import SplitRequest, plan_splits
from autounet.data.fold_summary import PlannedSplits
from autounet.errors import Problem
from autounet.fingerprint import Fingerprint, case_traits, known_fingerprint, take_fingerprint
from autounet.launch.network_plans import asked_network
from autounet.launch.plan_files import must_prepare, read_plan, without_own, write_plan
from autounet.launch.planning import make_plan
from autounet.parallel import available_cpus
from autounet.pipeline.folders import raw_folder
from autounet.planners import DEFAULT_PLANNER, PLANNERS
from autounet.planners.request import PlanRequest
from autounet.plans import Plan, plan_path
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace


@dataclass(frozen=True)
class Planned:
    """What `plan` made.

    Attributes:
        raw: The dataset, as it was found.
        fingerprint: Of it.
        plan: Its plan.
        path: The plan's file.
        to_prepare: Cases that are yet to be prepared, of each configuration.
        splits: The folds; `None` where an existing plan was only looked at.
    """

    raw: RawDataset
    fingerprint: Fingerprint
    plan: Plan
    path: Path
    to_prepare: dict[str, int]
    splits: PlannedSplits | None

    @property
    def folder(self) -> Path:
        """The dataset's preprocessed folder."""
        return self.path.parent


def plan(
    workspace: Workspace,
    dataset: str,
    *,
    planner: str = DEFAULT_PLANNER,
    request: PlanRequest | None = None,
    folds: SplitRequest | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Planned:
    """Check a raw dataset, measure it, and plan for it.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        planner: Name in `autounet.planners.PLANNERS`.
        request: What the plan must be like; all is the planner's to decide by default.
        folds: How to make the folds; as before, or else as nnU-Net has them, by default.
        max_seconds: Time for training; configurations are made so small that they can use it.
        device: To plan for.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        DataError: The dataset has problems; all of them at once, and nothing was written.
        RequestError: The request does not fit the dataset, the network or the memory.
    """
    PLANNERS.find(planner)
    raw, problems = RawDataset.scan(raw_folder(workspace, dataset))
    folder = workspace.preprocessed / raw.description.name
    fingerprint = _measured(raw, problems, folder, jobs, reporter)
    request = request or PlanRequest()
    network = asked_network(planner, request.network)
    request = without_own(request, plan_path(folder, planner, network))
    made = make_plan(planner, fingerprint, raw.description, request, max_seconds, device=device, reporter=reporter)
    # The splits are read before anything is written: a splits file of the user's own may be wrong.
    splits = plan_splits(folder, raw, case_traits(fingerprint), folds, reporter)
    fingerprint.write(folder / "fingerprint.json")
    made, path = write_plan(made, folder, reporter)
    return _planned(raw, fingerprint, made, path, splits)


def import_plan(
    workspace: Workspace,
    dataset: str,
    plans: Path,
    *,
    name: str,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Planned:
    """Check and measure a raw dataset, and take over nnU-Net's plan of it, to train by.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        plans: nnU-Net's `plans.json`.
        name: What the plan is to be called, as a planner is.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        RequestError: There is no such dataset, or something of the plan cannot be mapped exactly.
        DataError: The data have problems, all of them listed.
    """
    from autounet.models.nnunet.plans import training_plan

    raw, problems = RawDataset.scan(raw_folder(workspace, dataset))
    folder = workspace.preprocessed / raw.description.name
    made = training_plan(plans, raw.description, name)
    fingerprint = _measured(raw, problems, folder, jobs, reporter)
    splits = plan_splits(folder, raw, case_traits(fingerprint), None, reporter)
    fingerprint.write(folder / "fingerprint.json")
    made, path = write_plan(made, folder, reporter)
    return _planned(raw, fingerprint, made, path, splits)


def existing_plan(
    workspace: Workspace, dataset: str, *, planner: str = DEFAULT_PLANNER, network: str | None = None
) -> Planned | None:
    """The plan that is there, with the user's edits; `None` where there is none of the dataset as it is now.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        planner: Whose plan.
        network: For which network, if not the planner's own.

    Raises:
        RequestError: The plan was edited and does not hold together.
    """
    raw, problems = RawDataset.scan(raw_folder(workspace, dataset))
    folder = workspace.preprocessed / raw.description.name
    path = plan_path(folder, planner, asked_network(planner, network))
    fingerprint = known_fingerprint(folder / "fingerprint.json", raw)
    if problems or fingerprint is None or not path.exists():
        return None
    return _planned(raw, fingerprint, Plan.read(path), path)


def planned_seconds(
    workspace: Workspace, dataset: str, configuration: str, planner: str, network: str | None = None
) -> float | None:
    """The time for training that a configuration was planned for; `None` where it was for none.

    That of the planner's usual plan where the one for a network says none.

    Raises:
        RequestError: There is no such plan or configuration.
    """
    folder = workspace.preprocessed / workspace.find_dataset(dataset)
    asked = asked_network(planner, network)
    paths = [plan_path(folder, planner, name) for name in (asked, None)]
    plans = [Plan.read(path) for path in paths if path.exists()] or [read_plan(folder, planner, dataset, asked)]
    times = [plan.configuration(configuration).time for plan in plans[:1]]
    times += [plan.configurations[configuration].time for plan in plans[1:] if configuration in plan.configurations]
    return next((time.max_seconds for time in times if time is not None), None)


def _measured(
    raw: RawDataset, problems: Sequence[Problem], folder: Path, jobs: int | None, reporter: Reporter
) -> Fingerprint:
    """The fingerprint that is there, or a new one."""
    fingerprint = known_fingerprint(folder / "fingerprint.json", raw) if not problems else None
    if fingerprint is not None:
        return fingerprint
    return take_fingerprint(raw, jobs=jobs or available_cpus(), reporter=reporter, known_problems=problems)


def _planned(
    raw: RawDataset, fingerprint: Fingerprint, made: Plan, path: Path, splits: PlannedSplits | None = None
) -> Planned:
    entries = made.configurations.items()
    waiting = {name: len(must_prepare(raw, made, entry, path.parent)) for name, entry in entries}
    return Planned(raw, fingerprint, made, path, waiting, splits)
