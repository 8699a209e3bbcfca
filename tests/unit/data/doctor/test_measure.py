"""Figures of single cases, against values computed by hand."""

from __future__ import annotations

import numpy as np

from autounet.data.doctor.measure import centroids_mm, digest, image_figures
from autounet.geometry import Geometry

PLACE = Geometry.from_spacing((3.0, 2.0, 1.0))


def test_the_digest_is_of_voxels_and_shape() -> None:
    array = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    assert digest(array) == digest(array.copy())
    assert digest(array) != digest(array.reshape(1, 2, 4, 3))
    assert digest(array) != digest(array + 1)


def test_percentiles_are_of_voxels_above_the_minimum() -> None:
    image = np.zeros((1, 1, 11, 20), np.float32)
    image[0, 0, 1:6] = np.arange(1, 101).reshape(5, 20)
    figures = image_figures(image, PLACE)
    np.testing.assert_allclose(figures.percentiles[0], np.percentile(np.arange(1, 101), [5, 25, 50, 75, 95]))


def test_thumbnails_correlate_whatever_the_gain_and_not_with_others() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 1, 12, 14, 16)).astype(np.float32)
    first = image_figures(one, PLACE).thumbnail
    np.testing.assert_allclose(first @ image_figures(3 * one + 100, PLACE).thumbnail, 1, atol=1e-5)
    assert first @ image_figures(other, PLACE).thumbnail < 0.3
    # By hand: blocks of an axis of 20 are pairs, and their means are compared.
    column = np.tile(np.arange(20, dtype=np.float32)[:, None, None], (1, 1, 1))[None]
    means = np.arange(0.5, 20, 2)
    expected = (means - means.mean()) / np.linalg.norm(means - means.mean())
    np.testing.assert_allclose(image_figures(column, PLACE).thumbnail, expected, atol=1e-6)


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
