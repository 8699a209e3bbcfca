r"""The U-Net of Stable Diffusion: it is told the time and a context besides the image.

Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (CVPR 2022); `R` is a residual block,
`T` a transformer, `\` a strided convolution, `/` nearest upsampling and a convolution. Every map of the encoder is a
skip, those of the first and the strided convolutions too, so a decoder stage has a block more than the encoder's:

    image > conv . RT . RT . . . . . . . . . . . . . . . . . . . . . RT RT RT > norm, SiLU, conv > output
                         \                                        /
                          RT . RT . . . . . . . . . . . RT RT RT
                                \                     /
                                 R . R > R T R > R R R

    R (time)     x + conv(SiLU(norm(conv(SiLU(norm x)) + linear(SiLU time))))
    T (context)  x + out(blocks(in(norm x))),  of a block: x + self-attention, x + cross-attention, x + feed-forward
                 feed-forward is gated (GEGLU, Shazeer, arXiv 2002.05202): [a, b] = W x,  V(a GELU(b))
    time         sinusoids of the time, as wide as the first stage, then two linear layers

The last convolution of a block, of a transformer and of the network begin at zero. Without a time and a context it is
a U-Net with attention, and can be trained to segment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.description import Design, NetworkOptions, Paper, PlannedOption, RecipeHints
from autounet.networks.transformer import SpatialTransformer, normed, zeroed

# Of the sinusoids: the longest period is 2 pi times as long.
_MAX_PERIOD = 10_000
_TIME_EXPANSION = 4
# Places of the largest map with a transformer, 32 x 32; the paper's have 64 x 64, of latent images.
_MOST_PLACES = 1024


class DiffusionUNetOptions(NetworkOptions):
    """Options of Stable Diffusion's U-Net.

    Attributes:
        attention: Stages with transformers, the finest is 0; the middle, after the last stage, always has one.
        context: Width of the context's tokens.
        tokens: Names that the context is made of, each with a learned embedding; 0 where it comes from elsewhere.
        heads: Of each attention; 0 for as many as are `head_width` wide.
        head_width: Channels of a head, where their number is left open.
        dropout: In residual blocks.
        zero_start: Whether last convolutions begin at zero.
    """

    attention: tuple[int, ...] = (1, 2)
    context: int = Field(128, ge=1)
    tokens: int = Field(0, ge=0)
    heads: int = Field(0, ge=0)
    head_width: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    zero_start: bool = True

    @field_validator("attention", mode="before")
    @classmethod
    def _of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (str, int)) else value

    def num_heads(self, num_channels: int) -> int:
        """Heads of an attention of so many channels, which they divide."""
        wanted = self.heads or max(1, num_channels // self.head_width)
        return next(count for count in range(min(wanted, num_channels), 0, -1) if num_channels % count == 0)


class DiffusionUNet(SegmentationNetwork):
    """Stable Diffusion's U-Net.

    Args:
        plan: Features, kernels, strides and the encoder's residual blocks of each stage; the decoder's follow.
        in_channels: Of the noisy image and of what it is conditioned on.
        num_outputs: Output channels.
    """

    paper = Paper("Rombach et al.", "CVPR", 2022, "2112.10752")
    design = Design(
        base_features=64,
        max_features=(256, 256),
        width_multiple=8,
        max_stages=5,
        unread=frozenset({"num_convs_decoder"}),
        reference_stages=3,
        reference_patch=((64, 64), (32, 32, 32)),
    )
    recipe = RecipeHints(
        optimizer="adamw",
        learning_rate=1e-4,
        weight_decay=1e-2,
        schedule="constant",
        warmup=0.05,
        ema_share=0.05,
        augmentation="mirror",
    )
    Options: ClassVar[type[DiffusionUNetOptions]] = DiffusionUNetOptions
    objectives = ("diffusion", "segmentation")

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        self.options = options = self.Options.of(plan)
        dims, features = plan.num_spatial_dims, plan.features
        convolution, blocks = CONVOLUTIONS[dims], plan.num_convs_encoder
        time_width = _TIME_EXPANSION * features[0]
        self.time = nn.Sequential(nn.Linear(features[0], time_width), nn.SiLU(), nn.Linear(time_width, time_width))
        self.embedding = nn.Embedding(options.tokens + 1, options.context) if options.tokens else None
        self.first = convolution(in_channels, features[0], plan.kernel_sizes[0], padding="same")
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        skips, width = [features[0]], features[0]
        for stage, kernel in enumerate(plan.kernel_sizes):
            widths = (width, *(features[stage],) * blocks[stage])
            self.encoder.append(
                nn.ModuleList(self._block(stage, before, widths[-1], time_width) for before in widths[:-1])
            )
            width = features[stage]
            skips += [width] * blocks[stage]
            if stage + 1 < plan.num_stages:
                edges = tuple(edge // 2 for edge in kernel)
                self.down.append(convolution(width, width, kernel, plan.strides[stage + 1], edges))
                skips.append(width)
        self.middle = Block(options, width, width, time_width, plan.kernel_sizes[-1], attends=True)
        self.middle_out = ResidualBlock(options, width, width, time_width, plan.kernel_sizes[-1])
        self.decoder, self.up = nn.ModuleList(), nn.ModuleList()
        for stage in reversed(range(plan.num_stages)):
            decoder = nn.ModuleList()
            for _ in range(blocks[stage] + 1):
                decoder.append(self._block(stage, width + skips.pop(), features[stage], time_width))
                width = features[stage]
            self.decoder.append(decoder)
            if stage:
                self.up.append(convolution(width, width, plan.kernel_sizes[stage], padding="same"))
        self.norm = normed(width)
        self.head = zeroed(convolution(width, num_outputs, plan.kernel_sizes[0], padding="same"), options.zero_start)

    @staticmethod
    def default_depths(
        num_stages: int, options: NetworkOptions | None = None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Two residual blocks an encoder stage, and in the decoder one more."""
        return (2,) * num_stages, (3,) * (num_stages - 1)

    @classmethod
    def options_for(cls, plan: NetworkPlan, patch_size: Sequence[int]) -> tuple[PlannedOption, ...]:
        """Transformers where maps are small enough for all places to attend to each other."""
        stages, size = [], list(patch_size)
        for stage, strides in enumerate(plan.strides):
            size = [edge // stride for edge, stride in zip(size, strides, strict=True)]
            if stage and math.prod(size) <= _MOST_PLACES:
                stages.append(stage)
        told = ", ".join(str(stage + 1) for stage in stages) or "none"
        reason = (
            f"below full resolution, stages whose maps have at most {_MOST_PLACES} places, as attention grows with "
            f"their square: {told}"
        )
        return (PlannedOption("attention", tuple(stages), reason),)

    def forward(self, x: Tensor, times: Tensor | None = None, context: Tensor | None = None) -> list[Tensor]:
        """Predict from an image, at a time and in a context.

        Args:
            x: `(B, C, *spatial)`.
            times: `(B,)`, zero if not given.
            context: Tokens `(B, L, context)`; one of zeros if not given.

        Returns:
            One output `(B, K, *spatial)`.
        """
        self.require_size(x)
        if times is None:
            times = x.new_zeros(len(x))
        if context is None:
            context = x.new_zeros(len(x), 1, self.options.context)
        time = self.time(sinusoids(times, self.plan.features[0]).to(x.dtype))
        x = self.first(x)
        skips = [x]
        for stage, blocks in enumerate(self.encoder):
            for block in cast(nn.ModuleList, blocks):
                x = block(x, time, context)
                skips.append(x)
            if stage < len(self.down):
                x = self.down[stage](x)
                skips.append(x)
        x = self.middle_out(self.middle(x, time, context), time)
        for index, blocks in enumerate(self.decoder):
            for block in cast(nn.ModuleList, blocks):
                x = block(torch.cat([x, skips.pop()], dim=1), time, context)
            if index < len(self.up):
                x = self.up[index](F.interpolate(x, size=skips[-1].shape[2:], mode="nearest"))
        return [self.head(F.silu(self.norm(x)))]

    def embed(self, tokens: Tensor) -> Tensor:
        """Numbers of names `(B, L)`, 0 for no name, as a context `(B, L, context)`."""
        assert self.embedding is not None, "the network was built without names"
        context: Tensor = self.embedding(tokens)
        return context

    def _block(self, stage: int, before: int, after: int, time_width: int) -> Block:
        attends = stage in self.options.attention
        return Block(self.options, before, after, time_width, self.plan.kernel_sizes[stage], attends=attends)


class ResidualBlock(nn.Module):
    """Two convolutions, between which the time shifts every channel.

    Args:
        options: Of the network.
        before: Channels that come in.
        after: Channels that go out.
        time_width: Of the embedded time.
        kernel: Of the convolutions.
    """

    def __init__(
        self, options: DiffusionUNetOptions, before: int, after: int, time_width: int, kernel: Sequence[int]
    ) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[len(kernel)]
        self.norm_in, self.norm_out = normed(before), normed(after)
        self.conv_in = convolution(before, after, tuple(kernel), padding="same")
        self.of_time = nn.Linear(time_width, after)
        self.dropout = nn.Dropout(options.dropout) if options.dropout else nn.Identity()
        self.conv_out = zeroed(convolution(after, after, tuple(kernel), padding="same"), options.zero_start)
        self.skip = nn.Identity() if before == after else convolution(before, after, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`(B, before, *spatial)` and time `(B, time_width)` to `(B, after, *spatial)`."""
        hidden = self.conv_in(F.silu(self.norm_in(x)))
        shift = self.of_time(F.silu(time))
        hidden = self.norm_out(hidden + shift.reshape(*shift.shape, *(1,) * (x.ndim - 2)))
        result: Tensor = self.skip(x) + self.conv_out(self.dropout(F.silu(hidden)))
        return result


class Block(nn.Module):
    """A residual block, and a transformer after it if any; arguments as for `ResidualBlock`."""

    def __init__(
        self,
        options: DiffusionUNetOptions,
        before: int,
        after: int,
        time_width: int,
        kernel: Sequence[int],
        *,
        attends: bool,
    ) -> None:
        super().__init__()
        self.residual = ResidualBlock(options, before, after, time_width, kernel)
        heads = options.num_heads(after)
        self.transformer = (
            SpatialTransformer(after, options.context, heads, zero_start=options.zero_start) if attends else None
        )

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """`(B, before, *spatial)`, time `(B, time_width)`, tokens `(B, L, context)` to `(B, after, *spatial)`."""
        x = self.residual(x, time)
        return x if self.transformer is None else self.transformer(x, context)


def sinusoids(times: Tensor, width: int) -> Tensor:
    """`(B,)` times as `(B, width)`: cosines, then sines, of `width / 2` frequencies from 1 to almost 1/10000.

    Vaswani et al., "Attention Is All You Need" (2017), section 3.5, cosines first.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(_MAX_PERIOD) / half * torch.arange(half, device=times.device))
    angles = times.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)
