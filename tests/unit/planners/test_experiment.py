"""Wishes of the user, in the order of the images' axes, and those that nothing answers to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.labels import LabelSchema
from autounet.planners.nnunet import planner
from autounet.planners.request import PlanRequest
from autounet.plans import Plan

DESCRIPTION = DatasetDescription(
    name="Dataset001_Test",
    channel_names=("CT",),
    labels=LabelSchema.from_dataset_json({"background": 0, "organ": 1}, None, "dataset.json"),
    file_ending=".nii",
)
Planning = Callable[..., Plan]


@pytest.fixture
def turned(make_fingerprint: Callable[..., Fingerprint]) -> Planning:
    """Plans a dataset whose last axis is the coarse one."""
    evidence = make_fingerprint([(1, 1, 3)] * 10, [(120, 100, 40)] * 10)

    def plan(**wishes: Any) -> Plan:
        return planner(evidence, DESCRIPTION, PlanRequest.parse(wishes, "the request"))

    return plan


def reason(plan: Plan, name: str) -> str:
    return next(decision.reason for decision in plan.decisions if decision.name == name)


def test_a_requested_patch_is_in_the_images_axis_order(turned: Planning) -> None:
    made = turned(patch_size=(96, 64, 16))
    assert made.transpose_forward == (2, 0, 1)
    assert made.configurations["3d_fullres"].patch_size == (16, 96, 64)
    assert made.configurations["2d"] == turned().configurations["2d"]
    assert reason(made, "3d_fullres.patch_size").startswith("16 x 96 x 64 requested by the user")


def test_a_patch_of_two_axes_is_for_2d(turned: Planning) -> None:
    made = turned(patch_size=(64, 32))
    assert made.configurations["2d"].patch_size == (64, 32)
    assert made.configurations["3d_fullres"] == turned().configurations["3d_fullres"]


def test_a_patch_of_no_valid_size_is_padded(turned: Planning) -> None:
    configuration = turned(patch_size=(95, 61, 15)).configurations["3d_fullres"]
    assert all(
        size % factor == 0 for size, factor in zip(configuration.patch_size, configuration.network.divisor, strict=True)
    )
    assert configuration.patch_size[1:] == (96, 64)


def test_widths_and_stages_are_the_users(turned: Planning) -> None:
    made = turned(features=12, num_stages=3)
    for configuration in made.configurations.values():
        assert configuration.network.features == (12, 24, 48)
        assert len(configuration.network.strides) == 3
    assert "12 at full resolution (requested by the user)" in reason(made, "2d.features")


def test_wishes_may_be_meant_for_one_configuration(turned: Planning) -> None:
    made = turned(features=12, batch_size=7, configurations=("2d",))
    assert made.configurations["2d"].network.features[0] == 12
    assert made.configurations["2d"].batch_size == 7
    assert made.configurations["3d_fullres"] == turned().configurations["3d_fullres"]


def test_a_requested_spacing_is_in_the_images_axis_order(turned: Planning) -> None:
    made = turned(spacing_mm=(2.0, 4.0, 3.0))
    assert made.transpose_forward == (1, 0, 2)
    assert made.median_spacing_mm == (4, 2, 3)
    # 100 / 4, 120 / 2 and 40 voxels.
    assert made.median_shape == (25, 60, 40)


def test_an_unknown_configuration_is_refused(turned: Planning) -> None:
    with pytest.raises(RequestError, match=r"no configuration '3d'\. Planned: 2d, 3d_fullres"):
        turned(batch_size=3, configurations=("3d",))


def test_a_patch_of_too_many_axes_is_refused(turned: Planning) -> None:
    with pytest.raises(RequestError, match="32 x 32 x 32 has 3 axes, but none of the configurations it is meant for"):
        turned(patch_size=(32, 32, 32), configurations=("2d",))


def test_images_take_no_patch_of_three_axes(make_fingerprint: Callable[..., Fingerprint]) -> None:
    evidence = make_fingerprint([(1, 1, 1)] * 4, [(1, 90, 80)] * 4)
    with pytest.raises(RequestError, match="Give two numbers for 2d"):
        planner(evidence, DESCRIPTION, PlanRequest(patch_size=(32, 32, 32)))
