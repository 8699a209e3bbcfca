"""nnU-Net's plain convolutional U-Net, 2D and 3D.

Isensee et al., Nature Methods 18 (2021); encoder as in dynamic-network-architectures' `PlainConvUNet`: a stack of
convolutions a stage, the first of which carries the stride. Decoder and wiring: `autounet.networks.unet`.
"""

from __future__ import annotations

from autounet.networks.blocks import ConvStack
from autounet.networks.unet import UNet
from autounet.plans import NetworkPlan


class PlainUNet(UNet):
    """The plain U-Net of a plan.

    Args:
        plan: Features, kernels, strides and convolutions of each stage.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        encoder = (
            ConvStack(
                plan.num_spatial_dims,
                in_channels if stage == 0 else plan.features[stage - 1],
                plan.features[stage],
                plan.kernel_sizes[stage],
                plan.strides[stage],
                plan.num_convs_encoder[stage],
            )
            for stage in range(plan.num_stages)
        )
        super().__init__(plan, encoder, num_outputs)
