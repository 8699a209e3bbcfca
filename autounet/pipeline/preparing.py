"""Prepare a dataset's cases by its plan, or plan and prepare in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autounet.data.fold_planning import SplitRequest
from autounet.errors import RequestError
from autounet.parallel import available_cpus
from autounet.pipeline.planning import Planned, existing_plan, plan
from autounet.planners import DEFAULT_PLANNER, planner_option
from autounet.planners.request import PlanRequest
from autounet.preprocessing.dataset import PreparedCount, prepare_dataset
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace


@dataclass(frozen=True)
class Preprocessed(Planned):
    """What `plan_and_preprocess` made: the plan, and how many cases of each configuration are prepared."""

    counts: dict[str, PreparedCount]


def plan_and_preprocess(
    workspace: Workspace,
    dataset: str,
    *,
    configurations: Sequence[str] | None = None,
    planner: str = DEFAULT_PLANNER,
    request: PlanRequest | None = None,
    folds: SplitRequest | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Preprocessed:
    """Check a raw dataset, measure it, plan for it, and prepare its cases.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configurations: Which to prepare; all that the plan has by default.
        planner: As for `plan`, like the following.
        request: What the plan must be like.
        folds: How to make the folds.
        max_seconds: Time for training.
        device: To plan for.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        DataError: The dataset has problems; all of them at once, and nothing was written.
        RequestError: The request does not fit the dataset, the network or the memory.
    """
    jobs = jobs or available_cpus()
    planned = plan(
        workspace,
        dataset,
        planner=planner,
        request=request,
        folds=folds,
        max_seconds=max_seconds,
        device=device,
        jobs=jobs,
        reporter=reporter,
    )
    return _prepared(planned, configurations, jobs, reporter)


def preprocess(
    workspace: Workspace,
    dataset: str,
    *,
    configurations: Sequence[str] | None = None,
    planner: str = DEFAULT_PLANNER,
    network: str | None = None,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Preprocessed:
    """Prepare a dataset's cases by the plan that is there, edited or not.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configurations: Which to prepare; all that the plan has by default.
        planner: Whose plan.
        network: For which network, if not the planner's own.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        RequestError: There is no plan of the dataset as it is now, or it does not hold together.
    """
    planned = existing_plan(workspace, dataset, planner=planner, network=network)
    if planned is None:
        raise RequestError(
            f"there is no plan of dataset {dataset} as it is now. Make one with: autounet plan {dataset}"
            f"{planner_option(planner, network)}"
        )
    return _prepared(planned, configurations, jobs or available_cpus(), reporter)


def _prepared(planned: Planned, configurations: Sequence[str] | None, jobs: int, reporter: Reporter) -> Preprocessed:
    chosen = [planned.plan.configuration(name) for name in configurations or planned.plan.configurations]
    counts = prepare_dataset(planned.raw, planned.plan, chosen, planned.folder, jobs=jobs, reporter=reporter)
    return Preprocessed(**vars(planned), counts=counts)
