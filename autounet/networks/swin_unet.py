r"""Swin-Unet: a U-Net of nothing but Swin transformer blocks.

Cao et al., "Swin-Unet: Unet-like Pure Transformer for Medical Image Segmentation" (2021, arXiv 2105.05537), figure 1.
`[C x 2]` are two blocks on tokens of C channels, the second with shifted windows; `\` merges 2x2 patches, `/` expands
each token to 2x2; a linear layer brings a skip and what comes from below back to C channels.

    image > 4x4 patches, norm > 96 [96 x 2] - - - - - - - - - - - - 96+96 [96 x 2] > norm, / 4x4 > 1x1 > logits
                                  \                                 / 96
                                   192 [192 x 2] - - - - - - 192+192 [192 x 2]
                                      \                      / 192
                                       384 [384 x 2] - 384+384 [384 x 2]
                                          \            / 384
                                           768 [768 x 2] norm

A skip leaves a stage at its input, before the blocks, as in the authors' code: the topmost is the embedding of patches
itself. Deviation: the authors begin with ImageNet's weights in encoder and decoder, for which their recipe is made
(SGD, learning rate 0.05); here it begins from scratch, and the recipe is the trainer's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autounet.network_plan import NetworkPlan
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.description import Design, NetworkOptions, Paper
from autounet.networks.swin import (
    PatchMerging,
    SwinNetwork,
    SwinOptions,
    TokenNorm,
    initialize_tokens,
    rising_drop_paths,
    swin_blocks,
    to_map,
    to_tokens,
)


class SwinUNetOptions(SwinOptions):
    """Options of Swin-Unet.

    Attributes:
        patch: Edge of the patches that become tokens; smaller ones see finer detail, at as many times the cost.
    """

    drop_path: float = Field(0.2, ge=0, lt=1)
    patch: int = Field(4, ge=2)


class SwinUNet(SwinNetwork):
    """Swin-Unet.

    Args:
        plan: Features and strides of each stage, the second's stride being the patches' edge; blocks of each stage but
            the first.
        in_channels: Image channels.
        num_outputs: Output channels.
    """

    paper = Paper("Cao et al.", "ECCV Workshops", 2022, "2105.05537")
    design = Design(
        base_features=96,
        stem_doubles=False,
        max_features=(1536, 1536),
        width_multiple=32,
        max_stages=5,
        stem_stride=4,
        unread=frozenset({"kernel_sizes"}),
        reference_stages=5,
        reference_patch=((224, 224), (96, 96, 96)),
    )
    Options: ClassVar[type[SwinUNetOptions]] = SwinUNetOptions

    @classmethod
    def design_for(cls, options: NetworkOptions) -> Design:
        """The design with patches as the options want them."""
        assert isinstance(options, SwinUNetOptions)
        return replace(cls.design, stem_stride=options.patch)

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        options = self.Options.of(plan)
        dims, first = plan.num_spatial_dims, self.attending_stages(plan.num_stages).start
        features, (patch, *strides) = plan.features[first:], plan.strides[first:]
        rates = rising_drop_paths(options.drop_path, plan.num_convs_encoder[first:])
        levels = range(len(features) - 1)

        def blocks(level: int, depth: int) -> nn.Module:
            # A decoder's blocks leave out as much as the encoder's of the same stage.
            own = [rates[level][min(index, len(rates[level]) - 1)] for index in range(depth)]
            return swin_blocks(features[level], self.num_heads(features[level], options), options.edges(dims), own)

        self.embed = CONVOLUTIONS[dims](in_channels, features[0], tuple(patch), tuple(patch))
        self.embed_norm = TokenNorm(features[0])
        self.encoder = nn.ModuleList(blocks(level, len(own)) for level, own in enumerate(rates))
        self.merge = nn.ModuleList(
            PatchMerging(features[level], features[level + 1], strides[level]) for level in levels
        )
        self.bottom_norm = TokenNorm(features[-1])
        self.up = nn.ModuleList(
            PatchExpanding(features[level + 1], features[level], strides[level]) for level in levels
        )
        self.fuse = nn.ModuleList(nn.Linear(2 * features[level], features[level]) for level in levels)
        self.decoder = nn.ModuleList(blocks(level, plan.num_convs_decoder[first + level]) for level in levels)
        self.top_norm = TokenNorm(features[0])
        self.last_up = PatchExpanding(features[0], plan.features[0], patch)
        self.head = nn.Linear(plan.features[0], num_outputs, bias=False)
        self.apply(initialize_tokens)

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to logits `(B, K, *spatial)`."""
        self.require_size(x)
        tokens, *skips = reversed(self.stage_inputs(x))
        tokens = self.bottom_norm(self.encoder[-1](tokens))
        for level, skip in zip(reversed(range(len(self.decoder))), skips, strict=True):
            tokens = self.fuse[level](torch.cat([self.up[level](tokens), skip], dim=-1))
            tokens = self.decoder[level](tokens)
        return [to_map(self.head(self.last_up(self.top_norm(tokens))))]

    def stage_inputs(self, x: Tensor) -> list[Tensor]:
        """Tokens `(B, *spatial / stride, C)` that each stage of the encoder takes in: the skips, and the last."""
        inputs = [self.embed_norm(to_tokens(self.embed(x)))]
        for merge, stage in zip(self.merge, self.encoder, strict=False):
            inputs.append(merge(stage(inputs[-1])))
        return inputs


class PatchExpanding(nn.Module):
    """One token to several: projected, taken apart, normalised.

    Args:
        in_features: Of a token.
        out_features: Of each that it becomes.
        stride: How many it becomes along each axis.
    """

    def __init__(self, in_features: int, out_features: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = tuple(stride)
        self.project = nn.Linear(in_features, out_features * math.prod(stride), bias=False)
        self.norm = TokenNorm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, *spatial, in)` to `(B, *spatial * stride, out)`; places along the last axis change fastest."""
        batch, *counts, _ = x.shape
        dims = len(counts)
        parts = self.project(x).reshape(batch, *counts, *self.stride, -1)
        paired = (axis for pair in zip(range(1, dims + 1), range(dims + 1, 2 * dims + 1), strict=True) for axis in pair)
        spatial = [length * step for length, step in zip(counts, self.stride, strict=True)]
        expanded: Tensor = self.norm(parts.permute(0, *paired, 2 * dims + 1).reshape(batch, *spatial, -1))
        return expanded
