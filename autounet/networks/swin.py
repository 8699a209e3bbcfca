r"""What Swin transformers are made of: attention within windows, blocks of it, and the merging of patches.

Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (ICCV 2021, arXiv 2103.14030),
figure 3 and section 3.2; any number of axes. Tokens are `(B, *spatial, C)`. Blocks come in pairs, of which the second
shifts its windows:

    x -> norm - attention within windows - + -> norm - linear, 4 C - GELU - linear, C - + ->
     \------------------------------------/  \-----------------------------------------/

    attention of each head:  softmax(q k' / sqrt(d) + bias) v,  the bias looked up by the difference of places
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from autounet.errors import RequestError
from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.description import NetworkOptions, PlannedOption
from autounet.networks.windows import Windows, fitting_edge, relative_places

_MLP_RATIO = 4
_WEIGHT_STD = 0.02


class SwinOptions(NetworkOptions):
    """Options of networks with a Swin transformer in them.

    Attributes:
        window: Edges of a window in tokens; one number for all axes.
        head_width: Channels of an attention head; a stage has as many heads as its channels make.
        drop_path: Share of the branches of the last block that are left out in training, sample by sample; rises from
            zero at the first.
    """

    window: tuple[int, ...] = (7,)
    head_width: int = Field(32, ge=1)
    drop_path: float = Field(0.0, ge=0, lt=1)

    @field_validator("window", mode="before")
    @classmethod
    def _one_for_all_axes(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (int, str)) else value

    @field_validator("window")
    @classmethod
    def _some_tokens(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1:
            raise ValueError(f"window must have edges of 1 token or more, got {value}")
        return value

    def edges(self, num_spatial_dims: int) -> tuple[int, ...]:
        """The window's edge along each axis.

        Raises:
            RequestError: It has another number of axes.
        """
        edges = self.window * num_spatial_dims if len(self.window) == 1 else self.window
        if len(edges) != num_spatial_dims:
            raise RequestError(f"window {self.window}: the network has {num_spatial_dims} axes; give a number for each")
        return edges


class SwinNetwork(SegmentationNetwork):
    """What networks with a Swin transformer tell their planner."""

    Options: ClassVar[type[SwinOptions]] = SwinOptions

    @staticmethod
    def attending_stages(num_stages: int) -> range:
        """The stages, counted from 0, that have blocks of attention."""
        return range(min(1, num_stages - 1), num_stages)

    @staticmethod
    def default_depths(
        num_stages: int, options: NetworkOptions | None = None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Two blocks a stage; the first has none, and its number is that of what embeds patches and expands them.

        Args:
            num_stages: Resolutions, the bottleneck included.
            options: Without effect.

        Returns:
            Of the encoder's stages, and of the decoder's, one entry fewer.
        """
        encoder = (1, *(2,) * (num_stages - 1))
        return encoder, encoder[:-1]

    @classmethod
    def options_for(cls, plan: NetworkPlan, patch_size: Sequence[int]) -> tuple[PlannedOption, ...]:
        """The window that suits the maps of a patch, unless the plan sets one.

        Args:
            plan: The network's, with what the user asks for.
            patch_size: That it will be trained on.
        """
        stages = cls.attending_stages(plan.num_stages)
        if "window" in dict(plan.options) or not stages:
            return ()
        own = cls.Options().edges(plan.num_spatial_dims)
        edges, maps_of_axes = [], []
        for axis, size in enumerate(patch_size):
            maps = [size // math.prod(stride[axis] for stride in plan.strides[: stage + 1]) for stage in stages]
            edges.append(fitting_edge(maps, own[axis]))
            maps_of_axes.append(", ".join(map(str, maps)))
        reason = (
            f"the paper's windows are {' x '.join(map(str, own))} tokens; along axes whose maps have "
            f"{' and '.join(dict.fromkeys(maps_of_axes))} tokens, these need the least padding and are nearest to it"
        )
        return (PlannedOption("window", tuple(edges), reason),)

    def num_heads(self, num_features: int, options: SwinOptions) -> int:
        """Heads of a stage.

        Raises:
            RequestError: Its channels are no whole number of heads.
        """
        if num_features % options.head_width:
            raise RequestError(
                f"the network '{self.plan.name}' has a stage of {num_features} channels, which is no multiple of its "
                f"head_width {options.head_width}: give --features a multiple of it, or another head_width"
            )
        return num_features // options.head_width


class TokenNorm(nn.LayerNorm):
    """Layer norm over the channels of each token, in float32 whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """`(..., C)` to the same."""
        return super().forward(x.to(self.weight.dtype))


class DropPath(nn.Module):
    """Leaves out a branch for some samples in training, and scales it up for the others (Huang et al. 2016)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """`(B, ...)` to the same."""
        if not self.training or self.share == 0:
            return x
        kept = torch.rand((len(x), *(1,) * (x.ndim - 1)), device=x.device) >= self.share
        return x * (kept.to(x.dtype) / (1 - self.share))


class WindowAttention(nn.Module):
    """Self-attention among the tokens of each window.

    Args:
        num_features: Of a token.
        num_heads: Heads.
        edges: Of the largest window.
    """

    def __init__(self, num_features: int, num_heads: int, edges: Sequence[int]) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.edges = tuple(edges)
        self.inputs = nn.Linear(num_features, 3 * num_features)
        self.output = nn.Linear(num_features, num_features)
        self.bias_table = nn.Parameter(torch.zeros(math.prod(2 * edge - 1 for edge in edges), num_heads))

    def forward(self, x: Tensor, edges: Sequence[int], mask: Tensor | None) -> Tensor:
        """`(B, windows, tokens, C)` to the same.

        Args:
            x: Tokens in windows.
            edges: Of these windows; no longer than the largest's.
            mask: Added to the scores, `(windows, 1, tokens, tokens)`.
        """
        batch, num_windows, num_tokens, _ = x.shape
        split = self.inputs(x).reshape(batch, num_windows, num_tokens, 3, self.num_heads, -1)
        query, key, value = split.permute(3, 0, 1, 4, 2, 5)
        scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
        scores += self.bias_table[relative_places(edges, self.edges, x.device)].permute(2, 0, 1)
        if mask is not None:
            scores += mask
        attention = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        mixed: Tensor = self.output((attention @ value).transpose(2, 3).reshape(x.shape))
        return mixed


class SwinBlock(nn.Module):
    """A transformer's block with windows.

    Args:
        num_features: Of a token.
        num_heads: Heads.
        edges: Of a window.
        shifted: Whether its windows are shifted by half their edges.
        drop_path: Share of the samples for which a branch is left out in training.
    """

    def __init__(
        self, num_features: int, num_heads: int, edges: Sequence[int], *, shifted: bool, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.edges, self.shifted = tuple(edges), shifted
        self.norm = TokenNorm(num_features)
        self.attention = WindowAttention(num_features, num_heads, edges)
        self.mlp = nn.Sequential(
            TokenNorm(num_features),
            nn.Linear(num_features, _MLP_RATIO * num_features),
            nn.GELU(),
            nn.Linear(_MLP_RATIO * num_features, num_features),
        )
        self.drop = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `(B, *spatial, C)` to the same."""
        windows = Windows.of(x.shape[1:-1], self.edges, shifted=self.shifted)
        attended = self.attention(windows.cut(self.norm(x)), windows.edges, windows.mask(x.device))
        x = x + self.drop(windows.join(attended))
        result: Tensor = x + self.drop(self.mlp(x))
        return result


def swin_blocks(num_features: int, num_heads: int, edges: Sequence[int], drop_paths: Sequence[float]) -> nn.Sequential:
    """A block for each drop-path rate; every other one shifts its windows."""
    return nn.Sequential(
        *(
            SwinBlock(num_features, num_heads, edges, shifted=index % 2 == 1, drop_path=share)
            for index, share in enumerate(drop_paths)
        )
    )


def rising_drop_paths(most: float, depths: Sequence[int]) -> list[list[float]]:
    """The drop-path rate of each block of each stage: from zero at the first block to the most at the last."""
    rates = torch.linspace(0, most, sum(depths), device="cpu").tolist()
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]


class PatchMerging(nn.Module):
    """Neighbouring tokens to one: concatenated, normalised, projected.

    They are concatenated with their place along the first axis changing fastest, as in the authors' code.

    Args:
        in_features: Of a token.
        out_features: Of a merged one.
        stride: Tokens along each axis that become one.
    """

    def __init__(self, in_features: int, out_features: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = tuple(stride)
        self.norm = TokenNorm(in_features * math.prod(stride))
        self.project = nn.Linear(in_features * math.prod(stride), out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, *spatial, in)` to `(B, *spatial / stride, out)`."""
        batch, *spatial, channels = x.shape
        counts = [length // step for length, step in zip(spatial, self.stride, strict=True)]
        folded = x.reshape(batch, *(part for pair in zip(counts, self.stride, strict=True) for part in pair), channels)
        dims = len(counts)
        gathered = folded.permute(0, *range(1, 2 * dims, 2), *range(2 * dims, 1, -2), 2 * dims + 1)
        merged: Tensor = self.project(self.norm(gathered.reshape(batch, *counts, -1)))
        return merged


def in_full(x: Tensor) -> Tensor:
    """In float32, or finer where it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def to_tokens(x: Tensor) -> Tensor:
    """`(B, C, *spatial)` to `(B, *spatial, C)`."""
    return x.movedim(1, x.ndim - 1)


def to_map(x: Tensor) -> Tensor:
    """`(B, *spatial, C)` to `(B, C, *spatial)`."""
    return x.movedim(x.ndim - 1, 1)


def initialize_tokens(module: nn.Module) -> None:
    """Truncated normal weights and biases of position, zero biases, as in the authors' code."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=_WEIGHT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.bias_table, std=_WEIGHT_STD)
