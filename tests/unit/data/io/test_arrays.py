"""Images of NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autounet.data.io import Image
from autounet.errors import RequestError


@pytest.mark.parametrize(
    ("shape", "spacing", "expected", "num_spatial_dims"),
    [
        ((5, 6), None, (1, 1, 5, 6), 2),
        ((5, 6), (0.5, 0.25), (1, 1, 5, 6), 2),
        ((3, 5, 6), (0.5, 0.25), (3, 1, 5, 6), 2),
        ((4, 5, 6), None, (1, 4, 5, 6), 3),
        ((4, 5, 6), (2, 0.5, 0.25), (1, 4, 5, 6), 3),
        ((3, 4, 5, 6), (2, 0.5, 0.25), (3, 4, 5, 6), 3),
    ],
)
def test_voxel_sizes_tell_the_axes(
    shape: tuple[int, ...], spacing: tuple[float, ...] | None, expected: tuple[int, ...], num_spatial_dims: int
) -> None:
    array = np.random.default_rng(0).integers(-9, 9, shape, dtype=np.int16)
    image = Image.from_array(array, spacing)
    np.testing.assert_array_equal(image.array, array.reshape(expected))
    assert image.array.dtype == np.float32
    assert image.geometry.num_spatial_dims == num_spatial_dims
    assert image.geometry.tells_spacing == (spacing is not None)
    assert image.geometry.spacing_mm == (1.0, 1.0, 1.0)[: 3 - len(spacing or ())] + (spacing or ())


def test_the_array_is_copied() -> None:
    array = np.zeros((2, 3), np.float32)
    Image.from_array(array).array[:] = 1
    assert not array.any()


def test_affine_is_kept() -> None:
    affine = ((-1.0, 0.0, 0.0, 5.0), (0.0, -1.0, 0.0, 6.0), (0.0, 0.0, 2.0, 7.0), (0.0, 0.0, 0.0, 1.0))
    assert Image.from_array(np.zeros((2, 3, 4)), (2, 1, 1), affine=affine).geometry.affine == affine


@pytest.mark.parametrize(
    ("array", "spacing", "message"),
    [
        (np.zeros(3), None, "is not an image"),
        (np.zeros((2, 2, 2, 2)), (1, 1), "two"),
        (np.zeros((2, 2)), (1, 1, 1), "is not an image"),
        (np.zeros((2, 2)), (1,), "is not an image"),
        (np.zeros((2, 2), complex), None, "complex128 are not supported"),
        (np.array([[None, "a"]], object), None, "object are not supported"),
        (np.zeros((2, 2)), (0, 1), "not positive"),
        (np.zeros((2, 2)), (1, -1), "not positive"),
        (np.zeros((0, 2)), None, "empty"),
    ],
)
def test_what_is_no_image_is_refused(array: Any, spacing: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Image.from_array(array, spacing)
