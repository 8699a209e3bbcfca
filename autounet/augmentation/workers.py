"""Drawn parameters applied with NumPy and SciPy, sample by sample: for worker processes, or a thread beside training.

The transforms of batchgenerators draw from the global generators while they apply, so its functions are used where they
take explicit parameters (rotation matrices), and its transforms as the standard that the tests hold this up to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.augmentation.elastic import displacement_field, elastic_weights
from autounet.augmentation.filters import along, blur_kernel, hill_profiles, low_resolution_taps
from autounet.augmentation.mirrors import with_sides_swapped
from autounet.augmentation.parameters import (
    BlurParameters,
    BumpParameters,
    ChannelParameters,
    ContrastParameters,
    GammaParameters,
    GradientParameters,
    LinearParameters,
    LocalGammaParameters,
    LowResolutionParameters,
    MedianParameters,
    NoiseParameters,
    RectangleParameters,
    SharpenParameters,
)
from autounet.augmentation.patches import BatchParameters
from autounet.augmentation.previous import apply_previous
from autounet.augmentation.spatial import SpatialParameters
from autounet.geometry import Array
from autounet.labels import OUTSIDE

Image = npt.NDArray[np.float32]

_LINEAR, _NEAREST = 1, 0
_TINY = 1e-7


def apply(parameters: BatchParameters, image: Image, label: Array) -> tuple[Image, npt.NDArray[np.int16]]:
    """Change a batch.

    Args:
        parameters: As drawn.
        image: `(B, C, *region_size)`, the regions that `parameters.spatial` asks for.
        label: `(B, L, *region_size)` maps that move with the image, the first of them the label map: -1 outside the
            body; in a cascade, the second the earlier stage's.

    Returns:
        The image `(B, C, *patch_size)`, in a cascade with the channels of the earlier stage behind its own, and the
        maps `(B, L, *patch_size)`, never negative.
    """
    spatial = parameters.spatial
    new_image = np.empty((*image.shape[:2], *spatial.patch_size), dtype=np.float32)
    new_label = np.empty((*label.shape[:2], *spatial.patch_size), dtype=np.int16)
    for index in range(len(image)):
        new_image[index], new_label[index] = _moved(spatial, index, image[index], label[index])
        if spatial.swapped[index]:
            new_label[index] = with_sides_swapped(new_label[index], parameters.side_pairs)
    rows = new_image.reshape(-1, *spatial.patch_size)
    for drawn in parameters.intensity:
        rows[drawn.rows] = change(drawn, rows[drawn.rows])
    for channel in parameters.masked_channels:
        new_image[:, channel][new_label[:, 0] == OUTSIDE] = 0
    if parameters.previous is not None:
        new_image = np.concatenate([new_image, apply_previous(parameters.previous, new_label[:, 1])], axis=1)
    return new_image, np.maximum(new_label, 0)


def _moved(spatial: SpatialParameters, index: int, image: Image, label: Array) -> tuple[Image, Array]:
    """One sample's image `(C, *patch_size)` and maps `(L, *patch_size)`."""
    if not spatial.interpolated[index]:
        move = spatial.whole_move(index)
        turned = [array[(slice(None), *move.window)].transpose(move.axes) for array in (image, label)]
        return np.flip(turned[0], move.flipped), np.flip(turned[1], move.flipped)
    matrix = spatial.matrix[index]
    half = (np.array(spatial.patch_size) - 1) / 2
    offset = spatial.origin[index] + spatial.shift[index] - matrix @ half
    if spatial.displacement is None:
        common: dict[str, Any] = {"matrix": matrix, "offset": offset, "output_shape": spatial.patch_size}
        interpolate = ndimage.affine_transform
    else:
        nodes = spatial.displacement.shape[2]
        weights = [elastic_weights(edge, nodes) for edge in spatial.patch_size]
        grid = np.indices(spatial.patch_size) + displacement_field(spatial.displacement[index], weights)
        places = np.tensordot(matrix, grid, axes=1) + offset.reshape(-1, *[1] * len(half))
        common = {"coordinates": places}
        interpolate = ndimage.map_coordinates
    common |= {"mode": "grid-constant", "prefilter": False}
    moved_image = [interpolate(channel, order=_LINEAR, cval=0.0, **common) for channel in image]
    moved_label = [interpolate(entry, order=_NEAREST, cval=OUTSIDE, **common) for entry in label.astype(np.int16)]
    return np.stack(moved_image), np.stack(moved_label)


@singledispatch
def change(parameters: ChannelParameters, values: Image) -> Image:
    """Change the channels that a transform strikes.

    A transform of another package registers its parameters here and with `device.change`.

    Args:
        parameters: Of `N` channels.
        values: These channels, `(N, *patch_size)`.
    """
    raise NotImplementedError(f"the workers cannot apply {type(parameters).__name__}")


@change.register
def _noise(parameters: NoiseParameters, values: Image) -> Image:
    noise = np.random.default_rng(parameters.seed).standard_normal(values.shape, dtype=np.float32)
    return values + noise * _per_channel(parameters.sigma, values)


@change.register
def _linear(parameters: LinearParameters, values: Image) -> Image:
    return values * _per_channel(parameters.factor, values) + _per_channel(parameters.offset, values)


@change.register
def _contrast(parameters: ContrastParameters, values: Image) -> Image:
    mean = _reduced(np.mean, values)
    result = (values - mean) * _per_channel(parameters.factor, values) + mean
    if parameters.keep_range:
        result = np.clip(result, _reduced(np.min, values), _reduced(np.max, values))
    return result


@change.register
def _gamma(parameters: GammaParameters, values: Image) -> Image:
    image = -values if parameters.inverted else values
    least = _reduced(np.min, image)
    spread = np.maximum(_reduced(np.max, image) - least, _TINY)
    result = ((image - least) / spread) ** _per_channel(parameters.exponent, values) * spread + least
    deviation = np.maximum(_reduced(np.std, result), _TINY)
    result = (result - _reduced(np.mean, result)) / deviation * _reduced(np.std, image) + _reduced(np.mean, image)
    return np.asarray(-result if parameters.inverted else result)


@change.register
def _blur(parameters: BlurParameters, values: Image) -> Image:
    result = values.copy()
    for channel, sigmas in zip(result, parameters.sigma, strict=True):
        for axis, sigma in enumerate(sigmas):
            channel[:] = ndimage.correlate1d(channel, blur_kernel(sigma), axis, mode="mirror")
    return result


@change.register
def _low_resolution(parameters: LowResolutionParameters, values: Image) -> Image:
    result = values.copy()
    for channel, zooms in zip(result, parameters.zoom, strict=True):
        for axis, zoom in enumerate(zooms):
            lower, upper, share = low_resolution_taps(channel.shape[axis], zoom)
            share = share.reshape([-1 if other == axis else 1 for other in range(channel.ndim)])
            channel[:] = channel.take(lower, axis) * (1 - share) + channel.take(upper, axis) * share
    return result


@change.register
def _median(parameters: MedianParameters, values: Image) -> Image:
    pairs = zip(values, parameters.size, strict=True)
    return np.stack([ndimage.median_filter(channel, int(size), mode="reflect") for channel, size in pairs])


@change.register
def _sharpen(parameters: SharpenParameters, values: Image) -> Image:
    second = np.array([-1, 2, -1], dtype=np.float32)
    axes = range(1, values.ndim)
    laplacian = sum((ndimage.correlate1d(values, second, axis, mode="nearest") for axis in axes), np.zeros_like(values))
    result = values + laplacian * _per_channel(parameters.strength, values)
    return np.clip(result, _reduced(np.min, values), _reduced(np.max, values))


@change.register
def _rectangles(parameters: RectangleParameters, values: Image) -> Image:
    result = values.copy()
    for channel, starts, stops in zip(result, parameters.start, parameters.stop, strict=True):
        mean = channel.mean()
        for start, stop in zip(starts, stops, strict=True):
            channel[tuple(slice(first, last) for first, last in zip(start, stop, strict=True))] = mean
    return result


@change.register
def _gradient(parameters: GradientParameters, values: Image) -> Image:
    return values + _hills(parameters, values) * _per_channel(parameters.strength, values)


@change.register
def _local_gamma(parameters: LocalGammaParameters, values: Image) -> Image:
    least = _reduced(np.min, values)
    spread = np.maximum(_reduced(np.max, values) - least, _TINY)
    scaled = (values - least) / spread
    hills = _hills(parameters, values)
    mixed = hills * scaled ** _per_channel(parameters.exponent, values) + (1 - hills) * scaled
    return np.asarray(mixed * spread + least)


def _hills(parameters: BumpParameters, values: Image) -> Image:
    """`(N, *patch_size)`."""
    hills = np.ones_like(values)
    for axis, profile in enumerate(hill_profiles(parameters, values.shape[1:])):
        hills *= profile.reshape(along(profile.shape, axis, values.ndim - 1))
    return hills


def _per_channel(numbers: npt.NDArray[np.float64], values: Image) -> Image:
    """`(N,)` as `(N, 1, ...)`."""
    return numbers.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))


def _reduced(statistic: Callable[..., Any], values: Image) -> Image:
    """A figure of each channel, `(N, 1, ...)`."""
    return np.asarray(statistic(values, axis=tuple(range(1, values.ndim)), keepdims=True), dtype=np.float32)
