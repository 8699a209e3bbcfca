"""Grids over one field of view, and labels brought from one to the other."""

from __future__ import annotations

import numpy as np
import pytest

from autounet.data.doctor.grids import resampled_label, show_same_view
from autounet.geometry import Geometry

FINE = Geometry.from_spacing((1.0, 1.0, 1.0))
SHAPE = (8, 10, 12)
# Twice the voxel; its first centre lies half a fine voxel further in.
COARSE = FINE.model_copy(
    update={"spacing_mm": (2.0, 2.0, 2.0), "affine": ((2, 0, 0, 0.5), (0, 2, 0, 0.5), (0, 0, 2, 0.5), (0, 0, 0, 1))}
)
# Stored from the other end of x, and with y and z exchanged.
TURNED = FINE.model_copy(update={"affine": ((-1, 0, 0, 11), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1))})


@pytest.mark.parametrize(
    ("place", "shape", "same"),
    [
        (FINE, SHAPE, True),
        (COARSE, (4, 5, 6), True),
        (TURNED, (10, 8, 12), True),
        (TURNED, SHAPE, False),
        (COARSE, SHAPE, False),
        (FINE, (7, 10, 12), False),
        (FINE.model_copy(update={"affine": ((1, 0, 0, 2), *FINE.affine[1:])}), SHAPE, False),
        (FINE.model_copy(update={"tells_spacing": False}), SHAPE, False),
        (FINE.model_copy(update={"num_spatial_dims": 2}), SHAPE, False),
    ],
)
def test_views(place: Geometry, shape: tuple[int, int, int], same: bool) -> None:
    assert show_same_view(FINE, SHAPE, place, shape) is same
    assert show_same_view(place, shape, FINE, SHAPE) is same


def test_a_coarse_label_is_repeated_and_a_turned_one_turned_back() -> None:
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 5, (4, 5, 6), np.uint8)
    np.testing.assert_array_equal(
        resampled_label(coarse, COARSE, FINE, SHAPE), coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    )
    label = generator.integers(0, 5, SHAPE, np.uint8)
    turned = label.transpose(1, 0, 2)[:, :, ::-1]
    np.testing.assert_array_equal(resampled_label(turned, TURNED, FINE, SHAPE), label)
