"""What networks there are, and what each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autounet.data.dataset import RawDataset
from autounet.pipeline.folders import raw_folder
from autounet.planners import DEFAULT_PLANNER
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.planners.survey import SurveyedNetwork


def networks(
    workspace: Workspace,
    dataset: str | None = None,
    *,
    planner: str = DEFAULT_PLANNER,
    device: str = "auto",
    reporter: Reporter = SILENT,
) -> tuple[SurveyedNetwork, ...]:
    """All networks, of their papers' sizes or as they are planned for a dataset.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        planner: Whose plans.
        device: To plan for.
        reporter: Shows the progress.

    Raises:
        RequestError: There is no such dataset, or no plan of it.
    """
    from autounet.launch.network_plans import PlanPlace
    from autounet.launch.network_survey import survey_dataset
    from autounet.launch.plan_files import read_plan
    from autounet.planners.survey import survey_papers

    if dataset is None:
        return tuple(survey_papers())
    place = PlanPlace(workspace.preprocessed / workspace.find_dataset(dataset), planner, dataset)
    read_plan(place.folder, planner, dataset)
    raw = RawDataset.load(raw_folder(workspace, dataset))
    return tuple(survey_dataset(raw, place, device=device, reporter=reporter))
