"""Logits of a whole prepared image: tiles and their mirrors, in batches, put together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autounet.inference.constant import constant_tiles
from autounet.inference.placement import Abutting, Blended, Placement, padded_size, place
from autounet.inference.tiles import TILE_STEP
from autounet.networks.base import SegmentationNetwork
from autounet.training.precision import Precision

Mirrored = tuple[int, ...]
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class SlidingWindow:
    """How a network is moved over an image.

    Attributes:
        tile: Size of a tile; two numbers for a 2D network, which goes over a volume slice by slice.
        mirror_axes: Spatial axes of the tile to mirror; every combination is predicted and averaged.
        precision: What the network computes in.
        step: Distance between tiles as a share of the tile.
        batch_size: Tiles and mirrors of tiles at once.
        swap_axis: Axis along which a mirror swaps left and right: the logits of its mirrors do likewise.
        swapped_channels: Which channel takes the place of each then.
        swapped_inputs: The same of the network's input, where an earlier stage's left and right are part of it.
        accumulate: What tiles are added up in; folds and mirrors of a tile are always added up in float32.
        skip: Compute tiles in which nothing varies once (`autounet.inference.constant`).
        halo: What valid convolutions lose on each side of a tile; empty for padded ones.
        divisor: Of a network that loses some.
    """

    tile: tuple[int, ...]
    mirror_axes: tuple[int, ...]
    precision: Precision
    step: float = TILE_STEP
    batch_size: int = 1
    swap_axis: int | None = None
    swapped_channels: tuple[int, ...] = ()
    swapped_inputs: tuple[int, ...] = ()
    accumulate: torch.dtype = torch.float32
    skip: bool = True
    halo: tuple[int, ...] = ()
    divisor: tuple[int, ...] = ()

    @torch.inference_mode()
    def logits(
        self,
        networks: Sequence[SegmentationNetwork],
        image: Tensor,
        *,
        results_on: torch.device | None = None,
        tell: Tell | None = None,
    ) -> Tensor:
        """Average logits of several networks, which see every tile one after another.

        Args:
            networks: Of the same outputs, on the image's device.
            image: Prepared image `(C, Z, Y, X)`, float32.
            results_on: Where the logits are added up; on the image's device by default.
            tell: Called after every batch with the number of tiles and mirrors done and of all.

        Returns:
            Logits `(K, Z, Y, X)`, as `accumulate` says.
        """
        device = results_on or image.device
        if len(self.tile) == 3:
            return self._together(networks, image[None], device, tell)[0]
        # The slices of a volume are a batch to a 2D network.
        return self._together(networks, image.transpose(0, 1), device, tell).transpose(0, 1)

    def padded_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The spatial shape of an image, at least that of a tile where logits are blended."""
        leading = len(shape) - len(self.tile)
        within = shape[leading:]
        return (*shape[:leading], *(within if any(self.halo) else padded_size(within, self.tile)))

    def num_tiles(self, shape: Sequence[int]) -> int:
        """Tiles of an image of this spatial shape `(Z, Y, X)`."""
        leading = len(shape) - len(self.tile)
        placement = self._placement(shape[leading:], torch.device("cpu"))
        return len(placement.origins) * math.prod(shape[:leading])

    @property
    def num_mirrors(self) -> int:
        """Views of a tile: itself and its mirror images."""
        return 1 << len(self.mirror_axes)

    def _together(
        self, networks: Sequence[SegmentationNetwork], images: Tensor, results_on: torch.device, tell: Tell | None
    ) -> Tensor:
        """`(N, C, *spatial)` to `(N, K, *spatial)`."""
        placement = self._placement(images.shape[2:], results_on)
        padded = placement.padded(images)
        numbered = [(index, origin) for index in range(len(padded)) for origin in placement.origins]
        places = [(index, place(origin, self.tile)) for index, origin in numbered]
        total: Tensor | None = None
        for number, logits in self._logits_of_tiles(networks, padded, places, tell):
            if total is None:
                shape = (len(padded), len(logits), *placement.total_size)
                total = torch.zeros(shape, dtype=self.accumulate, device=results_on)
            index, origin = numbered[number]
            placement.add(total[index], origin, logits)
        assert total is not None
        return placement.inside(total)

    def _placement(self, spatial: Sequence[int], device: torch.device) -> Placement:
        if any(self.halo):
            return Abutting(spatial, self.tile, self.halo, self.divisor)
        return Blended(spatial, self.tile, self.step, device)

    def _logits_of_tiles(
        self,
        networks: Sequence[SegmentationNetwork],
        images: Tensor,
        places: Sequence[tuple[int, tuple[slice, ...]]],
        tell: Tell | None,
    ) -> Iterator[tuple[int, Tensor]]:
        """The number of each tile with its logits `(K, *tile)`, float32, the mean of its mirrors."""
        constants = constant_tiles(images, places) if self.skip else [None] * len(places)
        mirrors = _combinations(self.mirror_axes)
        views = [(number, axes) for number, value in enumerate(constants) if value is None for axes in mirrors]
        yield from self._of_constant_tiles(networks, images, places, constants)
        # Of equal size: a small last batch would leave cores idle.
        num_batches = math.ceil(len(views) / self.batch_size)
        mean: Tensor | None = None
        for batch_index in range(num_batches):
            start, stop = (len(views) * (batch_index + more) // num_batches for more in (0, 1))
            batch = views[start:stop]
            tiles = [self._mirrored(_tile(images, places[number]), axes) for number, axes in batch]
            for (number, axes), logits in zip(batch, self._mean_logits(networks, torch.stack(tiles)), strict=True):
                unmirrored = self._flipped_back(logits, axes)
                mean = unmirrored if mean is None else mean.add_(unmirrored)
                if axes == mirrors[-1]:  # views of a tile follow each other
                    yield number, mean.div_(len(mirrors))
                    mean = None
            if tell is not None:
                tell(stop, len(views))

    def _of_constant_tiles(
        self,
        networks: Sequence[SegmentationNetwork],
        images: Tensor,
        places: Sequence[tuple[int, tuple[slice, ...]]],
        constants: Sequence[tuple[float, ...] | None],
    ) -> Iterator[tuple[int, Tensor]]:
        """Logits of the tiles in which nothing varies: one pass for each set of values, as its mirrors are alike.

        Only those that exchange an earlier stage's left and right are not, and take another pass.
        """
        alike: dict[tuple[float, ...], list[int]] = {}
        for number, values in enumerate(constants):
            if values is not None:
                alike.setdefault(values, []).append(number)
        mirrors = _combinations(self.mirror_axes)
        for numbers in alike.values():
            tile = _tile(images, places[numbers[0]])
            told: dict[bool, Tensor] = {}
            mean: Tensor | None = None
            for axes in mirrors:
                swaps = bool(self.swapped_inputs) and self.swap_axis in axes
                if swaps not in told:
                    told[swaps] = self._mean_logits(networks, self._mirrored(tile, axes)[None])[0]
                logits = self._flipped_back(told[swaps], axes)
                mean = logits.clone() if mean is None else mean.add_(logits)
            assert mean is not None
            mean /= len(mirrors)
            for number in numbers:
                yield number, mean.clone()

    def _mirrored(self, tile: Tensor, axes: Mirrored) -> Tensor:
        """A tile `(C, *tile)` as its mirror image would have been given to the network."""
        if self.swap_axis in axes and self.swapped_inputs:
            tile = tile[list(self.swapped_inputs)]
        return _flip(tile, axes)

    def _flipped_back(self, logits: Tensor, axes: Mirrored) -> Tensor:
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
            total = logits if total is None else total.add_(logits)
        assert total is not None
        return total.div_(len(networks)) if len(networks) > 1 else total


def _tile(images: Tensor, place: tuple[int, tuple[slice, ...]]) -> Tensor:
    """The tile `(C, *tile)` at a place in images `(N, C, *spatial)`."""
    index, voxels = place
    return images[index][(slice(None), *voxels)]


def _flip(array: Tensor, axes: Mirrored) -> Tensor:
    """Mirror `(C, *tile)` along spatial axes; its own inverse."""
    return array.flip([axis + 1 for axis in axes]) if axes else array


def _combinations(axes: Sequence[int]) -> list[Mirrored]:
    """Every subset of the axes, the empty one first."""
    return [subset for size in range(len(axes) + 1) for subset in itertools.combinations(axes, size)]
