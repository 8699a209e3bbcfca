"""What the architectures are made of, and what each tells the rest of the pipeline.

Shapes: `B` batch, `C` channels, spatial axes `Z Y X` (3D) or `Y X` (2D).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from autounet.networks.norm import InstanceNorm

CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLING: dict[int, Callable[..., nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
LEAKY_SLOPE = 0.01


class SegmentationNetwork(nn.Module):
    """Base of all networks: image `(B, C, *spatial)` to logits, the finest first.

    Attributes:
        num_spatial_dims: 2 or 3.
        divisor: Per axis, what sizes must be divisible by.
        halo: Per axis, context lost on each side by unpadded convolutions; zero for padded ones.
        output_strides: For each output, how much coarser than the input it is on each axis.
        deep_supervision: Whether `forward` returns all outputs, or only the finest.
    """

    num_spatial_dims: int
    divisor: tuple[int, ...]
    halo: tuple[int, ...]
    output_strides: tuple[tuple[int, ...], ...]
    deep_supervision: bool

    @staticmethod
    def default_depths(num_stages: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Blocks of each stage, the finest first, where a planner leaves the depth to the network.

        A block is whatever the network counts in a plan's `num_convs_encoder` and `num_convs_decoder`.

        Args:
            num_stages: Resolutions, the bottleneck included.

        Returns:
            Of the encoder's stages, and of the decoder's, one entry fewer.
        """
        return (2,) * num_stages, (2,) * (num_stages - 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits `(B, K, *spatial)`, one entry, or one a resolution with deep supervision, the finest first."""
        raise NotImplementedError


class ConvNorm(nn.Module):
    """Convolution and instance norm, padded to keep the size."""

    def __init__(
        self,
        num_spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        padding = tuple((size - 1) // 2 for size in kernel)
        self.conv = CONVOLUTIONS[num_spatial_dims](
            in_channels, out_channels, tuple(kernel), tuple(stride), padding, bias=bias
        )
        if bias:
            # The norm takes any constant away: its gradient is zero, and summing that up takes 3 % of a step.
            self.conv.bias.requires_grad_(False)
        self.norm = InstanceNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, *spatial)` to `(B, out, *spatial / stride)`."""
        normalized: Tensor = self.norm(self.conv(x))
        return normalized


class ConvUnit(ConvNorm):
    """Convolution, instance norm, leaky ReLU: nnU-Net's unit (`simple_conv_blocks.py`)."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, in, *spatial)` to `(B, out, *spatial / stride)`."""
        return F.leaky_relu(super().forward(x), LEAKY_SLOPE, inplace=True)


class BlockStack(nn.Sequential):
    """Several blocks with one kernel; the first carries the stride and the change of channels.

    Attributes:
        block: What is stacked: channels in and out, kernel and stride to a module.
    """

    block: ClassVar[Callable[..., nn.Module]]

    def __init__(
        self,
        num_spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        num_blocks: int,
    ) -> None:
        ones = (1,) * num_spatial_dims
        super().__init__(
            self.block(num_spatial_dims, in_channels, out_channels, kernel, stride),
            *(self.block(num_spatial_dims, out_channels, out_channels, kernel, ones) for _ in range(num_blocks - 1)),
        )


class ConvStack(BlockStack):
    """Several units."""

    block = ConvUnit


def initialize_he(module: nn.Module) -> None:
    """Kaiming-normal weights for leaky ReLU and zero biases on every (transposed) convolution, as in nnU-Net."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
