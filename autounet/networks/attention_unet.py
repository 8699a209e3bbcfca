r"""Attention U-Net: the coarser map decides which places of a skip pass.

Oktay, Schlemper, Le Folgoc et al., "Attention U-Net: Learning Where to Look for the Pancreas" (MIDL 2018, arXiv
1804.03999), figures 1 and 2. Stages are two 3x3x3 convolutions with batch norm and ReLU; `\` is a 2x2x2 maximum, `/`
trilinear interpolation, `(g)` a gate.

    image > [16] - - - - - - - - - - - - - - - - - - - - - - - 16+32 [16] > 1x1x1, \
               \                                             / 32                    \
                [32] - - - - - - - - (g) - - - - - - 32+64 [32] > 1x1x1, / 2 . . . . all > 1x1x1 > logits
                   \                  ^             / 64                             /
                    [64] - - - - (g) -|- - 64+128 [64] > 1x1x1, / 4 . . . . . . . . /
                       \          ^       / 128                                     /
                        [128] (g)-|128+256 [128] > 1x1x1, / 8 . . . . . . . . . . ./
                            \  ^  / 256
                             [256]

A gate on the skip `x` with the coarser map `g` (figure 2; one number a place, for all channels):

    q = psi(ReLU(W_x x + W_g g)),  alpha = sigmoid(q) brought back to the size of x,  out = combine(W(alpha x))

All are 1x1x1 convolutions but `W_x`, a strided one that brings `x` to the grid of `g`. At the deepest gate `g` is the
bottleneck after a 1x1x1 convolution, at the others the decoder's map. The finest skip has no gate. With two gates on a
skip, their results are concatenated and combined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import (
    INTERPOLATION,
    MAX_POOLING,
    TRANSPOSED,
    ConvNorm,
    ConvStack,
    ConvUnit,
    Style,
    contract,
    initialize_fan_in,
)
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.description import (
    ActivationName,
    ConvOptions,
    Design,
    NormName,
    Paper,
    RecipeHints,
    UpsamplingName,
)

# Decoder levels, the finest, whose logits are fused.
_NUM_FUSED = 4


class AttentionUNetOptions(ConvOptions):
    """Options of the Attention U-Net.

    Attributes:
        gates: On each skip but the finest: none, one, or two.
    """

    norm: NormName = "batch"
    activation: ActivationName = "relu"
    upsampling: UpsamplingName = "linear"
    gates: int = Field(1, ge=0, le=2)


class AttentionUNet(SegmentationNetwork):
    """The Attention U-Net.

    Args:
        plan: Features, kernels, strides and convolutions of each stage.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Oktay et al.", "MIDL", 2018, "1804.03999")
    design = Design(
        base_features=16,
        max_features=(256, 256),
        max_stages=5,
        batch_size=2,
        reference_stages=5,
        reference_patch=((512, 512), (96, 160, 160)),
    )
    recipe = RecipeHints(optimizer="adamw", learning_rate=1e-4, weight_decay=1e-6, loss="dice")
    Options: ClassVar[type[AttentionUNetOptions]] = AttentionUNetOptions

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        options = self.Options.of(plan)
        style = Style.of(plan, options)
        dims, features, strides = plan.num_spatial_dims, plan.features, plan.strides
        ones, levels = (1,) * dims, range(plan.num_stages - 1)
        before = (in_channels, *features)
        self.encoder = nn.ModuleList(
            ConvStack(style, before[stage], features[stage], kernel, ones, plan.num_convs_encoder[stage])
            for stage, kernel in enumerate(plan.kernel_sizes)
        )
        self.pool = nn.ModuleList(MAX_POOLING[dims](stride) for stride in strides[1:])
        gated = levels[1:] if options.gates else ()
        self.gating = ConvUnit(style, features[-1], features[-1], ones, ones) if gated else nn.Identity()
        self.gates = nn.ModuleDict(
            {
                str(level): GatedSkip(style, features[level], features[level + 1], strides[level + 1], options.gates)
                for level in gated
            }
        )
        self.up = nn.ModuleList(_up(style, features[level + 1], strides[level + 1]) for level in levels)
        self.decoder = nn.ModuleList(
            ConvStack(
                style,
                features[level + 1] + features[level],
                features[level],
                plan.kernel_sizes[level],
                ones,
                plan.num_convs_decoder[level],
            )
            for level in levels
        )
        fused = levels[:_NUM_FUSED] or (0,)
        self.heads = nn.ModuleList(CONVOLUTIONS[dims](features[level], num_outputs, 1) for level in fused)
        self.fuse = CONVOLUTIONS[dims](len(self.heads) * num_outputs, num_outputs, 1)
        self.apply(initialize_fan_in)

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to logits `(B, K, *spatial)`."""
        maps, _ = self._maps(x)
        heads = [_resized(head(features), x.shape[2:]) for head, features in zip(self.heads, maps, strict=False)]
        return [self.fuse(torch.cat(heads, dim=1))]

    def attention(self, x: Tensor) -> Tensor:
        """How much of each gated skip passes: `(B, C, *spatial)` to `(B, gates, *spatial)`, finest first, 0 to 1."""
        if not self.gates:
            return super().attention(x)
        _, alphas = self._maps(x)
        return torch.cat([_resized(alpha, x.shape[2:]) for alpha in alphas], dim=1)

    def _maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The decoder's maps, and the attention on each skip that has a gate; both the finest first."""
        self.require_size(x)
        skips = contract(x, self.encoder, self.pool)
        x = skips[-1]
        signal = self.gating(x)
        maps: list[Tensor] = [] if self.decoder else [x]
        alphas: list[Tensor] = []
        for level in reversed(range(len(self.decoder))):
            skip = skips[level]
            if str(level) in self.gates:
                skip, alpha = self.gates[str(level)](skip, signal)
                alphas.insert(0, alpha)
            x = signal = self.decoder[level](torch.cat([skip, self.up[level](x)], dim=1))
            maps.insert(0, x)
        return maps, alphas


class GatedSkip(nn.Module):
    """One gate or two on a skip, and what combines their results.

    Args:
        style: How convolutions are made.
        num_channels: Of the skip.
        num_signals: Channels of the coarser map.
        stride: How much coarser it is.
        num_gates: One or two.
    """

    def __init__(
        self, style: Style, num_channels: int, num_signals: int, stride: Sequence[int], num_gates: int
    ) -> None:
        super().__init__()
        ones = (1,) * style.num_spatial_dims
        self.gates = nn.ModuleList(Gate(style, num_channels, num_signals, stride) for _ in range(num_gates))
        self.combine = ConvUnit(style, num_gates * num_channels, num_channels, ones, ones)

    def forward(self, skip: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
        """The skip `(B, C, *spatial)` as it passes, and how much of it does, `(B, 1, *spatial)`: the gates' mean."""
        passed, alphas = zip(*(gate(skip, signal) for gate in self.gates), strict=True)
        return self.combine(torch.cat(passed, dim=1)), torch.stack(alphas).mean(dim=0)


class Gate(nn.Module):
    """Additive attention by a coarser map; arguments as for `GatedSkip`."""

    def __init__(self, style: Style, num_channels: int, num_signals: int, stride: Sequence[int]) -> None:
        super().__init__()
        dims = style.num_spatial_dims
        convolution, ones = CONVOLUTIONS[dims], (1,) * dims
        self.of_skip = convolution(num_channels, num_channels, tuple(stride), tuple(stride), bias=False)
        self.of_signal = convolution(num_signals, num_channels, 1)
        self.psi = convolution(num_channels, 1, 1)
        self.transform = ConvNorm(style, num_channels, num_channels, ones, ones)

    def forward(self, skip: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
        """What passes of a skip `(B, C, *spatial)`, and how much, `(B, 1, *spatial)`."""
        query = self.psi(F.relu(self.of_skip(skip) + self.of_signal(signal)))
        alpha = _resized(torch.sigmoid(query), skip.shape[2:])
        return self.transform(alpha * skip), alpha


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Linear interpolation to a size."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=list(size), mode=INTERPOLATION[len(size)])


def _up(style: Style, num_channels: int, stride: Sequence[int]) -> nn.Module:
    """To the finer stage, with as many channels."""
    dims, scale = style.num_spatial_dims, tuple(stride)
    if style.upsampling == "transposed":
        return TRANSPOSED[dims](num_channels, num_channels, scale, scale)
    return nn.Upsample(scale_factor=tuple(map(float, scale)), mode=INTERPOLATION[dims])
