"""Formulas that both backends share: kernels, the neighbours of a coarser grid, the profiles of hills."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autounet.augmentation.parameters import BumpParameters, Rows, Values

Weights = npt.NDArray[np.float32]


def blur_kernel(sigma: float) -> Weights:
    """Gaussian weights that add up to 1, over the odd number of voxels nearest to 6 sigma + 0.5 (nnU-Net)."""
    radius = max(1, round((6 * sigma + 0.5 - 1) / 2))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def blur_matrices(sigma: Values, size: int) -> Weights:
    """`(N, size, size)`: the blur of one axis with each standard deviation, mirrored at the ends."""
    matrices = np.zeros((len(sigma), size, size), dtype=np.float32)
    for matrix, value in zip(matrices, sigma, strict=True):
        kernel = blur_kernel(value)
        radius = len(kernel) // 2
        for offset, weight in enumerate(kernel, start=-radius):
            np.add.at(matrix, (np.arange(size), mirrored_index(np.arange(size) + offset, size)), weight)
    return matrices


def mirrored_index(index: Rows, size: int) -> Rows:
    """Positions beyond the ends, mirrored at the centre of the first and the last voxel: -1 is 1."""
    period = max(1, 2 * (size - 1))
    inside = np.mod(index, period)
    return np.asarray(np.minimum(inside, period - inside))


def repeated_index(index: Rows, size: int) -> Rows:
    """Positions beyond the ends, mirrored at the edge of the first and the last voxel: -1 is 0."""
    inside = np.mod(index, 2 * size)
    return np.asarray(np.minimum(inside, 2 * size - 1 - inside))


def low_resolution_taps(size: int, zoom: float) -> tuple[Rows, Rows, Weights]:
    """One axis taken at `zoom` times its voxels, nearest, and back, linear.

    Returns:
        For every voxel, the two voxels that it is mixed of, and the share of the second. Both grids have the same
        outer edges.
    """
    coarse = max(1, round(size * zoom))
    kept = np.floor((np.arange(coarse) + 0.5) * (size / coarse)).astype(np.intp)
    place = np.clip((np.arange(size) + 0.5) * (coarse / size) - 0.5, 0, coarse - 1)
    lower = np.floor(place).astype(np.intp)
    upper = np.minimum(lower + 1, coarse - 1)
    return kept[lower], kept[upper], (place - lower).astype(np.float32)


def low_resolution_matrices(zoom: Values, size: int) -> Weights:
    """`(N, size, size)`: the same as matrices, one a factor."""
    matrices = np.zeros((len(zoom), size, size), dtype=np.float32)
    for matrix, value in zip(matrices, zoom, strict=True):
        lower, upper, share = low_resolution_taps(size, value)
        np.add.at(matrix, (np.arange(size), lower), 1 - share)
        np.add.at(matrix, (np.arange(size), upper), share)
    return matrices


def hill_profiles(parameters: BumpParameters, patch_size: Sequence[int]) -> list[Weights]:
    """The factors of a hill along each axis, `(N, size)`, 1 at the highest voxel of the patch."""
    profiles = []
    for axis, size in enumerate(patch_size):
        centre, width = parameters.centre[:, axis, None], parameters.width[:, axis, None]
        profile = np.exp(-0.5 * ((np.arange(size) - centre) / width) ** 2)
        profiles.append((profile / profile.max(axis=1, keepdims=True)).astype(np.float32))
    return profiles


def along(shape: Sequence[int], axis: int, num_dims: int) -> tuple[int, ...]:
    """The shape that lays an array of shape `(N, size)` along an axis of `(N, *patch_size)`."""
    return (shape[0], *(shape[1] if other == axis else 1 for other in range(num_dims)))
