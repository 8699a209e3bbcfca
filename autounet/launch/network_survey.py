"""All networks as they are planned for a dataset."""

from __future__ import annotations

from collections.abc import Iterator

from autounet.data.dataset import RawDataset
from autounet.errors import RequestError
from autounet.launch.network_plans import PlanPlace, plan_for
from autounet.networks import NETWORKS
from autounet.planners.survey import SurveyedNetwork, planned_sizes, surveyed
from autounet.progress import Reporter


def survey_dataset(raw: RawDataset, place: PlanPlace, *, device: str, reporter: Reporter) -> Iterator[SurveyedNetwork]:
    """Every network as it is planned for a dataset, in the memory of its usual plan.

    Args:
        raw: The dataset.
        place: Where its plans are.
        device: To plan for.
        reporter: Shows what is measured.
    """
    for name in sorted(NETWORKS):
        try:
            plan = plan_for(raw, place, name, device=device, reporter=reporter)
        except RequestError as error:
            yield surveyed(name, (), refusal=str(error))
        else:
            yield surveyed(name, planned_sizes(plan))
