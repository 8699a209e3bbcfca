"""Target spacing, axis order and median shape, by hand-computed percentiles and medians."""

from __future__ import annotations

import pytest

from autounet.geometry import Shape3, Triple
from autounet.planners.spacing import axis_order, median_shape, single_slice_cases, target_spacing

FLAT: Shape3 = (10, 200, 220)


def test_the_target_is_the_median_of_each_axis() -> None:
    spacings: list[Triple] = [(1, 0.5, 0.5), (2, 0.8, 0.7), (3, 0.6, 0.9)]
    target = target_spacing(spacings, [(100, 100, 100)] * 3)
    assert target.value == pytest.approx((2, 0.6, 0.7))
    assert "median of 3 cases" in target.reason
    assert "axis z is 2.857 times coarser than the next and holds 100 voxels against 100" in target.reason


def test_an_anisotropic_axis_takes_the_tenth_percentile() -> None:
    spacings: list[Triple] = [(z, 1.0, 1.0) for z in (5.0, 6.0, 7.0, 8.0, 9.0, 10.0)]
    target = target_spacing(spacings, [FLAT] * 6)
    # Linear interpolation between the six ordered values: position 0.1 * 5 = 0.5, half way from 5 to 6.
    assert target.value == (5.5, 1.0, 1.0)
    assert "axis z is 7.5 times coarser than the next and holds 10 voxels against 200" in target.reason
    assert "10th percentile of its spacings, 5.5 mm, instead of the median 7.5 mm" in target.reason


def test_the_percentile_never_makes_the_coarse_axis_finer_than_the_others() -> None:
    spacings: list[Triple] = [(z, 1.0, 0.9) for z in (0.5, 0.5, 8.0, 8.0, 8.0)]
    target = target_spacing(spacings, [FLAT] * 5)
    assert target.value == (1.0 + 1e-5, 1.0, 0.9)
    assert "raised to stay the coarsest axis" in target.reason


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [
        pytest.param((3.0, 1.0, 1.0), FLAT, id="exactly three times coarser"),
        pytest.param((6.0, 1.0, 1.0), (67, 200, 200), id="more than a third of the voxels"),
    ],
)
def test_both_conditions_of_anisotropy_are_needed(spacing: Triple, shape: Shape3) -> None:
    other = (spacing[0] / 2, spacing[1], spacing[2])
    target = target_spacing([other, spacing, spacing], [shape] * 3)
    assert target.value == spacing


def test_images_of_one_slice_have_no_coarse_axis() -> None:
    spacings: list[Triple] = [(1.0, y, 0.1) for y in (0.2, 6.0, 6.0)]
    target = target_spacing(spacings, [(1, 10, 500)] * 3, single_slices=True)
    assert target.value == (1.0, 6.0, 0.1)
    assert target.reason == "median of 3 cases"


def test_a_requested_spacing_is_taken() -> None:
    target = target_spacing([(1.0, 1.0, 1.0)], [FLAT], requested_mm=(2.0, 0.5, 0.5))
    assert (target.value, target.reason) == ((2.0, 0.5, 0.5), "requested by the user")


@pytest.mark.parametrize(
    ("spacing", "order", "reason"),
    [
        ((1.0, 1.0, 1.0), (0, 1, 2), "all axes have the same spacing of 1 mm"),
        ((5.0, 1.0, 1.0), (0, 1, 2), "axis z has the largest spacing, 5 of 5 x 1 x 1 mm, and already is the first"),
        ((1.0, 1.0, 2.0), (2, 0, 1), "axis x has the largest spacing, 2 of 1 x 1 x 2 mm, so it becomes the first"),
        ((1.0, 2.0, 2.0), (1, 0, 2), "axis y has the largest spacing"),
    ],
)
def test_the_coarsest_axis_comes_first(spacing: Triple, order: Shape3, reason: str) -> None:
    result = axis_order(spacing)
    assert result.value == order
    assert reason in result.reason


def test_a_single_slice_stays_the_first_axis() -> None:
    assert axis_order((1.0, 3.0, 3.0), single_slices=True).value == (0, 1, 2)


def test_the_median_shape_rounds_half_to_even_and_may_end_in_half() -> None:
    # 5 * 0.5 = 2.5 becomes 2, 7 * 0.5 = 3.5 becomes 4.
    spacings: list[Triple] = [(0.5, 0.5, 1.0), (0.5, 0.5, 1.0)]
    assert median_shape(spacings, [(5, 7, 10), (5, 7, 11)], (1.0, 1.0, 1.0)) == (2.0, 4.0, 10.5)


def test_a_dataset_is_2d_where_every_case_has_one_slice() -> None:
    assert single_slice_cases([(1, 5, 5), (1, 6, 6)]).value
    mixed = single_slice_cases([(1, 5, 5), (3, 6, 6)])
    assert not mixed.value
    assert mixed.reason == "cases have 1 to 3 slices along z"
