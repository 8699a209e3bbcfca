r"""MedNeXt: a U-Net of ConvNeXt blocks, whose up- and downsampling are such blocks too.

Roy et al., "MedNeXt: Transformer-driven Scaling of ConvNets for Medical Image Segmentation" (MICCAI 2023, arXiv
2303.09975), figure 1. `[C]` are some blocks of C channels; skips are added; every stage of the decoder, and the
bottleneck, has a 1x1x1 head (deep supervision).

    image > 1x1x1 > [32] - - - - - - - - - - - - - - - - - + [32] > head
                       \ down                             / up
                        [64] - - - - - - - - - - - + [64] > head
                           \                      /
                            [128] - - - - - + [128] > head
                                \          /
                                 [256] - + [256] > head
                                     \  /
                                     [512] > head

    block:  x -> k^3 depthwise - norm of each channel - 1^3 to R C - GELU - 1^3 to C - + ->
             \------------------------------------------------------------------------/
    down:   the depthwise convolution has stride 2, the last gives 2 C; the skip is a 1^3 convolution of stride 2
    up:     the same with transposed convolutions, the last gives C / 2; a transposed convolution of stride 2 makes
            2 n - 1 voxels of n, so that a zero is put before the first, along every axis
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import TRANSPOSED, Style, make_activation
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.description import ActivationName, Design, NetworkOptions, NormName, Paper, RecipeHints
from autounet.networks.norm import make_norm
from autounet.networks.unet import cumulative_strides

SizeName = Literal["S", "B", "M", "L"]


@dataclass(frozen=True)
class Size:
    """How a network is scaled; one number a stage, the finest first, the last for all coarser ones.

    Attributes:
        depths: Blocks of a stage, encoder and decoder alike.
        ratios: How many times wider a block is inside.
    """

    depths: tuple[int, ...]
    ratios: tuple[int, ...]

    def depth(self, stage: int) -> int:
        """Blocks of a stage."""
        return self.depths[min(stage, len(self.depths) - 1)]

    def ratio(self, stage: int) -> int:
        """How many times wider its blocks are inside, and the one that leads to it."""
        return self.ratios[min(stage, len(self.ratios) - 1)]


# The paper's.
SIZES: dict[SizeName, Size] = {
    "S": Size((2,), (2,)),
    "B": Size((2,), (2, 3, 4)),
    "M": Size((3, 4), (2, 3, 4)),
    "L": Size((3, 4, 8), (3, 4, 8)),
}


class MedNeXtOptions(NetworkOptions):
    """Options of MedNeXt.

    Attributes:
        size: Blocks a stage, and how wide they are inside.
        kernel: Edge of the depthwise convolutions; 3 or 5 in the paper.
        heads: At `all` stages of the decoder and the bottleneck, for deep supervision, or at the `last` of them alone.
        norm: After every depthwise convolution.
        activation: Inside every block.
    """

    size: SizeName = "S"
    kernel: int = Field(3, ge=3)
    heads: Literal["all", "last"] = "all"
    norm: NormName = "instance"
    activation: ActivationName = "gelu"

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"kernel must be odd, so that padding keeps the size, got {value}")
        return value


class MedNeXt(SegmentationNetwork):
    """MedNeXt.

    Args:
        plan: Features, kernels, strides and blocks of each stage.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Roy et al.", "MICCAI", 2023, "2303.09975")
    design = Design(max_features=(512, 512), max_stages=5, reference_stages=5)
    recipe = RecipeHints(optimizer="adamw", learning_rate=1e-3, loss="dice_ce")
    Options: ClassVar[type[MedNeXtOptions]] = MedNeXtOptions

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        options = self.Options.of(plan)
        size = SIZES[options.size]
        dims, features, strides, kernels = plan.num_spatial_dims, plan.features, plan.strides, plan.kernel_sizes
        style = Style(dims, options.norm, options.activation)
        ones, levels = (1,) * dims, range(plan.num_stages - 1)

        def blocks(stage: int, depth: int) -> nn.Module:
            width, ratio = features[stage], size.ratio(stage)
            return nn.Sequential(
                *(MedNeXtBlock(style, width, width, kernels[stage], ones, ratio) for _ in range(depth))
            )

        self.stem = CONVOLUTIONS[dims](in_channels, features[0], 1)
        self.encoder = nn.ModuleList(blocks(stage, depth) for stage, depth in enumerate(plan.num_convs_encoder))
        self.down = nn.ModuleList(
            MedNeXtBlock(style, features[at], features[at + 1], kernels[at + 1], strides[at + 1], size.ratio(at + 1))
            for at in levels
        )
        self.up = nn.ModuleList(
            UpBlock(style, features[at + 1], features[at], kernels[at], strides[at + 1], size.ratio(at))
            for at in levels
        )
        self.decoder = nn.ModuleList(blocks(stage, depth) for stage, depth in enumerate(plan.num_convs_decoder))
        has_heads = range(plan.num_stages if options.heads == "all" else 1)
        self.heads = nn.ModuleList(CONVOLUTIONS[dims](features[stage], num_outputs, 1) for stage in has_heads)
        self.output_strides = (*cumulative_strides(plan), plan.divisor)[: len(self.heads)]

    @classmethod
    def design_for(cls, options: NetworkOptions) -> Design:
        """The design with kernels as the options want them."""
        assert isinstance(options, MedNeXtOptions)
        return replace(cls.design, kernel_edge=options.kernel)

    @staticmethod
    def default_depths(
        num_stages: int, options: NetworkOptions | None = None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Blocks as the size has them.

        Args:
            num_stages: Resolutions, the bottleneck included.
            options: Which size.

        Returns:
            Of the encoder's stages, and of the decoder's, one entry fewer.
        """
        size = SIZES[options.size if isinstance(options, MedNeXtOptions) else "S"]
        encoder = tuple(size.depth(stage) for stage in range(num_stages))
        return encoder, encoder[:-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to logits `(B, K, *spatial / output_stride)`, the finest first."""
        self.require_size(x)
        x = self.stem(x)
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=False):
            x = stage(x)
            skips.append(x)
            x = down(x)
        maps = [self.encoder[-1](x)]
        for level in reversed(range(len(self.decoder))):
            maps.insert(0, self.decoder[level](self.up[level](maps[0]) + skips[level]))
        wanted = self.heads if self.deep_supervision else self.heads[:1]
        return [head(features) for head, features in zip(wanted, maps, strict=False)]


class MedNeXtBlock(nn.Module):
    """Depthwise convolution, norm, expansion, activation, compression, and a skip around all.

    Args:
        style: Norm and activation.
        in_channels: Of the map that comes.
        out_channels: Of the map that goes.
        kernel: Of the depthwise convolution.
        stride: Of the depthwise convolution, and of the skip's.
        ratio: How many times more channels there are inside than come.
    """

    layers: ClassVar[Mapping[int, Callable[..., nn.Module]]] = CONVOLUTIONS

    def __init__(
        self,
        style: Style,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        ratio: int,
    ) -> None:
        super().__init__()
        dims, inside = style.num_spatial_dims, ratio * in_channels
        padding = tuple(edge // 2 for edge in kernel)
        layer, one, stride = self.layers[dims], (1,) * dims, tuple(stride)
        self.depthwise = layer(in_channels, in_channels, tuple(kernel), stride, padding, groups=in_channels)
        self.norm = make_norm(style.norm, dims, in_channels)
        self.expand = CONVOLUTIONS[dims](in_channels, inside, 1)
        self.activation = make_activation(style.activation, inside)
        self.compress = CONVOLUTIONS[dims](inside, out_channels, 1)
        keeps = in_channels == out_channels and stride == one
        self.skip = nn.Identity() if keeps else layer(in_channels, out_channels, one, stride)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, *spatial)` to `(B, out, *spatial / stride)`."""
        inside: Tensor = self.activation(self.expand(self.norm(self.depthwise(x))))
        result: Tensor = self.compress(inside) + self.skip(x)
        return result


class UpBlock(MedNeXtBlock):
    """A block of transposed convolutions; arguments as for `MedNeXtBlock`."""

    layers: ClassVar = TRANSPOSED

    def __init__(
        self,
        style: Style,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        ratio: int,
    ) -> None:
        super().__init__(style, in_channels, out_channels, kernel, stride, ratio)
        self.missing = [added for step in reversed(stride) for added in (step - 1, 0)]

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, *spatial)` to `(B, out, *spatial * stride)`."""
        return F.pad(super().forward(x), self.missing)
