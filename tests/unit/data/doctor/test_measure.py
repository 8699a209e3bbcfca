"""Figures of single cases, against values computed by hand."""

from __future__ import annotations

import numpy as np

from autounet.data.doctor.measure import centroids_mm, image_figures
from autounet.geometry import Geometry

PLACE = Geometry.from_spacing((3.0, 2.0, 1.0))


def test_percentiles_are_of_voxels_above_the_minimum() -> None:
    image = np.zeros((1, 1, 11, 20), np.float32)
    image[0, 0, 1:6] = np.arange(1, 101).reshape(5, 20)
    figures = image_figures(image, PLACE)
    np.testing.assert_allclose(figures.percentiles[0], np.percentile(np.arange(1, 101), [5, 25, 50, 75, 95]))


def test_nan_and_constants_do_not_spread() -> None:
    image = np.ones((2, 4, 5, 6), np.float32)
    image[1] = np.nan
    figures = image_figures(image, PLACE)
    assert not figures.thumbnail.any()
    np.testing.assert_array_equal(figures.percentiles, [[1] * 5, [0] * 5])


def test_centres_are_in_the_world() -> None:
    label = np.zeros((4, 5, 6), np.uint8)
    label[1:3, 2, 4] = 7
    assert centroids_mm(label, PLACE, [7, 8]) == {7: (4.0, 4.0, 4.5)}
    flipped = PLACE.model_copy(update={"affine": ((-1, 0, 0, 10), *PLACE.affine[1:])})
    assert centroids_mm(label, flipped, [7])[7][0] == 6.0
