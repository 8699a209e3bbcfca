r"""V-Net: residual stages of 5x5x5 convolutions, strided convolutions instead of pooling.

Milletari, Navab, Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation" (3DV
2016, arXiv 1606.04797), figure 2. A stage is some 5x5x5 convolutions with PReLU between; its input is added to the
last before its PReLU. `\` is a 2x2x2 convolution of stride 2 that doubles the channels, `/` a transposed one, both with
PReLU.

    image > [1 x 16] - - - - - - - - - - - - - - - - - - - - - - - - - 16+16 [1 x 32] > 5x5x5, PReLU, 1x1x1 > logits
                   \                                                  / 16
                    [2 x 32] - - - - - - - - - - - - - - - - 32+32 [2 x 64]
                           \                                / 32
                            [3 x 64] - - - - - - - 64+64 [3 x 128]
                                   \                  / 64
                                    [3 x 128] - 128+128 [3 x 256]
                                            \    / 128
                                            [3 x 256]

These numbers of convolutions follow from the receptive fields of the paper's table 1 (5, 22, 72, 172, 372, 476, 528,
546, 551 voxels). The network that the authors released has 1, 1, 2, 3, 3 and 3, 2, 1, 1: `variant=released`. To the
first stage, whose input has fewer channels than it, the image is added again and again.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import (
    ConvNorm,
    ConvUnit,
    Style,
    initialize_fan_in,
    make_activation,
    make_up,
)
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.description import (
    ActivationName,
    ConvOptions,
    Design,
    NetworkOptions,
    NormName,
    Paper,
    RecipeHints,
)

# Convolutions of the first stages, encoder and decoder alike; all further ones have as many as the last.
_CONVOLUTIONS = {"paper": (1, 2, 3), "released": (1, 1, 2, 3)}


class VNetOptions(ConvOptions):
    """Options of V-Net.

    Attributes:
        variant: Whose numbers of convolutions.
    """

    norm: NormName = "none"
    activation: ActivationName = "prelu"
    variant: Literal["paper", "released"] = "paper"


class VNet(SegmentationNetwork):
    """V-Net.

    Args:
        plan: Features, kernels, strides and convolutions of each stage; stages of the decoder have twice the features.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Milletari et al.", "3DV", 2016, "1606.04797")
    design = Design(
        base_features=16,
        max_features=(256, 256),
        kernel_edge=5,
        batch_size=2,
        reference_stages=5,
        reference_patch=((512, 512), (64, 128, 128)),
    )
    recipe = RecipeHints(
        optimizer="sgd", momentum=0.99, learning_rate=1e-4, weight_decay=5e-4, loss="dice,squared=true"
    )
    Options: ClassVar[type[VNetOptions]] = VNetOptions

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        style = Style.of(plan, self.Options.of(plan))
        dims, features, kernels, strides = plan.num_spatial_dims, plan.features, plan.kernel_sizes, plan.strides
        levels = range(plan.num_stages - 1)
        self.first = ResidualStage(style, in_channels, features[0], kernels[0], plan.num_convs_encoder[0])
        self.down = nn.ModuleList(
            ConvUnit(style, features[level], features[level + 1], strides[level + 1], strides[level + 1])
            for level in levels
        )
        self.encoder = nn.ModuleList(
            ResidualStage(style, width, width, kernel, count)
            for width, kernel, count in zip(features[1:], kernels[1:], plan.num_convs_encoder[1:], strict=True)
        )
        # Of a decoder's stage, the bottleneck's for the coarsest.
        widths = [*(2 * features[level] for level in levels), features[-1]]
        self.up = nn.ModuleList(
            nn.Sequential(
                make_up(style, widths[level + 1], features[level], strides[level + 1]),
                make_activation(style.activation, features[level]),
            )
            for level in levels
        )
        self.decoder = nn.ModuleList(
            ResidualStage(style, widths[level], widths[level], kernels[level], plan.num_convs_decoder[level])
            for level in levels
        )
        self.head = nn.Sequential(
            ConvUnit(style, widths[0], num_outputs, kernels[0], (1,) * dims),
            CONVOLUTIONS[dims](num_outputs, num_outputs, 1),
        )
        self.apply(initialize_fan_in)

    @staticmethod
    def default_depths(
        num_stages: int, options: NetworkOptions | None = None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """1, 2, then 3 convolutions a stage, or those of the network that was released.

        Args:
            num_stages: Resolutions, the bottleneck included.
            options: Which variant.

        Returns:
            Of the encoder's stages, and of the decoder's, one entry fewer.
        """
        known = _CONVOLUTIONS[options.variant if isinstance(options, VNetOptions) else "paper"]
        encoder = tuple(known[min(stage, len(known) - 1)] for stage in range(num_stages))
        return encoder, encoder[:-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to logits `(B, K, *spatial)`."""
        self.require_size(x)
        x = self.first(x)
        skips = [x]
        for down, stage in zip(self.down, self.encoder, strict=True):
            x = stage(down(x))
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([self.up[level](x), skips[level]], dim=1))
        return [self.head(x)]


class ResidualStage(nn.Module):
    """Convolutions with an activation after each; the stage's input is added before the last one."""

    def __init__(
        self, style: Style, in_channels: int, out_channels: int, kernel: tuple[int, ...], num_convs: int
    ) -> None:
        super().__init__()
        ones = (1,) * style.num_spatial_dims
        widths = (in_channels, *(out_channels,) * (num_convs - 1))
        self.units = nn.Sequential(*(ConvUnit(style, width, out_channels, kernel, ones) for width in widths[:-1]))
        self.last = ConvNorm(style, widths[-1], out_channels, kernel, ones)
        self.activation = make_activation(style.activation, out_channels)
        self.num_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, *spatial)` to `(B, out, *spatial)`."""
        activated: Tensor = self.activation(self.last(self.units(x)) + self._repeated(x))
        return activated

    def _repeated(self, x: Tensor) -> Tensor:
        """The channels again and again until there are as many as come out."""
        missing = self.num_channels - x.shape[1]
        if missing == 0:
            return x
        times = -(-self.num_channels // x.shape[1])
        return x.repeat(1, times, *(1,) * (x.ndim - 2))[:, : self.num_channels]
