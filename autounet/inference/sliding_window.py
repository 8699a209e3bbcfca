"""Logits of a whole prepared image: tiles and their mirrors, in batches, blended by Gaussian weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from autounet.inference.tiles import TILE_STEP, gaussian_weights, tile_origins
from autounet.networks.blocks import SegmentationNetwork
from autounet.training.precision import Precision


@dataclass(frozen=True)
class SlidingWindow:
    """How a network is moved over an image.

    Attributes:
        tile: Size of a tile; two numbers for a 2D network, which goes over a volume slice by slice.
        mirror_axes: Spatial axes of the tile to mirror; every combination is predicted and averaged.
        precision: What the network computes in; logits are added up in float32.
        step: Distance between tiles as a share of the tile.
        batch_size: Tiles and mirrors of tiles at once.
        swap_axis: Axis along which a mirror swaps left and right: the logits of its mirrors do likewise.
        swapped_channels: Which channel takes the place of each then.
        swapped_inputs: The same of the network's input, where an earlier stage's left and right are part of it.
    """

    tile: tuple[int, ...]
    mirror_axes: tuple[int, ...]
    precision: Precision
    step: float = TILE_STEP
    batch_size: int = 1
    swap_axis: int | None = None
    swapped_channels: tuple[int, ...] = ()
    swapped_inputs: tuple[int, ...] = ()

    @torch.inference_mode()
    def logits(self, networks: Sequence[SegmentationNetwork], image: Tensor) -> Tensor:
        """Average logits of several networks.

        Args:
            networks: Of the same outputs, on the image's device.
            image: Prepared image `(C, Z, Y, X)`, float32.

        Returns:
            Logits `(K, Z, Y, X)`, float32, on the image's device.
        """
        if len(self.tile) == 3:
            return self._blend(networks, image[None])[0]
        # The slices of a volume are a batch to a 2D network.
        return self._blend(networks, image.transpose(0, 1)).transpose(0, 1)

    def _blend(self, networks: Sequence[SegmentationNetwork], images: Tensor) -> Tensor:
        """`(N, C, *spatial)` to `(N, K, *spatial)`."""
        spatial = images.shape[2:]
        padding = [max(0, edge - size) for size, edge in zip(spatial, self.tile, strict=True)]
        before = [missing // 2 for missing in padding]
        padded = F.pad(images, _pad_argument(before, padding))
        origins = tile_origins(padded.shape[2:], self.tile, self.step)
        weights = torch.from_numpy(gaussian_weights(self.tile)).to(images.device)
        norm = torch.zeros(padded.shape[2:], device=images.device)
        for origin in origins:
            norm[self._place(origin)] += weights
        views = list(itertools.product(range(len(padded)), origins, _combinations(self.mirror_axes)))
        total: Tensor | None = None
        for start in range(0, len(views), self.batch_size):
            batch = views[start : start + self.batch_size]
            tiles = torch.stack(
                [self._mirrored(padded[index][(slice(None), *self._place(at))], axes) for index, at, axes in batch]
            )
            logits = self._mean_logits(networks, tiles)
            if total is None:
                total = torch.zeros((len(padded), logits.shape[1], *padded.shape[2:]), device=images.device)
            for (index, at, axes), tile_logits in zip(batch, logits, strict=True):
                total[index][(slice(None), *self._place(at))] += self._flipped_back(tile_logits, axes) * weights
        assert total is not None
        total /= norm * 2 ** len(self.mirror_axes)
        inside = tuple(slice(first, first + size) for first, size in zip(before, spatial, strict=True))
        return total[(slice(None), slice(None), *inside)]

    def _place(self, origin: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(at, at + edge) for at, edge in zip(origin, self.tile, strict=True))

    def _mirrored(self, tile: Tensor, axes: tuple[int, ...]) -> Tensor:
        """A tile `(C, *tile)` as its mirror image would have been given to the network."""
        if self.swap_axis in axes and self.swapped_inputs:
            tile = tile[list(self.swapped_inputs)]
        return _flip(tile, axes)

    def _flipped_back(self, logits: Tensor, axes: Sequence[int]) -> Tensor:
        """Logits `(K, *tile)` of a mirrored tile as those of the tile itself."""
        if self.swap_axis in axes:
            logits = logits[list(self.swapped_channels)]
        return _flip(logits, axes)

    def _mean_logits(self, networks: Sequence[SegmentationNetwork], tiles: Tensor) -> Tensor:
        """Mean over the networks of `(N, C, *tile)`: `(N, K, *tile)` float32."""
        total: Tensor | None = None
        for network in networks:
            with self.precision.autocast(tiles.device):
                logits = network(tiles)[0].float()
            total = logits if total is None else total + logits
        assert total is not None
        return total / len(networks)


def _flip(array: Tensor, axes: Sequence[int]) -> Tensor:
    """Mirror `(C, *tile)` along spatial axes; its own inverse."""
    return array.flip([axis + 1 for axis in axes])


def _combinations(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every subset of the axes, the empty one first."""
    return [subset for size in range(len(axes) + 1) for subset in itertools.combinations(axes, size)]


def _pad_argument(before: Sequence[int], padding: Sequence[int]) -> list[int]:
    """`F.pad` lists the last axis first, each as (before, after)."""
    pairs = [(first, missing - first) for first, missing in zip(before, padding, strict=True)]
    return [value for pair in reversed(pairs) for value in pair]
