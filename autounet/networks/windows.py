"""Windows of tokens, shifted and not, on maps of any size; tokens are `(B, *spatial, C)`.

Liu et al., "Swin Transformer" (ICCV 2021, arXiv 2103.14030), section 3.2 and figure 4: attention is computed within
windows; in every other block these are shifted by half their edge. A shifted map is rolled, so that it has as many
windows as one that is not; tokens that meet in a window only because of that do not see each other. Nor do they see
what pads a map whose size no whole number of windows makes up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Added to the score of tokens that must not see each other; its exponential is zero in float32.
_HIDDEN = -100.0
# Of a window, as planned: fewer tokens see too little, and the cost grows with their number.
_SHORTEST_EDGE, _LONGEST_EDGE = 4, 10


@dataclass(frozen=True)
class Windows:
    """How a map is cut into windows.

    Attributes:
        size: Of the map.
        edges: Of a window.
        shift: Of all windows, towards larger indices; zero where they are not shifted.
    """

    size: tuple[int, ...]
    edges: tuple[int, ...]
    shift: tuple[int, ...]

    @classmethod
    def of(cls, size: Sequence[int], edges: Sequence[int], *, shifted: bool) -> Windows:
        """Windows of a map; along an axis that is no longer than the window there is one, which is not shifted."""
        fitting = tuple(map(min, edges, size))
        shift = (edge // 2 if shifted and edge < length else 0 for edge, length in zip(fitting, size, strict=True))
        return cls(tuple(size), fitting, tuple(shift))

    @property
    def padded(self) -> tuple[int, ...]:
        """Size of the map with what is added at its ends, so that whole windows make it up."""
        return tuple(math.ceil(length / edge) * edge for length, edge in zip(self.size, self.edges, strict=True))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.size) + 1))

    def cut(self, x: Tensor) -> Tensor:
        """A map `(B, *spatial, C)` in windows, `(B, windows, tokens, C)`."""
        if self.padded != self.size:
            added = [
                (0, padded - length) for length, padded in zip(reversed(self.size), reversed(self.padded), strict=True)
            ]
            x = F.pad(x, [0, 0, *(end for axis in added for end in axis)])
        if any(self.shift):
            x = x.roll([-step for step in self.shift], self._axes)
        return partition(x, self.edges)

    def join(self, windows: Tensor) -> Tensor:
        """The map `(B, *spatial, C)` of windows, the reverse of `cut`."""
        x = unpartition(windows, self.edges, self.padded)
        if any(self.shift):
            x = x.roll(self.shift, self._axes)
        for axis, length in zip(self._axes, self.size, strict=True):
            x = x.narrow(axis, 0, length)
        return x

    def mask(self, device: torch.device) -> Tensor | None:
        """What to add to the scores, `(windows, 1, tokens, tokens)`; `None` where all tokens see all of their window.

        Tokens see each other that lie in one cell of the grid of windows that the shift moves, and are no padding.
        """
        if not any(self.shift) and self.padded == self.size:
            return None
        cells = torch.zeros((1,) * len(self.size), dtype=torch.long, device=device)
        for axis, (length, padded) in enumerate(zip(self.size, self.padded, strict=True)):
            edge, shift = self.edges[axis], self.shift[axis]
            place = (torch.arange(padded, device=device) + shift) % padded
            # Cells count from 1: the first may be cut off by the border. 0 is padding.
            cell = torch.where(place < length, (place - shift + edge) // edge + 1, 0)
            along = [-1 if other == axis else 1 for other in range(len(self.size))]
            cells = cells * (padded // edge + 2) + cell.view(along)
        of_window = partition(cells[None, ..., None], self.edges)[0, :, :, 0]
        apart = of_window[:, None, :, None] != of_window[:, None, None, :]
        return apart * _HIDDEN


def partition(x: Tensor, edges: Sequence[int]) -> Tensor:
    """`(B, *spatial, C)`, divisible by the edges, to `(B, windows, tokens, C)`."""
    batch, *spatial, channels = x.shape
    counts = [length // edge for length, edge in zip(spatial, edges, strict=True)]
    folded = x.reshape(batch, *(part for pair in zip(counts, edges, strict=True) for part in pair), channels)
    inner, outer = range(2, 2 * len(edges) + 1, 2), range(1, 2 * len(edges), 2)
    return folded.permute(0, *outer, *inner, 2 * len(edges) + 1).reshape(
        batch, math.prod(counts), math.prod(edges), channels
    )


def unpartition(windows: Tensor, edges: Sequence[int], spatial: Sequence[int]) -> Tensor:
    """The reverse of `partition`."""
    dims, channels = len(edges), windows.shape[-1]
    counts = [length // edge for length, edge in zip(spatial, edges, strict=True)]
    unfolded = windows.reshape(-1, *counts, *edges, channels)
    paired = (axis for pair in zip(range(1, dims + 1), range(dims + 1, 2 * dims + 1), strict=True) for axis in pair)
    return unfolded.permute(0, *paired, 2 * dims + 1).reshape(-1, *spatial, channels)


def relative_places(edges: Sequence[int], table_edges: Sequence[int], device: torch.device) -> Tensor:
    """Where the bias of two tokens of a window stands in a table, `(tokens, tokens)`.

    The table has an entry for every difference of places, `2 edge - 1` along each axis, the first axis slowest. It may
    be that of a larger window: differences are the same.
    """
    index = torch.zeros((1, 1), dtype=torch.long, device=device)
    axes = torch.meshgrid(*(torch.arange(edge, device=device) for edge in edges), indexing="ij")
    for places, table_edge in zip(axes, table_edges, strict=True):
        flat = places.flatten()
        index = index * (2 * table_edge - 1) + (flat[:, None] - flat[None, :] + table_edge - 1)
    return index


def fitting_edge(maps: Sequence[int], wanted: int) -> int:
    """Edge of windows along one axis: of those with the least padding on all maps, the nearest to the one wanted.

    Args:
        maps: Length of the map of each stage.
        wanted: The paper's edge.
    """
    longest = max(maps)

    def padding(edge: int) -> float:
        # A window is no longer than its map.
        fitting = ((length, min(edge, length)) for length in maps)
        return sum(math.ceil(length / own) * own / length for length, own in fitting)

    edges = range(min(_SHORTEST_EDGE, longest), min(_LONGEST_EDGE, longest) + 1)
    return min(edges, key=lambda edge: (round(padding(edge), 6), abs(edge - wanted), -edge))
