r"""nnU-Net's U-Net with a residual encoder, "ResEnc", 2D and 3D.

Isensee et al., "nnU-Net Revisited" (MICCAI 2024, arXiv 2404.09556); encoder as in dynamic-network-architectures'
`ResidualEncoderUNet`. Blocks are those of ResNet-D (He et al., "Bag of tricks", CVPR 2019): the skip is pooled before
its 1x1 convolution, so that a stride leaves out no voxel.

    image -> stem -> stage 0: blocks ----------> to the decoder, as in autounet.networks.unet
                         \ stride of the first block
                      stage 1: blocks -------->

    block:  x -> conv, stride - norm - leaky ReLU - conv - norm -> + -> leaky ReLU
            \-> mean over each stride - 1x1 conv - norm -----------/
                (where strided)         (where channels change)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from autounet.network_plan import NetworkPlan
from autounet.networks.blocks import POOLING, BlockStack, ConvNorm, ConvUnit, Style, make_activation
from autounet.networks.description import ConvOptions, NetworkOptions, Paper
from autounet.networks.unet import UNet

# Blocks of the first stages (`nnUNetPlannerResEncM` and its siblings); all further ones have as many as the last.
_BLOCKS = (1, 3, 4, 6)


class ResidualBlock(nn.Module):
    """Two convolutions and a skip around them (`BasicBlockD` in `residual.py`).

    The last norm starts at zero, so that a new block passes on its skip alone, as in nnU-Net.
    """

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
        ones = (1,) * style.num_spatial_dims
        self.first = ConvUnit(style, in_channels, out_channels, kernel, stride, bias=bias)
        self.second = ConvNorm(style, out_channels, out_channels, kernel, ones, bias=bias)
        # Without entries it is the identity.
        self.skip = nn.Sequential()
        if tuple(stride) != ones:
            self.skip.append(POOLING[style.num_spatial_dims](tuple(stride)))
        if in_channels != out_channels:
            self.skip.append(ConvNorm(style, in_channels, out_channels, ones, ones, bias=False))
        self.activation = make_activation(style.activation, out_channels)
        if style.norm != "none" and style.affine:
            nn.init.zeros_(self.second.get_parameter("norm.weight"))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, *spatial)` to `(B, out, *spatial / stride)`."""
        activated: Tensor = self.activation(self.second(self.first(x)) + self.skip(x))
        return activated


class ResidualStack(BlockStack):
    """Several residual blocks."""

    block = ResidualBlock


class ResidualEncoderUNet(UNet):
    """The U-Net with a residual encoder of a plan.

    Args:
        plan: Features, kernels and strides of each stage. Its `num_convs_encoder` counts residual blocks here, each of
            two convolutions; its `num_convs_decoder` convolutions, as for the plain network.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Isensee et al.", "MICCAI", 2024, "2404.09556")
    Options: ClassVar[type[ConvOptions]] = ConvOptions

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        dims, features, style = plan.num_spatial_dims, plan.features, Style.of(plan, self.Options.of(plan))
        stem = ConvUnit(style, in_channels, features[0], plan.kernel_sizes[0], (1,) * dims)
        stages = [
            ResidualStack(
                style,
                features[max(stage - 1, 0)],
                features[stage],
                plan.kernel_sizes[stage],
                plan.strides[stage],
                plan.num_convs_encoder[stage],
            )
            for stage in range(plan.num_stages)
        ]
        super().__init__(plan, [nn.Sequential(stem, stages[0]), *stages[1:]], num_outputs, style)

    @staticmethod
    def default_depths(
        num_stages: int, options: NetworkOptions | None = None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """1, 3, 4, then 6 residual blocks a stage; one convolution a stage of the decoder.

        Args:
            num_stages: Resolutions, the bottleneck included.
            options: Without effect.

        Returns:
            Of the encoder's stages, and of the decoder's, one entry fewer.
        """
        encoder = tuple(_BLOCKS[min(stage, len(_BLOCKS) - 1)] for stage in range(num_stages))
        return encoder, (1,) * (num_stages - 1)
