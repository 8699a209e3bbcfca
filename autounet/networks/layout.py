"""The memory layout in which a network's convolutions are fastest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS_LAST: dict[int, torch.memory_format] = {4: torch.channels_last, 5: torch.channels_last_3d}


def fast_layout(num_spatial_dims: int, device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """Channels-last for float32 on a CPU, else contiguous (measured: docs/decisions/0005).

    Args:
        num_spatial_dims: 2 or 3.
        device: Where the network computes.
        dtype: What its convolutions compute in.
    """
    if device.type == "cpu" and dtype == torch.float32:
        return CHANNELS_LAST[num_spatial_dims + 2]
    return torch.contiguous_format


def set_layout(network: nn.Module, layout: torch.memory_format) -> None:
    """Lay out a network's kernels; its feature maps follow them."""
    for parameter in network.parameters():
        if layout == torch.contiguous_format or parameter.ndim in CHANNELS_LAST:
            # `contiguous` would leave a kernel of one input channel as it is, for it lies in either layout, and the
            # convolution would take it for contiguous, and so its output.
            parameter.data = parameter.data.to(memory_format=layout)


def is_channels_last(x: Tensor) -> bool:
    """Whether a map `(B, C, *spatial)` lies as `fast_layout` has it on a CPU, and has several channels.

    Then kernels are used that are made for this layout; never in a graph for ONNX, which has none.
    """
    return (
        x.device.type == "cpu"
        and x.ndim in CHANNELS_LAST
        and x.dtype in (torch.float32, torch.float64)
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=CHANNELS_LAST[x.ndim])
        and not torch.onnx.is_in_onnx_export()
    )
