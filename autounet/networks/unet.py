r"""What U-Nets share whatever their encoder: nnU-Net's decoder, and the wiring of both.

Isensee et al., Nature Methods 18 (2021); decoder as in dynamic-network-architectures' `UNetDecoder`: transposed
convolutions up, skips concatenated, a 1x1 head at every decoder resolution.

    stage 0  encoder ------------------------------> decoder 0 -> head 0 -> logits, full resolution
                 \ stride                            / up
    stage 1       encoder ----------------> decoder 1 -> head 1 -> logits, coarser
                        \ stride            / up
    stage 2              encoder (bottleneck)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import ConvStack, Style, initialize_he, make_up
from autounet.networks.convolution import CONVOLUTIONS


class UNet(SegmentationNetwork):
    """An encoder's stages with the decoder of a plan.

    Args:
        plan: Features, kernels, strides and the decoder's convolutions of each stage.
        encoder: A module a stage, the finest first: features of the stage before, the image for the first, to those
            of the stage, by its stride coarser.
        num_outputs: Output channels.
        style: How the decoder's convolutions are made.
    """

    def __init__(self, plan: NetworkPlan, encoder: Iterable[nn.Module], num_outputs: int, style: Style) -> None:
        super().__init__()
        self.follow(plan)
        dims, features = plan.num_spatial_dims, plan.features
        self.output_strides = cumulative_strides(plan)
        levels = range(plan.num_stages - 1)
        self.encoder = nn.ModuleList(encoder)
        self.up = nn.ModuleList(
            make_up(style, features[level + 1], features[level], plan.strides[level + 1]) for level in levels
        )
        self.decoder = nn.ModuleList(
            ConvStack(
                style,
                2 * features[level],
                features[level],
                plan.kernel_sizes[level],
                (1,) * dims,
                plan.num_convs_decoder[level],
            )
            for level in levels
        )
        # A patch too small to pool has one stage, whose head is all that there is of a decoder.
        self.heads = nn.ModuleList(CONVOLUTIONS[dims](features[level], num_outputs, 1) for level in levels or (0,))
        self.apply(initialize_he)

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to a list of logits `(B, K, *spatial / output_stride)`, the finest first."""
        self.require_size(x)
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        outputs: list[Tensor] = [] if self.decoder else [self.heads[0](x)]
        for level in reversed(range(len(self.decoder))):
            x = cast(ConvStack, self.decoder[level]).join(self.up[level], x, skips[level])
            if self.deep_supervision or level == 0:
                outputs.insert(0, self.heads[level](x))
        return outputs


def cumulative_strides(plan: NetworkPlan) -> tuple[tuple[int, ...], ...]:
    """Cumulative strides of all stages but the bottleneck, unless that is the only one."""
    strides, total = [], [1] * plan.num_spatial_dims
    for stride in plan.strides[:-1] or plan.strides:
        total = [product * factor for product, factor in zip(total, stride, strict=True)]
        strides.append(tuple(total))
    return tuple(strides)
