"""A transformer on the places of a feature map, which also attends to tokens of a context.

Rombach et al. (CVPR 2022), supplement, section E.2.1; Vaswani et al., "Attention Is All You Need" (2017).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.networks.norm import GroupNorm

# Of group norms.
_NUM_GROUPS = 32
_MAP_EPS = 1e-6
_FEED_FORWARD_EXPANSION = 4


def normed(num_channels: int, eps: float = 1e-5) -> GroupNorm:
    """A group norm of 32 groups, of fewer where these would not leave two channels each.

    Of one channel alone it would take away what the time adds to it.
    """
    leaves_two = num_channels % _NUM_GROUPS == 0 and num_channels > _NUM_GROUPS
    groups = _NUM_GROUPS if leaves_two else math.gcd(_NUM_GROUPS, num_channels // 2)
    return GroupNorm(groups, num_channels, eps)


def zeroed(layer: nn.Module, zero: bool) -> nn.Module:
    """The layer with all its parameters at zero, if so asked."""
    if zero:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    return layer


class FullLayerNorm(nn.LayerNorm):
    """A layer norm that is never in half precision, as autocast has it on a GPU but not on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, N, C)` to the same, in the type of its weights."""
        normal: Tensor = F.layer_norm(x.to(self.weight.dtype), self.normalized_shape, self.weight, self.bias, self.eps)
        return normal


class Attention(nn.Module):
    """Attention of places to places, or to tokens of another width.

    Args:
        num_channels: Of the places.
        context: Of what they attend to.
        heads: They divide the channels.
    """

    def __init__(self, num_channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(num_channels, num_channels, bias=False)
        self.key = nn.Linear(context, num_channels, bias=False)
        self.value = nn.Linear(context, num_channels, bias=False)
        self.out = nn.Linear(num_channels, num_channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`(B, N, C)` and `(B, L, context)` to `(B, N, C)`."""
        query, key, value = self._split(self.query(x)), self._split(self.key(context)), self._split(self.value(context))
        result: Tensor = self.out(_attended(query, key, value).transpose(1, 2).flatten(2))
        return result

    def _split(self, x: Tensor) -> Tensor:
        parts: Tensor = x.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return parts


class GatedFeedForward(nn.Module):
    """GEGLU (Shazeer, arXiv 2002.05202): one half of a wide layer gates the other."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        wide = _FEED_FORWARD_EXPANSION * num_channels
        self.wide = nn.Linear(num_channels, 2 * wide)
        self.out = nn.Linear(wide, num_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, N, C)` to the same."""
        values, gates = self.wide(x).chunk(2, dim=-1)
        result: Tensor = self.out(values * F.gelu(gates))
        return result


class SpatialTransformer(nn.Module):
    """Places attend to each other, then to the context, then each thinks for itself; added to what came in.

    Args:
        num_channels: Of the feature map.
        context: Width of the context's tokens.
        heads: They divide the channels.
        zero_start: Whether it begins as the identity.
    """

    def __init__(self, num_channels: int, context: int, heads: int, *, zero_start: bool) -> None:
        super().__init__()
        self.norm = normed(num_channels, _MAP_EPS)
        self.into = nn.Linear(num_channels, num_channels)
        self.norms = nn.ModuleList(FullLayerNorm(num_channels) for _ in range(3))
        self.to_itself = Attention(num_channels, num_channels, heads)
        self.to_context = Attention(num_channels, context, heads)
        self.feed_forward = GatedFeedForward(num_channels)
        self.out = zeroed(nn.Linear(num_channels, num_channels), zero_start)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`(B, C, *spatial)` and tokens `(B, L, context)` to `(B, C, *spatial)`."""
        places = self.into(self.norm(x).flatten(2).transpose(1, 2))
        normal = self.norms[0](places)
        places = places + self.to_itself(normal, normal)
        places = places + self.to_context(self.norms[1](places), context)
        places = places + self.feed_forward(self.norms[2](places))
        told: Tensor = self.out(places).transpose(1, 2).reshape(x.shape)
        return x + told


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention `(B, heads, N, width)`.

    On "meta", where memory is measured, PyTorch would spell out the matrix of all pairs that no fused kernel keeps.
    """
    if query.device.type == "meta":
        result: Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]
        return result
    return F.scaled_dot_product_attention(query, key, value)
