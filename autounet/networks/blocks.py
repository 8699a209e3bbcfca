"""What the architectures are made of.

Shapes: `B` batch, `C` channels, spatial axes `Z Y X` (3D) or `Y X` (2D).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional as F

from autounet.network_plan import NetworkPlan, Padding
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.description import ActivationName, ConvOptions, NormName, UpsamplingName
from autounet.networks.joining import convolve_joined
from autounet.networks.norm import make_norm

TRANSPOSED: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLING: dict[int, Callable[..., nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
MAX_POOLING: dict[int, Callable[..., nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
DROPOUT: dict[int, Callable[..., nn.Module]] = {2: nn.Dropout2d, 3: nn.Dropout3d}
INTERPOLATION = {2: "bilinear", 3: "trilinear"}
LEAKY_SLOPE = 0.01


@dataclass(frozen=True)
class Style:
    """How all convolutions of a network are made.

    Attributes:
        num_spatial_dims: 2 or 3.
        norm: After every convolution.
        activation: After every norm.
        dropout: Share of whole channels dropped after every convolution.
        upsampling: How decoders come to a finer stage.
        padding: Whether convolutions keep the size.
        affine: Norms have a scale and a shift that are trained.
    """

    num_spatial_dims: int
    norm: NormName = "instance"
    activation: ActivationName = "leaky_relu"
    dropout: float = 0.0
    upsampling: UpsamplingName = "transposed"
    padding: Padding = "same"
    affine: bool = True

    @classmethod
    def of(cls, plan: NetworkPlan, options: ConvOptions) -> Style:
        """The style that a plan and the options read from it ask for."""
        return cls(
            plan.num_spatial_dims,
            options.norm,
            options.activation,
            options.dropout,
            options.upsampling,
            plan.padding,
        )


def make_activation(name: ActivationName, num_channels: int) -> nn.Module:
    """A module for one place in a network; PReLU has a slope a channel, which begins at 0.25."""
    makers: dict[ActivationName, Callable[[], nn.Module]] = {
        "relu": lambda: nn.ReLU(inplace=True),
        "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
        "prelu": lambda: nn.PReLU(num_channels),
        "elu": lambda: nn.ELU(inplace=True),
        "gelu": nn.GELU,
        "silu": lambda: nn.SiLU(inplace=True),
    }
    return makers[name]()


class ConvNorm(nn.Module):
    """Convolution, dropout if any, and norm."""

    def __init__(
        self,
        style: Style,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        dims = style.num_spatial_dims
        padding = tuple((size - 1) // 2 if style.padding == "same" else 0 for size in kernel)
        self.conv = CONVOLUTIONS[dims](in_channels, out_channels, tuple(kernel), tuple(stride), padding, bias=bias)
        if bias and style.norm in ("instance", "batch") and not style.dropout:
            # The norm takes any constant away: its gradient is zero, and summing that up takes 3 % of a step.
            self.conv.get_parameter("bias").requires_grad_(False)
        self.dropout = DROPOUT[dims](style.dropout) if style.dropout else nn.Identity()
        self.norm = make_norm(style.norm, dims, out_channels, affine=style.affine, overwrites=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, *spatial)` to `(B, out, *spatial / stride)`, less what a valid convolution loses."""
        return self.finish(self.conv(x))

    def finish(self, convolved: Tensor) -> Tensor:
        """What comes after the convolution."""
        finished: Tensor = self.norm(self.dropout(convolved))
        return finished


class ConvUnit(ConvNorm):
    """Convolution, norm, activation: nnU-Net's unit (`simple_conv_blocks.py`) by default."""

    def __init__(
        self,
        style: Style,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(style, in_channels, out_channels, kernel, stride, bias=bias)
        self.activation = make_activation(style.activation, out_channels)

    def finish(self, convolved: Tensor) -> Tensor:
        """What comes after the convolution."""
        activated: Tensor = self.activation(super().finish(convolved))
        return activated


class BlockStack(nn.Sequential):
    """Several blocks with one kernel; the first carries the stride and the change of channels.

    Attributes:
        block: What is stacked: style, channels in and out, kernel and stride to a module.
    """

    block: ClassVar[Callable[..., nn.Module]]

    def __init__(
        self,
        style: Style,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        num_blocks: int,
    ) -> None:
        ones = (1,) * style.num_spatial_dims
        super().__init__(
            self.block(style, in_channels, out_channels, kernel, stride),
            *(self.block(style, out_channels, out_channels, kernel, ones) for _ in range(num_blocks - 1)),
        )


class ConvStack(BlockStack):
    """Several units."""

    block = ConvUnit

    def join(self, up: nn.Module, coarse: Tensor, skip: Tensor) -> Tensor:
        """`self(cat([up(coarse), skip]))`: from `(B, in, *spatial / stride)` and `(B, C, *spatial)`."""
        first, *others = cast(Iterable[ConvUnit], self)
        x = first.finish(convolve_joined(up, first.conv, coarse, skip))
        for unit in others:
            x = unit(x)
        return x


class LinearUp(nn.Module):
    """A 1x1 convolution to the channels wanted, then linear interpolation: either order gives the same."""

    def __init__(self, num_spatial_dims: int, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[num_spatial_dims](in_channels, out_channels, 1)
        self.scale = tuple(float(factor) for factor in stride)
        self.mode = INTERPOLATION[num_spatial_dims]

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, *spatial)` to `(B, out, *spatial * stride)`."""
        return F.interpolate(self.conv(x), scale_factor=self.scale, mode=self.mode)


def make_up(
    style: Style, in_channels: int, out_channels: int, stride: Sequence[int], *, bias: bool = True
) -> nn.Module:
    """What brings a map to the finer stage: `(B, in, *spatial)` to `(B, out, *spatial * stride)`."""
    dims = style.num_spatial_dims
    if style.upsampling == "linear":
        return LinearUp(dims, in_channels, out_channels, stride)
    return TRANSPOSED[dims](in_channels, out_channels, tuple(stride), tuple(stride), bias=bias)


def contract(x: Tensor, encoder: Iterable[nn.Module], pool: nn.ModuleList) -> list[Tensor]:
    """The maps `(B, C, *spatial)` of all stages of an encoder that is pooled between them, the finest first."""
    maps: list[Tensor] = []
    for stage, convolutions in enumerate(encoder):
        maps.append(convolutions(pool[stage - 1](maps[-1]) if maps else x))
    return maps


def centre_crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of a map `(B, C, *spatial)`, of that size; as it is where it has the size already."""
    for axis, (edge, wanted) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        x = x.narrow(axis, (edge - wanted) // 2, wanted)
    return x


def initialize_fan_in(module: nn.Module) -> None:
    """Normal weights of variance `2 / N` and zero biases, with `N` incoming connections of a unit.

    He et al. 2015; Ronneberger et al. 2015, section 3. A unit of a transposed convolution with kernel = stride is
    connected to one voxel.
    """
    if not isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return
    is_up = isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d))
    voxels = math.prod(module.kernel_size) / (math.prod(module.stride) if is_up else 1)
    nn.init.normal_(module.weight, std=math.sqrt(2 / (module.in_channels * voxels)))
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def initialize_he(module: nn.Module) -> None:
    """Kaiming-normal weights for leaky ReLU and zero biases on every (transposed) convolution, as in nnU-Net."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
