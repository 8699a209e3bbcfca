"""The wiring of the U-Nets of 2015 and 2016: valid convolutions, maxima down, the middle of each skip, one head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import centre_crop, contract


class CroppedUNet(SegmentationNetwork):
    """What a subclass fills with its convolutions.

    Attributes:
        encoder: Convolutions of each stage.
        pool: What goes before each stage but the first.
        up: What brings a map to each stage but the coarsest.
        decoder: Convolutions of the map that came up, followed by the middle of the skip.
        head: The finest stage's map to logits.
    """

    encoder: nn.ModuleList
    pool: nn.ModuleList
    up: nn.ModuleList
    decoder: nn.ModuleList
    head: nn.Module

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to logits `(B, K, *spatial less the halo)`."""
        self.require_size(x)
        skips = contract(x, self.encoder, self.pool)
        x = skips[-1]
        for level in reversed(range(len(self.decoder))):
            up = self.up[level](x)
            x = self.decoder[level](torch.cat([up, centre_crop(skips[level], up.shape[2:])], dim=1))
        return [self.head(x)]
