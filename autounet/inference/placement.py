"""How the tiles of a sliding window cover an image, and how what is said of them is put together.

Two ways: tiles of padded networks overlap and are blended by Gaussian weights; what a network of valid convolutions
says of its tiles is laid side by side, as in the U-Net of 2015 ("overlap-tile"): its tiles overlap by the context that
it loses, and what is missing beyond the image is its mirror image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from autounet.geometry import mirrored_indices
from autounet.inference.tiles import gaussian_weights, tile_origins

Place = tuple[slice, ...]


class Placement(Protocol):
    """Tiles on images of one size."""

    @property
    def origins(self) -> list[tuple[int, ...]]:
        """First voxel of each tile, counted on the padded image."""

    @property
    def total_size(self) -> tuple[int, ...]:
        """Of what the logits are added up in."""

    def padded(self, images: Tensor) -> Tensor:
        """Images `(N, C, *spatial)` with what the tiles need beyond them."""

    def add(self, total: Tensor, origin: Sequence[int], logits: Tensor) -> None:
        """Take in the logits `(K, ...)` of a tile; `total` is `(K, *total_size)` of its image."""

    def inside(self, total: Tensor) -> Tensor:
        """`(..., *total_size)` cut to `(..., *spatial)`."""


class Blended:
    """Overlapping tiles, weighted by a Gaussian.

    Args:
        spatial: Size of the image.
        tile: Size of a tile.
        step: Distance between tiles as a share of the tile.
        device: Where logits are added up.
    """

    def __init__(self, spatial: Sequence[int], tile: tuple[int, ...], step: float, device: torch.device) -> None:
        self._spatial, self._tile = tuple(spatial), tile
        missing = [max(0, edge - size) for size, edge in zip(spatial, tile, strict=True)]
        self._before = [voxels // 2 for voxels in missing]
        self._after = [voxels - before for voxels, before in zip(missing, self._before, strict=True)]
        self.total_size = padded_size(spatial, tile)
        self.origins = tile_origins(self.total_size, tile, step)
        self._device = device

    @cached_property
    def _weights(self) -> Tensor:
        return torch.from_numpy(gaussian_weights(self._tile)).to(self._device)

    @cached_property
    def _norm(self) -> Tensor:
        norm = torch.zeros(self.total_size, device=self._device)
        for origin in self.origins:
            norm[place(origin, self._tile)] += self._weights
        return norm

    def padded(self, images: Tensor) -> Tensor:
        """Zeros on both sides of images that are smaller than a tile."""
        if self.total_size == self._spatial:
            return images
        # `F.pad` lists the last axis first, each as (before, after).
        pairs = reversed(list(zip(self._before, self._after, strict=True)))
        return F.pad(images, [value for pair in pairs for value in pair])

    def add(self, total: Tensor, origin: Sequence[int], logits: Tensor) -> None:
        """Divided before it is added: half precision then holds a mean, never a sum that could overflow."""
        where = place(origin, self._tile)
        total[(slice(None), *where)] += logits.to(self._device).mul_(self._weights / self._norm[where])

    def inside(self, total: Tensor) -> Tensor:
        """Without the padding."""
        leading = (slice(None),) * (total.ndim - len(self._spatial))
        return total[leading + place(self._before, self._spatial)]


class Abutting:
    """Tiles of valid convolutions: each tells of its inside, and these insides are laid side by side.

    Pooling begins at a tile's first voxel, so tiles lie whole multiples of the network's divisor apart: then every
    voxel is computed from the same numbers in the same way, whatever the tiles. Only where a tile tells of less than
    that, they are as far apart as it tells of.

    Args:
        spatial: Size of the image.
        tile: Size of a tile.
        halo: What the network loses on each side.
        divisor: Of the network.
    """

    def __init__(
        self, spatial: Sequence[int], tile: tuple[int, ...], halo: tuple[int, ...], divisor: tuple[int, ...]
    ) -> None:
        self.total_size = tuple(spatial)
        self._tile, self._halo = tile, halo
        self._field = tuple(edge - 2 * lost for edge, lost in zip(tile, halo, strict=True))
        self._step = tuple(told // step * step or told for told, step in zip(self._field, divisor, strict=True))
        axes = zip(spatial, self._field, self._step, strict=True)
        self._counts = [max(0, math.ceil((size - told) / step)) + 1 for size, told, step in axes]
        starts = [range(0, count * step, step) for count, step in zip(self._counts, self._step, strict=True)]
        self.origins = list(itertools.product(*starts))

    def padded(self, images: Tensor) -> Tensor:
        """Mirror images on all sides; each axis is reflected at its outermost voxels, as often as it takes."""
        for axis, size in enumerate(self.total_size):
            extent = (self._counts[axis] - 1) * self._step[axis] + self._tile[axis]
            indices = mirrored_indices(-self._halo[axis], extent, size)
            images = images.index_select(axis + 2, torch.from_numpy(indices).to(images.device))
        return images

    def add(self, total: Tensor, origin: Sequence[int], logits: Tensor) -> None:
        """Up to where the next tile begins."""
        axes = zip(origin, self.total_size, self._step, self._counts, strict=True)
        ends = [size if start == (count - 1) * step else start + step for start, size, step, count in axes]
        extent = [end - start for start, end in zip(origin, ends, strict=True)]
        inside = logits[(slice(None), *place((0,) * len(extent), extent))]
        total[(slice(None), *place(origin, extent))] = inside.to(total.device)

    def inside(self, total: Tensor) -> Tensor:
        """As it is."""
        return total


def padded_size(spatial: Sequence[int], tile: Sequence[int]) -> tuple[int, ...]:
    """At least that of a tile."""
    return tuple(max(pair) for pair in zip(spatial, tile, strict=True))


def place(origin: Sequence[int], size: Sequence[int]) -> Place:
    """The box of that size at an origin."""
    return tuple(slice(at, at + edge) for at, edge in zip(origin, size, strict=True))
