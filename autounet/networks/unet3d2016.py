r"""The 3D U-Net, of valid convolutions.

Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger, "3D U-Net: Learning Dense Volumetric Segmentation from Sparse
Annotation" (MICCAI 2016, arXiv 1606.06650), figure 2. Every arrow `>` is a 3x3x3 convolution without padding, batch
norm and ReLU, `|` a 2x2x2 maximum, `/` a 2x2x2 transposed convolution, `- -` a copy of the middle, `>>` the 1x1x1
convolution at the end.

    tile 132x132x116                                                        44x44x28 logits
      3 > 32 > 64  - - - - - - - - - - - - - - - - - - - - - 64+128 > 64 > 64 >> 3
               64 |                                        / 128
                 64 > 64 > 128  - - - - - - - - 128+256 > 128 > 128
                           128 |              / 256
                             128 > 128 > 256  - - 256+512 > 256 > 256
                                         256 |  / 512
                                           256 > 256 > 512

What differs from the U-Net of 2015: channels double before a maximum, not after it, so that nothing is squeezed; the
transposed convolutions keep the channels and have no biases. 19,069,955 parameters are those without the norms' own.
Norms use the statistics of what they see, in prediction too, where the paper sees one tile at a time.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from autounet.network_plan import NetworkPlan
from autounet.networks.blocks import (
    MAX_POOLING,
    ConvUnit,
    Style,
    initialize_fan_in,
    make_up,
)
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.cropped import CroppedUNet
from autounet.networks.description import ActivationName, ConvOptions, Design, NormName, Paper, RecipeHints
from autounet.networks.norm import CurrentBatchNorm


class UNet3D2016Options(ConvOptions):
    """Options of the 3D U-Net; its batch norm uses the statistics of the batch, in prediction those of each tile."""

    norm: NormName = "batch"
    activation: ActivationName = "relu"


class UNet3D2016(CroppedUNet):
    """The 3D U-Net.

    Args:
        plan: Features, kernels, strides and convolutions of each stage. `features` are those at the end of a stage;
            its first convolutions have half of them.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Çiçek et al.", "MICCAI", 2016, "1606.06650")
    design = Design(
        dims=(3,),
        base_features=64,
        max_features=(512, 512),
        width_multiple=2,
        max_stages=4,
        padding="valid",
        batch_size=1,
        min_batch_size=1,
        reference_stages=4,
        reference_patch=((116, 132, 132),),
    )
    recipe = RecipeHints(optimizer="sgd", momentum=0.99, loss="cross_entropy", augmentation="unet3d2016")
    Options: ClassVar[type[UNet3D2016Options]] = UNet3D2016Options

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        style = Style.of(plan, self.Options.of(plan))
        dims, features = plan.num_spatial_dims, plan.features
        self.encoder = nn.ModuleList(
            _stage(
                style,
                in_channels if stage == 0 else features[stage - 1],
                (*(features[stage] // 2 for _ in range(plan.num_convs_encoder[stage] - 1)), features[stage]),
                kernel,
            )
            for stage, kernel in enumerate(plan.kernel_sizes)
        )
        self.pool = nn.ModuleList(MAX_POOLING[dims](stride) for stride in plan.strides[1:])
        levels = range(plan.num_stages - 1)
        self.up = nn.ModuleList(
            make_up(style, features[level + 1], features[level + 1], plan.strides[level + 1], bias=False)
            for level in levels
        )
        self.decoder = nn.ModuleList(
            _stage(
                style,
                features[level] + features[level + 1],
                (features[level],) * plan.num_convs_decoder[level],
                plan.kernel_sizes[level],
            )
            for level in levels
        )
        self.head = CONVOLUTIONS[dims](features[0], num_outputs, 1)
        self.apply(initialize_fan_in)


def _stage(style: Style, in_channels: int, widths: tuple[int, ...], kernel: tuple[int, ...]) -> nn.Sequential:
    """Convolutions of these widths, one after another."""
    ones = (1,) * style.num_spatial_dims
    units = []
    for before, width in zip((in_channels, *widths), widths, strict=False):
        unit = ConvUnit(style, before, width, kernel, ones)
        if style.norm == "batch":
            unit.norm = CurrentBatchNorm(width)
        units.append(unit)
    return nn.Sequential(*units)
