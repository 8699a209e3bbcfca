"""What may be asked of a planner, and of which configuration."""

from __future__ import annotations

from typing import Any

import pytest

from autounet.errors import RequestError
from autounet.planners.request import PlanRequest


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"memory_gib": 0}, "memory_gib"),
        ({"memory_gib": float("inf")}, "memory_gib"),
        ({"device_memory_gib": -1}, "device_memory_gib"),
        ({"spacing_mm": (1, 1, -1)}, "spacing_mm must be three positive numbers"),
        ({"spacing_mm": (1, 1, float("inf"))}, "spacing_mm must be three positive numbers"),
        ({"patch_size": (64,)}, "patch_size must be two or three positive numbers"),
        ({"patch_size": (64, 64, 0)}, "patch_size must be two or three positive numbers"),
        ({"patch_size": ()}, "patch_size must be two or three positive numbers"),
        ({"batch_size": 0}, "batch_size"),
        ({"features": 0}, "features"),
        ({"num_stages": 0}, "num_stages"),
        ({"num_stage": 3}, "num_stages"),
    ],
)
def test_what_cannot_be_is_refused(wish: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        PlanRequest.parse(wish, "the request")


def test_a_patch_concerns_configurations_of_as_many_axes() -> None:
    request = PlanRequest(patch_size=(64, 64))
    assert request.concerns("2d", 2)
    assert not request.concerns("3d_fullres", 3)


def test_named_configurations_alone_are_concerned() -> None:
    request = PlanRequest(features=16, configurations=("3d_lowres",))
    assert request.concerns("3d_lowres", 3)
    assert not request.concerns("3d_fullres", 3)
    assert PlanRequest(features=16).concerns("3d_fullres", 3)


@pytest.mark.parametrize("wish", [{"patch_size": (8, 8)}, {"batch_size": 2}, {"features": 8}, {"num_stages": 3}])
def test_patch_batch_features_and_stages_are_sizes(wish: dict[str, Any]) -> None:
    assert PlanRequest.parse(wish, "the request").has_sizes


def test_memory_network_and_spacing_are_no_sizes() -> None:
    request = PlanRequest(memory_gib=4, network="resenc", spacing_mm=(1, 1, 1), half_precision=True)
    assert not request.has_sizes
