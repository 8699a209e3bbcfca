"""Convolutions that predict with the fast kernels of a CPU.

PyTorch gives a convolution to oneDNN only where it takes that to pay (`use_mkldnn` in its `Convolution.cpp`). Where
every core predicts an image of its own, it errs: kernels of one voxel on one thread, and any kernel on a single tile
with few voxels, are unfolded and multiplied, which takes 2 to 6 times as long and leaves the layout.

Two kernels of oneDNN's (as of PyTorch 2.13) are gone round, as they write past their memory in the backward pass:

- A strided kernel of one voxel, in 2D with fewer than 16 channels, channels last, ends the process. It is computed as
  one without stride of the voxels that it sees.
- A convolution in bfloat16 of a map that is narrower than the kernel gets a gradient of its weights that is wrong or
  NaN, or ends the process. It is computed in float32, which costs nothing on so small a map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.networks.layout import is_channels_last

_CONVOLVE: dict[int, Callable[..., Tensor]] = {4: F.conv2d, 5: F.conv3d}


class Conv2d(nn.Conv2d):
    """PyTorch's, computed by `convolve`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolve(self, input, weight, bias)


class Conv3d(nn.Conv3d):
    """PyTorch's, computed by `convolve`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolve(self, input, weight, bias)


Convolution: TypeAlias = nn.Conv2d | nn.Conv3d
CONVOLUTIONS: dict[int, Callable[..., Convolution]] = {2: Conv2d, 3: Conv3d}


def convolve(conv: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A module's convolution with another kernel; in prediction on a CPU by the implementation that is fast there.

    Args:
        conv: Its strides, padding, dilation and groups are taken.
        x: `(B, in, *spatial)`.
        weight: `(out, in / groups, *kernel)`.
        bias: `(out,)`.

    Returns:
        `(B, out, *spatial)`; equal up to rounding whichever implementation is taken.
    """
    stride: Sequence[int] = conv.stride
    is_pointwise = math.prod(weight.shape[2:]) == 1 and not any(_padding(conv))
    if is_pointwise and math.prod(stride) > 1 and x.device.type == "cpu":
        x = x[:, :, *(slice(None, None, step) for step in stride)]
        stride = (1,) * len(stride)
    if _loses_its_gradient(x, weight):
        with torch.autocast("cpu", enabled=False):
            exact = None if bias is None else bias.float()
            y = _CONVOLVE[weight.ndim](
                x.float(), weight.float(), exact, stride, conv.padding, conv.dilation, conv.groups
            )
        return y.bfloat16()
    if not _predicts_on_cpu(x, weight):
        return _CONVOLVE[weight.ndim](x, weight, bias, stride, conv.padding, conv.dilation, conv.groups)
    if is_pointwise and conv.groups == 1 and is_channels_last(x):
        return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
    return torch.mkldnn_convolution(x, weight, bias, _padding(conv), stride, conv.dilation, conv.groups)


def _padding(conv: Convolution) -> Sequence[int]:
    """Zeros at each end of each axis."""
    if not isinstance(conv.padding, str):
        return conv.padding
    assert conv.padding == "same" and all(size % 2 for size in conv.kernel_size)
    return [step * (size // 2) for size, step in zip(conv.kernel_size, conv.dilation, strict=True)]


def _loses_its_gradient(x: Tensor, weight: Tensor) -> bool:
    """Whether it is trained in bfloat16 on a CPU, and reaches beyond both ends of the map along some axis."""
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return dtype == torch.bfloat16 and is_narrower(x, weight.shape[2:])


def is_narrower(x: Tensor, kernel: Sequence[int]) -> bool:
    """Whether a map `(B, C, *spatial)` is narrower than a kernel along some axis."""
    return any(extent < edge for extent, edge in zip(x.shape[2:], kernel, strict=True))


def _predicts_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Whether nobody asks for gradients or for a graph, and oneDNN computes in this type."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.ndim == weight.ndim
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.onnx.is_in_onnx_export()
        and torch.backends.mkldnn.is_available()
    )
