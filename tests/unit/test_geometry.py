"""Places and boxes, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autounet.geometry import (
    Box,
    Geometry,
    bounding_box,
    corner_displacement_mm,
    left_right_axis,
    permuted,
    resampled_shape,
)


def test_spacing_lies_reversed_on_the_diagonal_of_the_affine() -> None:
    geometry = Geometry.from_spacing((3.0, 2.0, 1.0), num_spatial_dims=2)
    np.testing.assert_array_equal(geometry.matrix, np.diag([1.0, 2.0, 3.0, 1.0]))
    assert geometry.num_spatial_dims == 2


def test_a_shifted_origin_moves_every_corner_by_as_much() -> None:
    first = Geometry.from_spacing((1, 1, 1))
    second = first.model_copy(update={"affine": ((1, 0, 0, 3), (0, 1, 0, 4), (0, 0, 1, 0), (0, 0, 0, 1))})
    assert corner_displacement_mm(first, second, (5, 6, 7)) == 5.0
    assert corner_displacement_mm(first, first, (5, 6, 7)) == 0.0


def test_another_spacing_moves_the_far_corner_most() -> None:
    # 10 slices: the last one is the ninth step away, each of 0.5 mm more.
    first, second = Geometry.from_spacing((3.0, 1, 1)), Geometry.from_spacing((3.5, 1, 1))
    assert corner_displacement_mm(first, second, (10, 20, 30)) == pytest.approx(4.5)
    assert corner_displacement_mm(first, second, (1, 20, 30)) == 0.0


def test_a_flip_moves_corners_by_twice_their_distance() -> None:
    first = Geometry.from_spacing((1, 1, 2.0))
    flipped = first.model_copy(update={"affine": ((-2, 0, 0, 0), *first.affine[1:])})
    assert corner_displacement_mm(first, flipped, (3, 3, 6)) == pytest.approx(20.0)


@pytest.mark.parametrize("column", [0, 1, 2])  # voxel (x, y, z) that runs between left and right
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_the_left_right_axis_of_turned_and_flipped_images(column: int, sign: int, tilt: float) -> None:
    rotation = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    axes = np.roll(np.diag([sign, -1.0, 1.0]), column, axis=1)
    affine = np.eye(4)
    # Thick voxels across, so that the largest number is not on the axis that is asked for.
    affine[:3, :3] = rotation @ axes @ np.diag([5.0 if other != column else 1.0 for other in range(3)])
    affine[:3, 3] = (7, 8, 9)
    rows = tuple(tuple(row) for row in affine.tolist())
    geometry = Geometry.model_validate({"spacing_mm": (1, 1, 1), "affine": rows})
    assert left_right_axis(geometry) == (2 - column, sign < 0)


def test_a_box_knows_its_shape_and_cuts_it_out() -> None:
    box = Box(start=(1, 0), stop=(3, 2))
    assert box.shape == (2, 2)
    np.testing.assert_array_equal(np.arange(12).reshape(4, 3)[box.slices], [[3, 4], [6, 7]])
    assert Box.whole((4, 3)) == Box(start=(0, 0), stop=(4, 3))


def test_the_bounding_box_of_nothing_is_the_whole() -> None:
    assert bounding_box(np.zeros((2, 3, 4), dtype=bool)) == Box.whole((2, 3, 4))


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=3, max_side=6)))
def test_the_bounding_box_is_the_smallest_that_holds_all(mask: np.ndarray) -> None:
    box = bounding_box(mask)
    assert mask[box.slices].sum() == mask.sum()
    if mask.any():
        hits = np.argwhere(mask)
        assert box == Box(start=tuple(hits.min(axis=0).tolist()), stop=tuple((hits.max(axis=0) + 1).tolist()))


@pytest.mark.parametrize(
    ("shape", "spacing", "target", "expected"),
    [
        ((10, 20, 30), (2, 1, 1), (1, 1, 2), (20, 20, 15)),
        ((5, 7), (1, 1), (2, 2), (2, 4)),  # 2.5 and 3.5 both go to the even neighbour
        ((1, 3), (1, 1), (10, 10), (1, 1)),  # never less than one voxel
        ((320, 319, 20), (0.62, 0.62, 3.6), (0.62, 0.62, 3.6), (320, 319, 20)),
    ],
)
def test_shapes_follow_the_spacing(
    shape: tuple[int, ...], spacing: tuple[float, ...], target: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    assert resampled_shape(shape, spacing, target) == expected


@given(st.permutations([0, 1, 2]))
def test_permuting_is_what_numpy_transposes(order: list[int]) -> None:
    assert permuted((4, 5, 6), order) == np.zeros((4, 5, 6)).transpose(order).shape
