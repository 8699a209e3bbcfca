"""The convolution that joins a coarser map with a skip, with fewer operations for the same numbers.

A decoder's first convolution reads the concatenation of what a transposed convolution brings up and of a skip. It is
linear, so it is the sum of a convolution of each; and a transposed convolution followed by a convolution is again a
transposed convolution, of a larger kernel and the same stride:

    conv(cat(up(coarse), skip))  =  composed(coarse) + conv_of_skip(skip) + what the bias of `up` comes to

With stride 2 and a kernel of 3 the composed kernel is 4. In 3D a voxel then takes 8 places of the coarse map instead of
27 of the fine one: with twice the channels 16 against 29 multiplications, and nothing is concatenated. On a CPU this
takes three quarters of the time (docs/decisions/0012).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.networks.convolution import Convolution, convolve, is_narrower
from autounet.networks.layout import CHANNELS_LAST, is_channels_last

Transposed: TypeAlias = nn.ConvTranspose2d | nn.ConvTranspose3d

_TRANSPOSED: dict[int, Callable[..., Tensor]] = {2: F.conv_transpose2d, 3: F.conv_transpose3d}
# What a multiplication saved is worth against one for forming the kernel, whose products are small (measured). Kernels
# are formed in float32, so that those saved in bfloat16 are worth half.
_COST_OF_FORMING = 15
# Of an axis, seen from a kernel of three: the first voxel, one inside, the last. Which of its places lie in the map.
_INSIDE = {1: ((1.0,),) * 3, 3: ((0.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 0.0))}


def convolve_joined(up: nn.Module, conv: Convolution, coarse: Tensor, skip: Tensor) -> Tensor:
    """`conv(cat([up(coarse), skip]))`, composed where that is possible and faster.

    Args:
        up: From the coarser stage to the finer one.
        conv: Of the concatenation.
        coarse: `(B, in, *spatial / stride)`.
        skip: `(B, C, *spatial)`.

    Returns:
        `(B, out, *spatial)`; composed or not equal up to rounding.
    """
    if isinstance(up, Transposed) and _is_composable(up, conv, coarse, skip) and _pays(up, conv, skip):
        return _convolve_composed(up, conv, coarse, skip)
    joined: Tensor = conv(torch.cat([up(coarse), skip], dim=1))
    return joined


def _is_composable(up: Transposed, conv: Convolution, coarse: Tensor, skip: Tensor) -> bool:
    """Whether it is written for these modules, and for this device's and type's kernels."""
    kernel = conv.kernel_size
    edges = [size + step - 1 for size, step in zip(kernel, up.stride, strict=True)]
    return (
        is_channels_last(skip)
        and not torch.compiler.is_compiling()  # which takes minutes for the gradients of the composed kernel
        and up.kernel_size == up.stride
        and all(size in _INSIDE for size in kernel)
        and conv.padding == tuple((size - 1) // 2 for size in kernel)
        and all(step == 1 for step in conv.stride)
        and min(skip.shape[2:]) > 1
        # As for all convolutions (`networks/convolution.py`): what is narrower loses its gradient.
        and not (skip.dtype == torch.bfloat16 and is_narrower(coarse, edges))
    )


def _pays(up: Transposed, conv: Convolution, skip: Tensor) -> bool:
    """Whether more multiplications are saved than forming the kernel takes."""
    places, factor = math.prod(conv.kernel_size), math.prod(up.stride)
    composed_places = math.prod(size + step - 1 for size, step in zip(conv.kernel_size, up.stride, strict=True))
    apart = up.in_channels * up.out_channels + places * up.out_channels * conv.out_channels
    composed = composed_places // factor * up.in_channels * conv.out_channels
    forming = factor * places * up.in_channels * up.out_channels * conv.out_channels
    cost = _COST_OF_FORMING * (2 if skip.dtype == torch.bfloat16 else 1)
    return skip.shape[0] * math.prod(skip.shape[2:]) * (apart - composed) > cost * forming


def _convolve_composed(up: Transposed, conv: Convolution, coarse: Tensor, skip: Tensor) -> Tensor:
    dims, layout = skip.ndim - 2, CHANNELS_LAST[skip.ndim]
    of_up, of_skip = conv.weight[:, : up.out_channels], conv.weight[:, up.out_channels :]
    bias = conv.bias
    faces: list[Tensor] = []
    with torch.autocast("cpu", enabled=False):  # what is formed is as exact as the kernels that it is formed of
        kernel = compose(up.weight, of_up).contiguous(memory_format=layout)
        if up.bias is not None:
            constant = of_up.flatten(2).sum(dim=2) @ up.bias
            if bias is not None and not bias.requires_grad:
                constant = constant.detach()  # as the bias itself: a norm takes it away
            bias = constant if bias is None else bias + constant
            faces = _missing_at_border(of_up, up.bias, skip.shape[2:])
    y = convolve(conv, skip, of_skip.contiguous(memory_format=layout), bias)
    y.add_(_TRANSPOSED[dims](coarse, kernel, stride=up.stride, padding=conv.padding))
    if faces:
        y = cast(Tensor, _AddToFaces.apply(y, *faces))  # type: ignore[no-untyped-call]
    return y


def compose(up: Tensor, conv: Tensor) -> Tensor:
    """The kernel of a transposed convolution followed by a convolution.

    Args:
        up: `(in, between, *stride)`: of a transposed convolution whose kernel is as large as its stride.
        conv: `(out, between, *kernel)`.

    Returns:
        `(in, out, *(stride + kernel - 1))`, of a transposed convolution with that stride, padded as the convolution is.
    """
    # A convolution is a correlation, a transposed one is not: seen from the coarse voxel, the kernel is turned round.
    turned = conv.flip(tuple(range(2, conv.ndim))).transpose(0, 1)
    products = up.flatten(2).transpose(1, 2).reshape(-1, up.shape[1]) @ turned.reshape(up.shape[1], -1)
    shares = products.view(up.shape[0], -1, *turned.shape[1:])
    size = [step + edge - 1 for step, edge in zip(up.shape[2:], conv.shape[2:], strict=True)]
    kernel = up.new_zeros(up.shape[0], conv.shape[0], *size)
    for index, start in enumerate(itertools.product(*map(range, up.shape[2:]))):
        window = tuple(slice(at, at + edge) for at, edge in zip(start, conv.shape[2:], strict=True))
        kernel[:, :, *window] += shares[:, index]
    return kernel


def _missing_at_border(conv: Tensor, bias: Tensor, size: Sequence[int]) -> list[Tensor]:
    """What the convolution of a constant map lacks at each face of the map, for it reads zeros outside.

    Args:
        conv: `(out, between, *kernel)`.
        bias: The constant, `(between,)`.
        size: Of the map.

    Returns:
        For each of `_faces`, `(out, *its size)`.
    """
    table = torch.einsum("oi...,i->o...", conv, bias)
    whole = table.flatten(1).sum(dim=1)
    for edge in conv.shape[2:]:
        # Each axis in turn goes from the first place to the last, so that they end up in order.
        table = torch.tensordot(table, table.new_tensor(_INSIDE[edge]), dims=([1], [1]))
    table = table - whole.view(-1, *[1] * len(size))
    faces = []
    for face in _faces(len(size)):
        part = table
        for axis, (length, among) in enumerate(zip(size, face, strict=True), start=1):
            places = torch.tensor([0] + [1] * (length - 2) + [2])[among]
            part = part.index_select(axis, places)
        faces.append(part)
    return faces


def _faces(num_spatial_dims: int) -> Iterator[tuple[slice, ...]]:
    """The border of a map, one voxel thick, in parts that do not overlap."""
    for axis in range(num_spatial_dims):
        for side in (slice(0, 1), slice(-1, None)):
            yield (slice(1, -1),) * axis + (side,) + (slice(None),) * (num_spatial_dims - axis - 1)


class _AddToFaces(torch.autograd.Function):
    """Add to the border of a map, in place; PyTorch's own slices would copy the whole gradient for each of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *faces: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        for where, values in zip(_faces(x.ndim - 2), faces, strict=True):
            x[:, :, *where] += values
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (gradient,) = gradients
        return gradient, *(gradient[:, :, *where].sum(dim=0) for where in _faces(gradient.ndim - 2))
