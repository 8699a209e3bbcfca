"""Drawn parameters applied with torch, a whole batch at once on the device that trains.

One `grid_sample` does rotation, scaling, deformation, mirrors and the crop of all samples that are interpolated; a
change of value works on all channels that it strikes together. Which those are is known on the host, so nothing waits
for the device.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from autounet.augmentation.elastic import elastic_weights
from autounet.augmentation.filters import (
    along,
    blur_matrices,
    hill_profiles,
    low_resolution_matrices,
    repeated_index,
)
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
    Rows,
    SharpenParameters,
)
from autounet.augmentation.patches import BatchParameters
from autounet.augmentation.spatial import SpatialParameters
from autounet.labels import OUTSIDE
from autounet.laterality import ValuePairs

_TINY = 1e-7
# A median holds all neighbours of the voxels it works on; so many values at a time.
_MEDIAN_VALUES = 2**24


@torch.no_grad()
def apply(parameters: BatchParameters, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Change a batch, on the device that it lies on.

    Args:
        parameters: As drawn.
        image: `(B, C, *region_size)` float32, the regions that `parameters.spatial` asks for.
        label: `(B, L, *region_size)` int16 maps that move with the image, the first of them the label map: -1 outside
            the body.

    Returns:
        The image `(B, C, *patch_size)` float32 and the maps `(B, L, *patch_size)` int16, never negative.
    """
    assert parameters.previous is None, "choose_backend leaves cascades to the workers"
    spatial = parameters.spatial
    image, label = _moved(spatial, image, label)
    _swap_sides(label, np.flatnonzero(spatial.swapped), parameters.side_pairs)
    rows = image.view(-1, *spatial.patch_size)
    for drawn in parameters.intensity:
        index = torch.from_numpy(drawn.rows).to(rows.device, non_blocking=True)
        rows.index_copy_(0, index, change(drawn, rows.index_select(0, index)))
    for channel in parameters.masked_channels:
        image[:, channel].masked_fill_(label[:, 0] == OUTSIDE, 0)
    return image, label.clamp_(min=0)


def _moved(spatial: SpatialParameters, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Image and maps in the size of the patch. Samples that are only turned about by whole voxels are sliced."""
    new_image = image.new_empty((*image.shape[:2], *spatial.patch_size), dtype=torch.float32)
    new_label = label.new_empty((*label.shape[:2], *spatial.patch_size), dtype=torch.int16)
    for index in map(int, np.flatnonzero(~spatial.interpolated)):
        move = spatial.whole_move(index)
        new_image[index].copy_(image[index][(slice(None), *move.window)].permute(move.axes).flip(move.flipped))
        new_label[index].copy_(label[index][(slice(None), *move.window)].permute(move.axes).flip(move.flipped))
    samples = np.flatnonzero(spatial.interpolated)
    if len(samples):
        rows = torch.from_numpy(samples).to(image.device, non_blocking=True)
        sampled_image, sampled_label = _sampled(spatial, samples, image[rows], label[rows])
        new_image.index_copy_(0, rows, sampled_image)
        new_label.index_copy_(0, rows, sampled_label)
    return new_image, new_label


def _sampled(spatial: SpatialParameters, samples: Rows, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Image and maps of some samples, interpolated all at once."""
    grid = _grid(spatial, samples, image.device)
    new_image = F.grid_sample(image.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # What lies beyond the region is padded with 0, so that has to mean outside.
    raised = F.grid_sample(label.float() - OUTSIDE, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return new_image, (raised + OUTSIDE).to(torch.int16)


def _grid(spatial: SpatialParameters, samples: Rows, device: torch.device) -> Tensor:
    """Where each voxel comes from, `(N, *patch_size, D)` float32, last axis first, -1 to 1 from edge to edge."""
    num_dims = len(spatial.patch_size)
    region = np.array(spatial.region_size)
    # Voxels counted from the region's centre, divided by half its size.
    scale = 2 / region
    offset = (spatial.origin[samples] + spatial.shift[samples] - (region - 1) / 2) * scale
    matrix = spatial.matrix[samples] * scale[:, None]
    axes = [torch.arange(edge, device=device, dtype=torch.float32) - (edge - 1) / 2 for edge in spatial.patch_size]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    if spatial.displacement is not None:
        places = places + _field(spatial.displacement[samples], spatial.patch_size, device)
    # Columns are reversed, as grid_sample counts the last axis first.
    turn = _on(matrix[:, ::-1].transpose(0, 2, 1), device)
    grid = places.view(-1, int(np.prod(spatial.patch_size)), num_dims) @ turn + _on(offset[:, None, ::-1], device)
    return grid.view(-1, *spatial.patch_size, num_dims)


def _field(displacement: Any, patch_size: tuple[int, ...], device: torch.device) -> Tensor:
    """Displacements `(B, *patch_size, D)` of every voxel, from those at the nodes."""
    field = _on(displacement, device).movedim(1, -1)
    for axis, size in enumerate(patch_size, start=1):
        weights = torch.from_numpy(elastic_weights(size, field.shape[axis])).to(device, non_blocking=True)
        field = torch.tensordot(field, weights, dims=([axis], [1])).movedim(-1, axis)
    return field.contiguous()


def _swap_sides(label: Tensor, samples: Any, pairs: ValuePairs) -> None:
    if not len(samples) or not pairs:
        return
    index = torch.from_numpy(samples).to(label.device, non_blocking=True)
    before = label.index_select(0, index)
    after = before.clone()
    for left, right in pairs:
        after.masked_fill_(before == left, right).masked_fill_(before == right, left)
    label.index_copy_(0, index, after)


@singledispatch
def change(parameters: ChannelParameters, values: Tensor) -> Tensor:
    """Change the channels that a transform strikes.

    A transform of another package registers its parameters here and with `workers.change`.

    Args:
        parameters: Of `N` channels.
        values: These channels, `(N, *patch_size)`.
    """
    raise NotImplementedError(f"the device cannot apply {type(parameters).__name__}")


@change.register
def _noise(parameters: NoiseParameters, values: Tensor) -> Tensor:
    generator = torch.Generator(values.device).manual_seed(parameters.seed)
    noise = torch.randn(values.shape, generator=generator, device=values.device)
    return values + noise * _per_channel(parameters.sigma, values)


@change.register
def _linear(parameters: LinearParameters, values: Tensor) -> Tensor:
    return values * _per_channel(parameters.factor, values) + _per_channel(parameters.offset, values)


@change.register
def _contrast(parameters: ContrastParameters, values: Tensor) -> Tensor:
    axes = _axes(values)
    mean = values.mean(axes, keepdim=True)
    result = (values - mean) * _per_channel(parameters.factor, values) + mean
    if parameters.keep_range:
        result = result.clamp(values.amin(axes, keepdim=True), values.amax(axes, keepdim=True))
    return result


@change.register
def _gamma(parameters: GammaParameters, values: Tensor) -> Tensor:
    image, axes = (-values if parameters.inverted else values), _axes(values)
    least = image.amin(axes, keepdim=True)
    spread = (image.amax(axes, keepdim=True) - least).clamp(min=_TINY)
    result = ((image - least) / spread) ** _per_channel(parameters.exponent, values) * spread + least
    deviation, mean = torch.std_mean(image, axes, correction=0, keepdim=True)
    new_deviation, new_mean = torch.std_mean(result, axes, correction=0, keepdim=True)
    result = (result - new_mean) / new_deviation.clamp(min=_TINY) * deviation + mean
    return -result if parameters.inverted else result


@change.register
def _blur(parameters: BlurParameters, values: Tensor) -> Tensor:
    for axis, size in enumerate(values.shape[1:]):
        values = _times(values, axis, blur_matrices(parameters.sigma[:, axis], size))
    return values


@change.register
def _low_resolution(parameters: LowResolutionParameters, values: Tensor) -> Tensor:
    for axis, size in enumerate(values.shape[1:]):
        if (parameters.zoom[:, axis] != 1).any():
            values = _times(values, axis, low_resolution_matrices(parameters.zoom[:, axis], size))
    return values


@change.register
def _median(parameters: MedianParameters, values: Tensor) -> Tensor:
    return torch.stack(
        [_median_of_one(channel, int(size)) for channel, size in zip(values, parameters.size, strict=True)]
    )


@change.register
def _sharpen(parameters: SharpenParameters, values: Tensor) -> Tensor:
    laplacian = torch.zeros_like(values)
    for axis in _axes(values):
        ends = torch.cat((values.narrow(axis, 0, 1), values, values.narrow(axis, values.shape[axis] - 1, 1)), dim=axis)
        size = values.shape[axis]
        laplacian += 2 * values - ends.narrow(axis, 0, size) - ends.narrow(axis, 2, size)
    result = values + laplacian * _per_channel(parameters.strength, values)
    return result.clamp(values.amin(_axes(values), keepdim=True), values.amax(_axes(values), keepdim=True))


@change.register
def _rectangles(parameters: RectangleParameters, values: Tensor) -> Tensor:
    inside = torch.zeros_like(values, dtype=torch.bool)
    for box in range(parameters.start.shape[1]):
        within = torch.ones((), dtype=torch.bool, device=values.device)
        for axis, size in enumerate(values.shape[1:]):
            place = np.arange(size)
            start, stop = parameters.start[:, box, axis, None], parameters.stop[:, box, axis, None]
            line = (place >= start) & (place < stop)
            mask = torch.from_numpy(line).to(values.device, non_blocking=True)
            within = within & mask.view(along(line.shape, axis, values.ndim - 1))
        inside |= within
    return torch.where(inside, values.mean(_axes(values), keepdim=True), values)


@change.register
def _gradient(parameters: GradientParameters, values: Tensor) -> Tensor:
    return values + _hills(parameters, values) * _per_channel(parameters.strength, values)


@change.register
def _local_gamma(parameters: LocalGammaParameters, values: Tensor) -> Tensor:
    least = values.amin(_axes(values), keepdim=True)
    spread = (values.amax(_axes(values), keepdim=True) - least).clamp(min=_TINY)
    scaled = (values - least) / spread
    changed = scaled ** _per_channel(parameters.exponent, values)
    return torch.lerp(scaled, changed, _hills(parameters, values)) * spread + least


def _median_of_one(channel: Tensor, size: int) -> Tensor:
    """The upper median of a window that reaches `size // 2` voxels before each voxel, the ends repeated mirrored."""
    for axis, edge in enumerate(channel.shape):
        index = repeated_index(np.arange(-(size // 2), edge + size - size // 2 - 1), edge)
        channel = channel.index_select(axis, torch.from_numpy(index).to(channel.device, non_blocking=True))
    windows = channel
    for axis in range(channel.ndim):
        windows = windows.unfold(axis, size, 1)
    num_neighbours = size**channel.ndim
    slab = max(1, _MEDIAN_VALUES // (num_neighbours * int(np.prod(windows.shape[1 : channel.ndim]))))
    parts = [
        part.flatten(channel.ndim).kthvalue(num_neighbours // 2 + 1, dim=-1).values for part in windows.split(slab)
    ]
    return torch.cat(parts)


def _times(values: Tensor, axis: int, matrices: Any) -> Tensor:
    """Each channel `(N, *patch_size)` times its own matrix `(N, size, size)` along an axis."""
    moved = values.movedim(axis + 1, 1)
    flat = torch.bmm(_on(matrices, values.device), moved.reshape(len(values), moved.shape[1], -1))
    return flat.view(moved.shape).movedim(1, axis + 1).contiguous()


def _hills(parameters: BumpParameters, values: Tensor) -> Tensor:
    """`(N, *patch_size)`."""
    hills = torch.ones_like(values)
    for axis, profile in enumerate(hill_profiles(parameters, values.shape[1:])):
        hills *= _on(profile, values.device).view(along(profile.shape, axis, values.ndim - 1))
    return hills


def _per_channel(numbers: Any, values: Tensor) -> Tensor:
    """`(N,)` as `(N, 1, ...)`."""
    return _on(numbers, values.device).view(-1, *[1] * (values.ndim - 1))


def _axes(values: Tensor) -> tuple[int, ...]:
    return tuple(range(1, values.ndim))


def _on(array: Any, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device, non_blocking=True)
