"""The memory layout in which a network's convolutions are fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from autounet.networks.base import SegmentationNetwork

CHANNELS_LAST: dict[int, torch.memory_format] = {4: torch.channels_last, 5: torch.channels_last_3d}


def fast_layout(network: SegmentationNetwork, device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """Channels-last on a CPU, else contiguous (measured: docs/decisions/0005).

    In bfloat16 group norm and layer norm are slow in channels-last, and networks that have them stay contiguous.

    Args:
        network: Whose layout is asked for.
        device: Where it computes.
        dtype: What its convolutions compute in.
    """
    if device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return torch.contiguous_format
    if dtype == torch.bfloat16 and any(isinstance(module, nn.GroupNorm | nn.LayerNorm) for module in network.modules()):
        return torch.contiguous_format
    return CHANNELS_LAST[network.num_spatial_dims + 2]


def set_layout(network: nn.Module, layout: torch.memory_format) -> None:
    """Lay out a network's kernels; its feature maps follow them."""
    for parameter in network.parameters():
        if layout == torch.contiguous_format or parameter.ndim in CHANNELS_LAST:
            # `contiguous` would leave a kernel of one input channel as it is, for it lies in either layout, and the
            # convolution would take it for contiguous, and so its output.
            parameter.data = parameter.data.to(memory_format=layout)


def set_fast_layout(network: SegmentationNetwork, device: torch.device, dtype: torch.dtype) -> None:
    """Lay a network out as `fast_layout` has it."""
    set_layout(network, fast_layout(network, device, dtype))


def is_channels_last(x: Tensor) -> bool:
    """Whether a map `(B, C, *spatial)` lies as `fast_layout` has it on a CPU, and has several channels.

    Then kernels are used that are made for this layout; never in a graph for ONNX, which has none.
    """
    return (
        x.device.type == "cpu"
        and x.ndim in CHANNELS_LAST
        and x.dtype in (torch.float32, torch.float64, torch.bfloat16)
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=CHANNELS_LAST[x.ndim])
        and not torch.onnx.is_in_onnx_export()
    )
