"""nnU-Net's plain convolutional U-Net, 2D and 3D.

Isensee et al., Nature Methods 18 (2021); encoder as in dynamic-network-architectures' `PlainConvUNet`: a stack of
convolutions a stage, the first of which carries the stride. Decoder and wiring: `autounet.networks.unet`.
"""

from __future__ import annotations

from typing import ClassVar

from autounet.network_plan import NetworkPlan
from autounet.networks.blocks import ConvStack, Style
from autounet.networks.description import ConvOptions, Paper
from autounet.networks.unet import UNet


class PlainUNet(UNet):
    """The plain U-Net of a plan.

    Args:
        plan: Features, kernels, strides and convolutions of each stage.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Isensee et al.", "Nature Methods", 2021, "1904.08128")
    Options: ClassVar[type[ConvOptions]] = ConvOptions

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        style = Style.of(plan, self.Options.of(plan))
        encoder = (
            ConvStack(
                style,
                in_channels if stage == 0 else plan.features[stage - 1],
                plan.features[stage],
                plan.kernel_sizes[stage],
                plan.strides[stage],
                plan.num_convs_encoder[stage],
            )
            for stage in range(plan.num_stages)
        )
        super().__init__(plan, encoder, num_outputs, style)
