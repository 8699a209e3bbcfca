"""When a low resolution is planned, and at which spacing, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autounet.network_plan import NetworkPlan
from autounet.planners.budget import FeatureMapBudget, Fit
from autounet.planners.cascade import covering_spacing, plan_low_resolution, second_stage
from autounet.planners.configuration import Grid, Rules
from autounet.planners.constants import NNUNET
from autounet.planners.patch import PatchSearch
from autounet.planners.request import PlanRequest
from autounet.planners.topology import find_topology
from autounet.planners.width import Narrowing
from autounet.plans import Configuration

CUBE = (32, 32, 32)


class FixedPatch:
    """Allows one patch, whatever the grid; with more than one input, half of it."""

    def narrowed(self, search: PatchSearch, *, batch_size: int | None, num_inputs: int) -> Narrowing:
        return Narrowing(search)

    def fit(self, search: PatchSearch, num_dataset_voxels: float, *, batch_size: int | None, num_inputs: int) -> Fit:
        size = CUBE if num_inputs == 1 else (32, 32, 16)
        topology = replace(find_topology((1, 1, 1), size), patch_size=size)
        return Fit(topology, 2, f"fixed for {num_inputs}", "fixed")

    def may_hold(self, search: PatchSearch, num_voxels: float, *, batch_size: int | None, num_inputs: int) -> bool:
        return num_voxels <= 32**3


RULES = Rules(NNUNET, FixedPatch(), PlanRequest(), 1)


def grid(spacing: tuple[float, float, float], shape: tuple[float, float, float]) -> Grid:
    return Grid(spacing, shape, shape[0] * shape[1] * shape[2], 10, ("z", "y", "x"))


def full(spacing: tuple[float, float, float], shape: tuple[float, float, float]) -> Configuration:
    return Configuration(
        name="3d_fullres",
        spacing_mm=spacing,
        median_shape=shape,
        patch_size=CUBE,
        batch_size=2,
        batch_dice=True,
        network=NetworkPlan(
            name="plain",
            features=(32,),
            kernel_sizes=((3, 3, 3),),
            strides=((1, 1, 1),),
            num_convs_encoder=(2,),
            num_convs_decoder=(),
        ),
    )


def test_a_patch_of_a_quarter_sees_enough() -> None:
    # 32^3 of 64 x 64 x 32 voxels.
    found = plan_low_resolution(full((1, 1, 1), (64, 64, 32)), grid((1, 1, 1), (64, 64, 32)), RULES)
    assert found.configuration is None
    assert found.decisions[0].name == "3d_lowres"
    assert found.decisions[0].value == "none"
    assert "covers 25 % of the median case, not less than 25 %" in found.decisions[0].reason


def test_all_axes_grow_together_until_a_quarter_is_covered() -> None:
    # 32^3 is a quarter of 50.8^3; 128 / 1.03^n falls below that at n = 32: 1.03^31 = 2.50, 1.03^32 = 2.575.
    # 128 / 50.797 = 2.5198.
    found = plan_low_resolution(full((1, 1, 1), (128, 128, 128)), grid((1, 1, 1), (128, 128, 128)), RULES)
    assert found.configuration is not None
    assert found.configuration.spacing_mm == pytest.approx((1.03**32,) * 3)
    assert found.configuration.median_shape == (50, 50, 50)  # 128 / 2.575 = 49.7
    assert found.configuration.name == "3d_lowres"
    reason = next(entry.reason for entry in found.decisions if entry.name == "3d_lowres.spacing_mm")
    assert reason.startswith("the patch of 3d_fullres covers 1.562 % of the median case, less than 25 %; the spacing")


def test_fine_axes_grow_first() -> None:
    # y and x grow by 1.03^24 = 2.033 alone, to within a factor of 2 of z: 4 / 2.033 = 1.97. Voxels fall from
    # 64 * 128 * 128 to 64 * 62.96^2 = 253,700; an eighth of a million more than 4 * 32^3 = 131,072. Together they fall
    # by 1.03^3 at a time, 1.0927^8 = 2.033 > 1.936.
    found = plan_low_resolution(full((4, 1, 1), (64, 128, 128)), grid((4, 1, 1), (64, 128, 128)), RULES)
    assert found.configuration is not None
    assert found.configuration.spacing_mm == pytest.approx((4 * 1.03**8, 1.03**32, 1.03**32))


def test_a_low_resolution_of_nearly_as_many_voxels_is_dropped() -> None:
    # 64^2 * 40 voxels: 1.25 times four patches, and two steps of 1.0927, then a third, are enough.
    found = plan_low_resolution(full((1, 1, 1), (64, 64, 40)), grid((1, 1, 1), (64, 64, 40)), RULES)
    assert found.configuration is None
    assert "covers 20 % of the median case, less than 25 %; but 1.305 times fewer voxels would do" in (
        found.decisions[0].reason
    )


def test_grids_that_no_patch_covers_are_not_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[float] = []
    fit = FixedPatch.fit

    def counted(self: FixedPatch, search: PatchSearch, num_dataset_voxels: float, **inputs: int) -> Fit:
        fits.append(num_dataset_voxels)
        return fit(self, search, num_dataset_voxels, batch_size=None, num_inputs=inputs["num_inputs"])

    monkeypatch.setattr(FixedPatch, "fit", counted)
    plan_low_resolution(full((1, 1, 1), (128, 128, 128)), grid((1, 1, 1), (128, 128, 128)), RULES)
    assert len(fits) == 1


def test_the_spacing_at_which_a_patch_covers_enough() -> None:
    assert covering_spacing((1, 1, 1), (64, 64, 32), CUBE) == (1, 1, 1)
    assert covering_spacing((1, 1, 1), (128, 128, 128), CUBE) == pytest.approx((1.03**32,) * 3)


def test_the_second_stage_inherits_where_inputs_cost_nothing() -> None:
    first = full((1, 1, 1), (128, 128, 128))
    second, decisions = second_stage(first, grid((1, 1, 1), (128, 128, 128)), RULES, num_earlier_classes=0)
    assert second == first.model_copy(
        update={"name": "3d_cascade_fullres", "inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    )
    assert [entry.name for entry in decisions] == ["3d_cascade_fullres.previous_stage"]


def test_the_second_stage_has_a_patch_of_its_own_where_inputs_cost() -> None:
    first = full((1, 1, 1), (128, 128, 128))
    second, decisions = second_stage(first, grid((1, 1, 1), (128, 128, 128)), RULES, num_earlier_classes=3)
    assert second.patch_size == (32, 32, 16)
    assert second.batch_dice
    assert (second.inherits_from, second.previous_stage) == ("3d_fullres", "3d_lowres")
    assert [entry.name for entry in decisions] == [
        "3d_cascade_fullres.previous_stage",
        "3d_cascade_fullres.patch_size",
    ]
    assert decisions[1].reason.startswith("fixed for 4")


def test_counting_elements_never_rules_a_grid_out() -> None:
    search = PatchSearch((1, 1, 1), (128, 128, 128), ("z", "y", "x"))
    assert FeatureMapBudget(2, 8).may_hold(search, 1e9, batch_size=None, num_inputs=1)
