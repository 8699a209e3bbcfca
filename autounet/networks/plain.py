r"""nnU-Net's plain convolutional U-Net, 2D and 3D.

Isensee et al., Nature Methods 18 (2021); topology as in dynamic-network-architectures' `PlainConvUNet`: strided
convolutions down, transposed convolutions up, skips concatenated, a 1x1 head at every decoder resolution.

    stage 0  encoder ------------------------------> decoder 0 -> head 0 -> logits, full resolution
                 \ stride                            / up
    stage 1       encoder ----------------> decoder 1 -> head 1 -> logits, coarser
                        \ stride            / up
    stage 2              encoder (bottleneck)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autounet.networks.blocks import CONVOLUTIONS, TRANSPOSED, ConvStack, SegmentationNetwork, initialize_he
from autounet.plans import NetworkPlan


class PlainUNet(SegmentationNetwork):
    """The plain U-Net of a plan.

    Args:
        plan: Features, kernels, strides and convolutions of each stage.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        dims = plan.num_spatial_dims
        features, kernels, strides = plan.features, plan.kernel_sizes, plan.strides
        self.num_spatial_dims = dims
        self.divisor = plan.divisor
        self.halo = (0,) * dims
        self.output_strides = _output_strides(plan)
        self.deep_supervision = False
        levels = range(plan.num_stages - 1)
        self.encoder = nn.ModuleList(
            ConvStack(
                dims,
                in_channels if stage == 0 else features[stage - 1],
                features[stage],
                kernels[stage],
                strides[stage],
                plan.num_convs_encoder[stage],
            )
            for stage in range(plan.num_stages)
        )
        self.up = nn.ModuleList(
            TRANSPOSED[dims](features[level + 1], features[level], strides[level + 1], strides[level + 1])
            for level in levels
        )
        self.decoder = nn.ModuleList(
            ConvStack(
                dims,
                2 * features[level],
                features[level],
                kernels[level],
                (1,) * dims,
                plan.num_convs_decoder[level],
            )
            for level in levels
        )
        self.heads = nn.ModuleList(CONVOLUTIONS[dims](features[level], num_outputs, 1) for level in levels)
        self.apply(initialize_he)

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to a list of logits `(B, K, *spatial / output_stride)`, the finest first."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        outputs: list[Tensor] = []
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([self.up[level](x), skips[level]], dim=1))
            if self.deep_supervision or level == 0:
                outputs.insert(0, self.heads[level](x))
        return outputs


def _output_strides(plan: NetworkPlan) -> tuple[tuple[int, ...], ...]:
    """Cumulative strides of all stages but the bottleneck."""
    strides, total = [], [1] * plan.num_spatial_dims
    for stride in plan.strides[:-1]:
        total = [product * factor for product, factor in zip(total, stride, strict=True)]
        strides.append(tuple(total))
    return tuple(strides)
