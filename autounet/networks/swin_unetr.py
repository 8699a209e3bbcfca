r"""Swin UNETR: a Swin transformer as encoder, residual convolutions as decoder.

Hatamizadeh et al., "Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images" (BrainLes
2021, arXiv 2201.01266), figure 1. `[C x 2]` are two blocks on tokens of C channels, the second with shifted windows;
`\` merges 2x2x2 patches; `(C)` is a residual block of two 3x3x3 convolutions with instance norm and leaky ReLU, `/` a
2x2x2 transposed convolution.

    image - - - - - - - - - - - - - - - - (48) - - - - - - - - - - - - - - - - - - - 48+48 (48) > 1x1x1 > logits
      \ 2x2x2 patches                                                               / 48
       48 - - - - - - - - - - - - - - - - (48) - - - - - - - - - - - - - - 48+48 (48)
         \ [48 x 2]                                                       / 48
          96 - - - - - - - - - - - - - - -(96) - - - - - - - - - - 96+96 (96)
            \ [96 x 2]                                            / 96
             192 - - - - - - - - - - - - (192) - - - - - 192+192 (192)
                \ [192 x 2]                             / 192
                 384 - - - - - - - - - - - - - - 384+384 (384)
                    \ [384 x 2]                 / 384
                     768 - - - - - - - - (768)

What a stage of the encoder takes in, before its blocks, goes to the decoder, each token normalised without a scale. The
coarsest stage has no blocks of attention, and the skip above it no convolutions. Norms have no affine parameters, and
convolutions no biases, as in MONAI's network.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.network_plan import NetworkPlan
from autounet.networks.blocks import Style, initialize_he, make_up
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.description import ActivationName, Design, NormName, Paper
from autounet.networks.residual import ResidualBlock
from autounet.networks.swin import (
    PatchMerging,
    SwinNetwork,
    SwinOptions,
    in_full,
    initialize_tokens,
    rising_drop_paths,
    swin_blocks,
    to_map,
    to_tokens,
)


class SwinUNETROptions(SwinOptions):
    """Options of Swin UNETR.

    Attributes:
        norm: After every convolution.
        activation: After every norm.
    """

    head_width: int = Field(16, ge=1)
    norm: NormName = "instance"
    activation: ActivationName = "leaky_relu"


class SwinUNETR(SwinNetwork):
    """Swin UNETR.

    Args:
        plan: Features and strides of each stage, the second's stride being the patches' edge; kernels of convolutions;
            blocks of each stage of the encoder but the finest and the coarsest.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Hatamizadeh et al.", "BrainLes", 2021, "2201.01266")
    design = Design(
        base_features=48,
        stem_doubles=False,
        max_features=(1536, 1536),
        width_multiple=16,
        max_stages=6,
        unread=frozenset({"num_convs_decoder"}),
        reference_stages=6,
        reference_patch=((224, 224), (96, 96, 96)),
    )
    Options: ClassVar[type[SwinUNETROptions]] = SwinUNETROptions

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        options = self.Options.of(plan)
        dims, features, strides, kernels = plan.num_spatial_dims, plan.features, plan.strides, plan.kernel_sizes
        style = Style(dims, options.norm, options.activation, affine=False)
        levels, attending = range(plan.num_stages - 1), self.attending_stages(plan.num_stages)

        def convolutions(in_features: int, stage: int) -> nn.Module:
            return ResidualBlock(style, in_features, features[stage], kernels[stage], (1,) * dims, bias=False)

        patch = tuple(strides[1]) if levels else (1,) * dims
        self.embed = CONVOLUTIONS[dims](in_channels, features[1], patch, patch) if levels else nn.Identity()
        rates = rising_drop_paths(options.drop_path, [plan.num_convs_encoder[stage] for stage in attending])
        self.transformer = nn.ModuleList(
            nn.Sequential(
                *swin_blocks(features[stage], self.num_heads(features[stage], options), options.edges(dims), own),
                PatchMerging(features[stage], features[stage + 1], strides[stage + 1]),
            )
            for stage, own in zip(attending, rates, strict=True)
        )
        self.skips = nn.ModuleList(
            convolutions(features[stage] if stage else in_channels, stage)
            if stage in (0, plan.num_stages - 1) or stage < plan.num_stages - 2
            else nn.Identity()
            for stage in range(plan.num_stages)
        )
        self.up = nn.ModuleList(
            make_up(style, features[level + 1], features[level], strides[level + 1], bias=False) for level in levels
        )
        self.decoder = nn.ModuleList(convolutions(2 * features[level], level) for level in levels)
        self.head = CONVOLUTIONS[dims](features[0], num_outputs, 1)
        self.apply(initialize_he)
        self.apply(initialize_tokens)

    @staticmethod
    def attending_stages(num_stages: int) -> range:
        """All but the finest, which has no tokens, and the coarsest."""
        return range(1, num_stages - 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to logits `(B, K, *spatial)`."""
        self.require_size(x)
        *skips, x = (skip(stage) for skip, stage in zip(self.skips, self.stage_inputs(x), strict=True))
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([self.up[level](x), skips[level]], dim=1))
        return [self.head(x)]

    def stage_inputs(self, x: Tensor) -> list[Tensor]:
        """What each stage of the encoder takes in: the image, then normalised tokens as maps `(B, C, *spatial)`."""
        inputs: list[Tensor] = [x]
        if not self.decoder:
            return inputs
        tokens = to_tokens(self.embed(x))
        for stage in (*self.transformer, nn.Identity()):
            inputs.append(to_map(F.layer_norm(in_full(tokens), tokens.shape[-1:])))
            tokens = stage(tokens)
        return inputs
