"""The memory layout in which a network's convolutions are fastest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from autounet.networks.norm import CHANNELS_LAST

# Of the finest feature map of a batch. Above it a CPU's convolutions gain more from channels-last than anything loses;
# below, maps stay in its cache and there is nothing to gain (measured: docs/decisions/0005).
_LARGE_MAP_BYTES = 64 * 2**20


def fast_layout(
    num_features: int, patch_size: Sequence[int], batch_size: int, device: torch.device, dtype: torch.dtype
) -> torch.memory_format:
    """Channels-last for large float32 maps on a CPU, else contiguous.

    Args:
        num_features: Channels of the finest stage.
        patch_size: Of the network's input.
        batch_size: Patches at once.
        device: Where it computes.
        dtype: What its convolutions compute in.
    """
    map_bytes = int(num_features * np.prod(patch_size)) * batch_size * 4
    if device.type == "cpu" and dtype == torch.float32 and map_bytes >= _LARGE_MAP_BYTES:
        return CHANNELS_LAST[len(patch_size) + 2]
    return torch.contiguous_format


def set_layout(network: nn.Module, layout: torch.memory_format) -> None:
    """Lay out a network's kernels; its feature maps follow them."""
    for parameter in network.parameters():
        if layout == torch.contiguous_format or parameter.ndim in CHANNELS_LAST:
            parameter.data = parameter.data.contiguous(memory_format=layout)
