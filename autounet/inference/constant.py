"""Tiles in which nothing varies, such as air around a body: what a network says of them is computed once.

A network's output is a function of its tile alone, so two tiles of the same content have the same logits, whatever
lies around them. A tile whose every channel is one value is known by those values, and so are all its mirrors: one
pass through the network stands for every tile and every mirror of that kind. The logits are blended like any others, so
that nothing changes in the neighbours either, and nothing is assumed of what the network answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Float32 interpolation leaves this share of a channel's range as noise where the image did not vary.
_ROUNDING = 1e-6


def without_rounding(image: Tensor) -> Tensor:
    """The image `(C, Z, Y, X)` with values next to 0, or to a channel's lowest, set to them.

    Air is the lowest value of a clipped CT, and 0 where a channel is normalised within the body; interpolation spreads
    its rounding over both.
    """
    if not image.numel():
        return image
    lowest, highest = (bound(dim=(1, 2, 3), keepdim=True) for bound in (image.amin, image.amax))
    tolerance = _ROUNDING * (highest - lowest)
    flat = torch.where(image - lowest <= tolerance, lowest, image)
    return torch.where(flat.abs() <= tolerance, torch.zeros_like(flat), flat)


def constant_tiles(images: Tensor, places: Sequence[tuple[int, tuple[slice, ...]]]) -> list[tuple[float, ...] | None]:
    """For each tile the value of each channel, where every channel has but one; else `None`.

    Args:
        images: `(N, C, *spatial)`.
        places: Index of the image, and where in it the tile lies.
    """
    if not places:
        return []
    bounds = []
    for index, place in places:
        tile = images[index][(slice(None), *place)].flatten(1)
        bounds.append(torch.stack(torch.aminmax(tile, dim=1)))
    # One transfer for all tiles: on a GPU each would wait for the one before.
    low, high = torch.stack(bounds, dim=1).cpu()
    return [
        tuple(values.tolist()) if same else None
        for values, same in zip(low, (low == high).all(dim=1).tolist(), strict=True)
    ]
