"""What can be asked for."""

import pytest

from autounet.errors import RequestError
from autounet.evaluation.metrics import METRICS, OF_INSTANCES, OF_REGIONS, Family, MetricChoice, metric_names


def test_names_and_families_come_in_the_order_of_the_metrics() -> None:
    assert metric_names(["surface", "dice"]) == ("dice", "hd95_mm", "assd_mm", "surface_dice", "boundary_f1")
    assert metric_names(["iou", "dice", "iou"]) == ("dice", "iou")
    assert metric_names(None)[0] == "dice"
    assert "ap" not in metric_names(None)
    assert metric_names(None, OF_INSTANCES)[-1] == "count_error"


def test_every_family_has_a_metric_of_its_own() -> None:
    assert {metric.family for metric in METRICS.values()} == set(Family)


def test_unknown_metrics_are_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="Did you mean 'hd95_mm'"):
        metric_names(["hd95"])
    with pytest.raises(RequestError, match="add --instances"):
        metric_names(["ap_50"])
    with pytest.raises(RequestError, match="leave out --instances"):
        metric_names(["surface"], OF_INSTANCES)


def test_regions_need_to_know_what_lies_between() -> None:
    with pytest.raises(RequestError, match="--regions-between CLASS"):
        metric_names(["v_rand"])
    assert "v_rand" not in metric_names(None)
    assert metric_names(["regions"], OF_REGIONS)[0] == "v_rand"
    with pytest.raises(RequestError, match="regions_between"):
        MetricChoice.parse({"names": ("v_info",)}, "test")
    assert MetricChoice(names=("v_info",), regions_between="membrane").families == (Family.REGIONS,)


def test_only_what_costs_something_is_measured_apart() -> None:
    assert MetricChoice(names=("dice", "recall")).families == ()
    assert MetricChoice(names=("aji", "assd_mm")).families == (Family.SURFACE, Family.INSTANCES)


@pytest.mark.parametrize("wrong", [{"tolerance_mm": -1}, {"tolerance_mm": float("inf")}, {"lesion_iou": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        MetricChoice.parse({"names": (), **wrong}, "test")
