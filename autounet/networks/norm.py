"""Norms; instance normalisation in whichever memory layout a CPU is fast in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.networks.description import NormName
from autounet.networks.layout import CHANNELS_LAST, is_channels_last

BATCH_NORMS: dict[int, Callable[..., nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
# Of group norm, where the channels can be divided so.
_NUM_GROUPS = 8
# Voxels whose deviations are squared and summed at once, in the cache; these sums are added in float64.
_PART = 8192
# Numbers of a map that are worked on at once, so that what reads them again finds them in the cache.
_CACHED = 2**18
# Voxels that are scaled as one: rows of few channels leave vector units idle.
_ROW = 16


class InstanceNorm(nn.Module):
    """Instance normalisation: `nn.InstanceNormNd`, by default `affine=True`, but faster on a CPU.

    Contiguous tensors: one group a channel is the same arithmetic, and PyTorch's group norm takes a third of the time
    of its instance norm (0.89 against 2.75 ns an element, forward and backward). Channels-last tensors, in which large
    convolutions are faster: batch norm of every sample by itself is the same arithmetic too, and the only norm whose
    backward pass is fast in that layout (docs/decisions/0005).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, num_channels: int, eps: float = 1e-5, *, affine: bool = True, overwrites: bool = False) -> None:
        super().__init__()
        self.overwrites = overwrites
        for name, value in (("weight", torch.ones(num_channels)), ("bias", torch.zeros(num_channels))):
            if affine:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=False)
        self.num_channels = num_channels
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every channel of every sample over its spatial axes."""
        if is_channels_last(x):
            if torch.is_grad_enabled():
                normalized: Tensor = _SampleWise.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
                return normalized
            return _group_norm(x, self.num_channels, self.weight, self.bias, self.eps, overwrite=self.overwrites)
        # On "meta", where memory is measured, instance norm would decompose into temporaries that no real kernel keeps.
        if x.device.type in ("cpu", "meta"):
            return _group_norm(x.contiguous(), self.num_channels, self.weight, self.bias, self.eps)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class CurrentBatchNorm(nn.Module):
    """Batch norm that keeps no statistics: those of the batch in training, those of each sample in prediction.

    So a tile is predicted the same whichever tiles are predicted with it.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every channel."""
        if self.training:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return _group_norm(x, len(self.weight), self.weight, self.bias, self.eps)


class GroupNorm(nn.GroupNorm):
    """PyTorch's, but for prediction in channels-last, where its kernel loses digits (`_group_norm`)."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, *, affine: bool = True, overwrites: bool = False
    ) -> None:
        super().__init__(num_groups, num_channels, eps, affine)
        self.overwrites = overwrites

    def forward(self, input: Tensor) -> Tensor:
        """Normalise every group of channels of each sample over its spatial axes."""
        return _group_norm(input, self.num_groups, self.weight, self.bias, self.eps, overwrite=self.overwrites)


def make_norm(
    name: NormName, num_spatial_dims: int, num_channels: int, *, affine: bool = True, overwrites: bool = False
) -> nn.Module:
    """A norm; batch norm predicts with running statistics.

    Args:
        name: Which.
        num_spatial_dims: 2 or 3.
        num_channels: Of the maps.
        affine: It has a scale and a shift that are trained.
        overwrites: In prediction it may write into what it is given, which nobody else reads.
    """
    makers: dict[NormName, Callable[[], nn.Module]] = {
        "instance": lambda: InstanceNorm(num_channels, affine=affine, overwrites=overwrites),
        "batch": lambda: BATCH_NORMS[num_spatial_dims](num_channels, affine=affine),
        "group": lambda: GroupNorm(
            math.gcd(_NUM_GROUPS, num_channels), num_channels, affine=affine, overwrites=overwrites
        ),
        "none": nn.Identity,
    }
    return makers[name]()


def _group_norm(
    x: Tensor, num_groups: int, weight: Tensor, bias: Tensor, eps: float, *, overwrite: bool = False
) -> Tensor:
    """Group norm; in prediction and channels-last with mean and variance of our own.

    PyTorch's takes two thirds of the time there, but its kernel for this layout sums the squares of all voxels in
    float32: where a channel's mean is several times its deviation, three digits are left, and logits were 0.006 off.
    (In bfloat16 there are no more digits to lose.) Only there does it overwrite `x`.
    """
    if torch.is_grad_enabled() or not is_channels_last(x) or x.dtype == torch.bfloat16:
        return F.group_norm(x, num_groups, weight, bias, eps)
    mean, variance = _statistics(x)
    if num_groups < x.shape[1]:
        of_channels = mean.unflatten(1, (num_groups, -1))
        mean = of_channels.mean(dim=2, keepdim=True)
        variance = variance.unflatten(1, (num_groups, -1)) + (of_channels - mean).square()
        mean, variance = (
            values.expand_as(of_channels).flatten(1) for values in (mean, variance.mean(dim=2, keepdim=True))
        )
    scale = weight / (variance + eps).sqrt()
    return _scaled(x, scale, bias - mean * scale, overwrite=overwrite)


def _scaled(x: Tensor, scale: Tensor, shift: Tensor, *, overwrite: bool) -> Tensor:
    """`x * scale + shift`, with numbers of each channel of each sample, `(B, C)`; of a channels-last map."""
    output = x if overwrite else torch.empty_like(x)
    num_voxels = math.gcd(math.prod(x.shape[2:]), _ROW)
    for some in _cached_samples(x):
        of_row, factor = (numbers[some].to(x.dtype).repeat(1, num_voxels)[:, None] for numbers in (shift, scale))
        rows, into = (each[some].movedim(1, -1).reshape(len(factor), -1, factor.shape[2]) for each in (x, output))
        torch.addcmul(of_row, rows, factor, out=into)
    return output


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of each sample, `(B, C)` in float64, of a channels-last map.

    The same whichever samples come with it, and however many threads work on it: batch norm's statistics are not.
    """
    means, variances = [], []
    for some in _cached_samples(x):
        voxels = x[some].movedim(1, -1).flatten(1, -2)  # `(B, voxels, C)`
        centre = voxels.mean(dim=1, keepdim=True)
        squares = [(part - centre).square_().sum(dim=1) for part in voxels.split(_PART, dim=1)]
        means.append(centre[:, 0])
        variances.append(torch.stack(squares).double().sum(dim=0) / voxels.shape[1])
    return torch.cat(means).double(), torch.cat(variances)


def _cached_samples(x: Tensor) -> Iterator[slice]:
    """As many samples at once as the cache holds, one at least: of small tiles there are hundreds in a batch."""
    count = max(1, _CACHED // x[0].numel())
    return (slice(start, start + count) for start in range(0, len(x), count))


class _SampleWise(torch.autograd.Function):
    """Batch norm of each sample by itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        output = torch.empty_like(x)
        mean, rstd = (torch.empty(x.shape[:2], dtype=torch.promote_types(x.dtype, torch.float32)) for _ in range(2))
        for index in range(len(x)):
            one = slice(index, index + 1)
            into = (output[one], mean[index], rstd[index])
            torch.native_batch_norm(x[one], weight, bias, None, None, True, 0.0, eps, out=into)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.eps = eps
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, rstd = ctx.saved_tensors
        above = gradients[0].contiguous(memory_format=CHANNELS_LAST[x.ndim])
        below, of_weight, of_bias = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(weight)
        for index in range(len(x)):
            one = slice(index, index + 1)
            of_x, of_its_weight, of_its_bias = torch.ops.aten.native_batch_norm_backward(
                above[one], x[one], weight, None, None, mean[index], rstd[index], True, ctx.eps, [True, True, True]
            )
            below[one] = of_x
            of_weight += of_its_weight
            of_bias += of_its_bias
        return below, of_weight, of_bias, None
