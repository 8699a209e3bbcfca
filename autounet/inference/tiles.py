"""Where the tiles of a sliding window lie, and how much each voxel of a tile counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

# nnU-Net: neighbouring tiles overlap by half, and weights fall off as a Gaussian of an eighth of the tile.
TILE_STEP = 0.5
_SIGMA_SHARE = 1 / 8


def tile_starts(size: int, tile: int, step: float = TILE_STEP) -> list[int]:
    """First voxels of the tiles on one axis: evenly spread, at most `step * tile` apart, the ends flush.

    nnU-Net's `compute_steps_for_sliding_window`.

    Args:
        size: Voxels of the image, at least `tile`.
        tile: Voxels of a tile.
        step: Largest distance between tiles as a share of the tile.
    """
    num_steps = math.ceil((size - tile) / (tile * step)) + 1
    if num_steps == 1:
        return [0]
    distance = (size - tile) / (num_steps - 1)
    return [round(distance * index) for index in range(num_steps)]


def tile_origins(shape: Sequence[int], tile: Sequence[int], step: float = TILE_STEP) -> list[tuple[int, ...]]:
    """First voxels of all tiles of an image."""
    return list(itertools.product(*(tile_starts(size, edge, step) for size, edge in zip(shape, tile, strict=True))))


@lru_cache(maxsize=4)
def gaussian_weights(tile: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Weight of each voxel of a tile: a Gaussian about the centre, largest value 1, never zero."""
    impulse = np.zeros(tile)
    impulse[tuple(edge // 2 for edge in tile)] = 1
    weights = ndimage.gaussian_filter(impulse, [edge * _SIGMA_SHARE for edge in tile], mode="constant")
    weights /= weights.max()
    weights[weights == 0] = weights[weights > 0].min()
    return np.asarray(weights, dtype=np.float32)
