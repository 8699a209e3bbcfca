r"""The original U-Net, 2D, of valid convolutions.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation" (MICCAI 2015, arXiv
1505.04597), figure 1. Every arrow `>` is a 3x3 convolution without padding and a ReLU, `|` a 2x2 maximum, `/` a 2x2
transposed convolution that halves the channels, `- -` a copy of the middle, `>>` the 1x1 convolution at the end.

    tile 572                                                                            388 logits
      1 > 64 > 64  - - - - - - - - - - - - - - - - - - - - - - - - - - - - - -  128 > 64 > 64 >> 2
          570  568 |                                                       / 392    390  388
               64 > 128 > 128  - - - - - - - - - - - - - - - - -  256 > 128 > 128
              284   282   280 |                              / 200     198   196
                         128 > 256 > 256  - - - - - -  512 > 256 > 256
                         140   138   136 |        / 104     102   100
                                    256 > 512 > 512 *  - - 1024 > 512 > 512
                                     68    66    64 |     / 56     54    52
                                               512 > 1024 > 1024 *
                                                32     30     28

Where `*` is, at the end of the contracting path, half of all values are dropped in training. In the network that the
authors released the last transposed convolution keeps 128 channels and all of them are followed by a ReLU; this is
the figure's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from torch import nn

from autounet.network_plan import NetworkPlan
from autounet.networks.blocks import (
    MAX_POOLING,
    ConvStack,
    Style,
    initialize_fan_in,
    make_up,
)
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.cropped import CroppedUNet
from autounet.networks.description import ActivationName, ConvOptions, Design, NormName, Paper, RecipeHints

# Stages, the coarsest, at whose end values are dropped.
_NUM_DROPPED = 2


class UNet2015Options(ConvOptions):
    """Options of the U-Net of 2015.

    Attributes:
        dropout: Share of the values dropped at the end of the contracting path.
    """

    norm: NormName = "none"
    activation: ActivationName = "relu"
    dropout: float = Field(0.5, ge=0, lt=1)


class UNet2015(CroppedUNet):
    """The U-Net of 2015.

    Args:
        plan: Features, kernels, strides and convolutions of each stage.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Ronneberger et al.", "MICCAI", 2015, "1505.04597")
    design = Design(
        dims=(2,),
        base_features=64,
        max_features=(1024, 1024),
        max_stages=5,
        padding="valid",
        batch_size=1,
        min_batch_size=1,
        reference_stages=5,
        reference_patch=((572, 572),),
    )
    # No learning rate is given; without norms 0.01 diverges at this momentum.
    recipe = RecipeHints(
        optimizer="sgd", momentum=0.99, learning_rate=1e-3, loss="unet2015", augmentation="unet2015", weight_decay=0.0
    )
    Options: ClassVar[type[UNet2015Options]] = UNet2015Options

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        options = self.Options.of(plan)
        # Dropout has a place of its own here.
        style = replace(Style.of(plan, options), dropout=0.0)
        dims, features = plan.num_spatial_dims, plan.features
        ones = (1,) * dims
        before = (in_channels, *features)
        self.encoder = nn.ModuleList(
            ConvStack(style, before[stage], features[stage], kernel, ones, plan.num_convs_encoder[stage])
            for stage, kernel in enumerate(plan.kernel_sizes)
        )
        for stack in self.encoder[-_NUM_DROPPED:]:
            assert isinstance(stack, ConvStack)
            stack.append(nn.Dropout(options.dropout))
        self.pool = nn.ModuleList(MAX_POOLING[dims](stride) for stride in plan.strides[1:])
        levels = range(plan.num_stages - 1)
        self.up = nn.ModuleList(
            make_up(style, features[level + 1], features[level], plan.strides[level + 1]) for level in levels
        )
        self.decoder = nn.ModuleList(
            ConvStack(
                style,
                2 * features[level],
                features[level],
                plan.kernel_sizes[level],
                ones,
                plan.num_convs_decoder[level],
            )
            for level in levels
        )
        self.head = CONVOLUTIONS[dims](features[0], num_outputs, 1)
        self.apply(initialize_fan_in)
