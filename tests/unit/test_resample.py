"""The resampler beside nnU-Net's rules, written here with scikit-image and SciPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from autounet.geometry import Shape3, Triple
from autounet.resample import CUBIC, LINEAR, NEAREST, axis_matrix, resample_image, resample_label, separated_axis

ISOTROPIC: Triple = (1.0, 1.0, 1.0)
# The longest voxels lie along the axis of that index.
ANISOTROPIC: tuple[Triple, ...] = ((5.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 5.0))

Floats = npt.NDArray[np.float64]
sizes = st.tuples(*[st.integers(1, 9)] * 3)


def resized(array: Floats, shape: tuple[int, ...], order: int) -> Floats:
    return np.asarray(resize(array, shape, order=order, mode="edge", clip=True, anti_aliasing=False))


def nearest_along(array: Floats, axis: int, size: int) -> Floats:
    """nnU-Net's `resample_data_or_seg_to_shape` along the separated axis: half-pixel centres, order 0."""
    shape = list(array.shape)
    shape[axis] = size
    coordinates = list(np.indices(shape, dtype=np.float64))
    coordinates[axis] = (coordinates[axis] + 0.5) * (array.shape[axis] / size) - 0.5
    return np.asarray(ndimage.map_coordinates(array, coordinates, order=0, mode="nearest"))


def in_slices(array: Floats, shape: Shape3, axis: int, order: int) -> Floats:
    """Each slice across `axis` by itself, then the nearest slice."""
    flat = shape[:axis] + shape[axis + 1 :]
    slices = [resized(part, flat, order) for part in np.moveaxis(array, axis, 0)]
    return nearest_along(np.stack(slices, axis=axis), axis, shape[axis])


@settings(deadline=None, max_examples=40)
@given(sizes, sizes, st.integers(0, 2**32 - 1))
@example((4, 6, 8), (8, 12, 16), 0)
@example((9, 9, 9), (3, 4, 5), 0)
@example((1, 7, 7), (1, 9, 5), 0)
@example((5, 6, 7), (1, 1, 1), 0)
def test_images_are_interpolated_as_scikit_image_does(shape: Shape3, new_shape: Shape3, seed: int) -> None:
    image = np.random.default_rng(seed).normal(3, 2, (2, *shape)).astype(np.float32)
    result = resample_image(image, new_shape, ISOTROPIC, ISOTROPIC)
    expected = [resized(channel.astype(np.float64), new_shape, 3) for channel in image]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=2e-5)


@settings(deadline=None, max_examples=40)
@given(sizes, sizes, st.integers(0, 2), st.integers(0, 2**32 - 1))
@example((3, 8, 8), (7, 5, 12), 0, 0)
@example((7, 8, 8), (3, 12, 5), 0, 0)
@example((8, 8, 4), (8, 8, 9), 2, 0)
def test_slices_far_apart_are_not_mixed(shape: Shape3, new_shape: Shape3, axis: int, seed: int) -> None:
    image = np.random.default_rng(seed).normal(3, 2, (2, *shape)).astype(np.float32)
    result = resample_image(image, new_shape, ANISOTROPIC[axis], ISOTROPIC)
    expected = [in_slices(channel.astype(np.float64), new_shape, axis, 3) for channel in image]
    np.testing.assert_allclose(result, expected, atol=2e-5)


def label_by_the_rule(label: npt.NDArray[np.int16], shape: Shape3, axis: int | None) -> tuple[Floats, Floats]:
    """nnU-Net's `resize_segmentation`, and where a voxel is so near to one half that rounding decides."""
    result, in_doubt = np.zeros(shape), np.zeros(shape)
    for value in np.unique(label):
        indicator = (label == value).astype(np.float64)
        share = resized(indicator, shape, 1) if axis is None else in_slices(indicator, shape, axis, 1)
        in_doubt[np.abs(share - 0.5) < 1e-5] = 1
        result[share >= 0.5] = value
    return result, in_doubt


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, st.sampled_from([None, 0, 1, 2]), st.integers(0, 2**32 - 1))
@example((4, 6, 8), (8, 12, 16), None, 0)
@example((7, 8, 8), (3, 12, 5), 0, 0)
def test_labels_follow_the_rule_of_nnunet(shape: Shape3, new_shape: Shape3, axis: int | None, seed: int) -> None:
    label = np.random.default_rng(seed).integers(-1, 4, shape).astype(np.int16)
    spacing = ISOTROPIC if axis is None else ANISOTROPIC[axis]
    result = resample_label(label, new_shape, spacing, ISOTROPIC)
    expected, in_doubt = label_by_the_rule(label, new_shape, axis)
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result[in_doubt == 0], expected[in_doubt == 0])


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 0], 1), ([1, 2], 2), ([-1, 0], 0), ([-1, 2], 2), ([0, 0], 0), ([-1, -1], -1)]
)
def test_of_two_equal_halves_the_larger_value_wins(values: list[int], expected: int) -> None:
    label = np.array(values, dtype=np.int16).reshape(1, 1, 2)
    assert resample_label(label, (1, 1, 1), ISOTROPIC, ISOTROPIC).item() == expected
    assert resample_label(label[..., ::-1], (1, 1, 1), ISOTROPIC, ISOTROPIC).item() == expected


def test_where_no_value_reaches_one_half_there_is_background() -> None:
    label = np.array([1, 2, 3], dtype=np.int16).reshape(1, 1, 3).repeat(3, axis=1)
    label[0, 1] = [2, 3, 1]
    label[0, 2] = [3, 1, 2]
    # The middle of 3 x 3 voxels, enlarged to 6 x 6, mixes four voxels with weights 9, 3, 3 and 1 of 16.
    result = resample_label(label, (1, 6, 6), ISOTROPIC, ISOTROPIC)
    assert result[0, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert set(np.unique(result)) <= {0, 1, 2, 3}
    mixed = np.array([[1, 2], [3, 4]], dtype=np.int16)[None]
    assert resample_label(mixed, (1, 1, 1), ISOTROPIC, ISOTROPIC).item() == 0


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("new_size", range(1, 12))
def test_the_nearest_slice_is_the_one_that_scipy_takes(size: int, new_size: int) -> None:
    values = np.arange(size, dtype=np.float64)
    np.testing.assert_array_equal(axis_matrix(size, new_size, NEAREST) @ values, nearest_along(values, 0, new_size))


@pytest.mark.parametrize("order", [NEAREST, LINEAR, CUBIC])
@pytest.mark.parametrize(("size", "new_size"), [(1, 4), (4, 1), (5, 8), (8, 5), (7, 7)])
def test_a_constant_stays_constant(order: int, size: int, new_size: int) -> None:
    matrix = axis_matrix(size, new_size, order)
    assert matrix.shape == (new_size, size)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_linear_weights_by_hand() -> None:
    # Centres of four samples over two: -0.25, 0.25, 0.75 and 1.25; edges are repeated.
    expected = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(axis_matrix(2, 4, LINEAR), expected, atol=1e-7)


def test_cubic_overshoot_is_clipped_to_each_channel() -> None:
    step = np.repeat([0.0, 1.0], 4).astype(np.float32)
    image = np.stack([step, 5 * step])[:, None, None, :]
    result = resample_image(image, (1, 1, 24), ISOTROPIC, ISOTROPIC)
    assert [(channel.min(), channel.max()) for channel in result] == [(0, 1), (0, 5)]
    raw = axis_matrix(8, 24, CUBIC) @ step
    assert raw.max() > 1.01


def test_the_same_shape_is_handed_back_as_it_came() -> None:
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    label = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    assert resample_image(image, (2, 3, 4), (5, 1, 1), (1, 1, 1)) is image
    assert resample_label(label, (2, 3, 4), (5, 1, 1), (1, 1, 1)) is label


@pytest.mark.parametrize(
    ("spacing", "target", "expected"),
    [
        ((1, 1, 1), (1, 1, 1), None),
        ((3, 1, 1), (1, 1, 1), None),  # three times is not yet anisotropic
        ((3.1, 1, 1), (1, 1, 1), 0),
        ((1, 1, 3.1), (5, 1, 1), 2),  # the image's own spacing counts first
        ((1, 1, 1), (1, 5, 1), 1),
        ((5, 5, 1), (1, 1, 1), None),  # two long axes: none is separated
        ((5, 5, 1), (9, 1, 1), None),
    ],
)
def test_the_separated_axis_is_the_one_of_long_voxels(spacing: Triple, target: Triple, expected: int | None) -> None:
    assert separated_axis(spacing, target) == expected
