r"""UNet++: skips filled with nodes that see all nodes before them and the one below.

Zhou, Siddiquee, Tajbakhsh, Liang, "UNet++: A Nested U-Net Architecture" (DLMIA 2018, arXiv 1807.10165; TMI 2019, arXiv
1912.05074), figure 1. A node is two convolutions. `\` is a 2x2 maximum, `/` a 2x2 transposed convolution; each node
takes in, concatenated, what comes from below and all nodes to its left in the same row.

    X00 ---- X01 ---- X02 ---- X03 ---- X04         heads on X01 .. X04, all at full resolution
      \     /  \     /        /        /
       X10 ---- X11 ---- X12 ---- X13
         \     /        /        /
          X20 ---- X21 ---- X22
            \     /        /
             X30 ---- X31
               \     /
                X40

All heads are trained alike (deep supervision). The network predicts with the mean of them ("accurate mode"); pruned
to depth `d`, it keeps the nodes X(i, j) with i + j <= d and predicts with the head on X(0, d) alone ("fast mode").
The mean is taken over logits, as that over folds and mirrors is. Deviation: the authors' code drops half of the values
after every convolution; here `dropout` is off unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from autounet.errors import RequestError
from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import MAX_POOLING, ConvStack, Style, initialize_fan_in, make_up
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.description import ActivationName, ConvOptions, Design, NormName, Paper, RecipeHints


class UNetPlusPlusOptions(ConvOptions):
    """Options of UNet++.

    Attributes:
        heads: Deep supervision on `all` nodes at full resolution but the first, or only the `last` of them has a head.
    """

    norm: NormName = "none"
    activation: ActivationName = "relu"
    heads: Literal["all", "last"] = "all"


class UNetPlusPlus(SegmentationNetwork):
    """UNet++.

    Args:
        plan: Features, kernels and strides of each row; convolutions of the nodes X(i, 0) as those of the encoder, of
            all others in the row as those of the decoder.
        in_channels: Image channels.
        num_outputs: Output channels.

    Attributes:
        depth: Nodes X(i, j) with i + j up to it are computed.
    """

    paper = Paper("Zhou et al.", "DLMIA", 2018, "1807.10165")
    design = Design(
        max_features=(512, 512),
        max_stages=5,
        reference_stages=5,
        reference_patch=((96, 96), (64, 64, 64)),
    )
    recipe = RecipeHints(optimizer="adamw", learning_rate=3e-4, loss="dice_ce")
    Options: ClassVar[type[UNetPlusPlusOptions]] = UNetPlusPlusOptions

    def __init__(self, plan: NetworkPlan, in_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.follow(plan)
        options = self.Options.of(plan)
        style = Style.of(plan, options)
        dims, features = plan.num_spatial_dims, plan.features
        self.depth = plan.num_stages - 1
        self.pool = nn.ModuleList(MAX_POOLING[dims](stride) for stride in plan.strides[1:])
        self.nodes, self.up = nn.ModuleDict(), nn.ModuleDict()
        for row, column in _places(self.depth):
            width = features[row]
            inputs = (column + 1) * width if column else (in_channels, *features)[row]
            count = plan.num_convs_decoder[row] if column else plan.num_convs_encoder[row]
            kernel, ones = plan.kernel_sizes[row], (1,) * dims
            self.nodes[_key(row, column)] = ConvStack(style, inputs, width, kernel, ones, count)
            if column:
                self.up[_key(row, column)] = make_up(style, features[row + 1], width, plan.strides[row + 1])
        # Of a patch too small to pool there is one node only.
        columns = range(1, self.depth + 1) if options.heads == "all" and self.depth else [self.depth]
        self.heads = nn.ModuleDict({str(column): CONVOLUTIONS[dims](features[0], num_outputs, 1) for column in columns})
        self.output_strides = ((1,) * dims,) * len(self.heads)
        self.output_weights = (1.0,) * len(self.heads)
        self.apply(initialize_fan_in)

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, C, *spatial)` to logits `(B, K, *spatial)`: of every head, the deepest first, or one for prediction."""
        self.require_size(x)
        rows: list[list[Tensor]] = [[] for _ in range(self.depth + 1)]
        for row, column in _places(self.depth):
            node = cast(ConvStack, self.nodes[_key(row, column)])
            if column:
                skip = torch.cat(rows[row], dim=1) if column > 1 else rows[row][0]
                rows[row].append(node.join(self.up[_key(row, column)], rows[row + 1][column - 1], skip))
            else:
                rows[row].append(node(self.pool[row - 1](rows[row - 1][0]) if row else x))
        outputs = [head(rows[0][int(column)]) for column, head in reversed(list(self.heads.items()))]
        return outputs if self.deep_supervision else [self.combine(outputs)]

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """The mean of all heads that are left."""
        return torch.stack(list(outputs)).mean(dim=0)

    def prune(self, depth: int) -> None:
        """Keep the nodes X(i, j) with i + j up to this depth, and the head on the last of them.

        Raises:
            RequestError: There is no such head.
        """
        if str(depth) not in self.heads:
            raise RequestError(
                f"--prune {depth}: this '{self.plan.name}' has heads at depth {', '.join(self.heads)}; give one of them"
            )
        kept = {_key(row, column) for row, column in _places(depth)}
        for modules in (self.nodes, self.up):
            for key in set(modules) - kept:
                del modules[key]
        for key in set(self.heads) - {str(depth)}:
            del self.heads[key]
        self.pool = self.pool[:depth]
        self.depth = depth


def _places(depth: int) -> list[tuple[int, int]]:
    """Row and column of all nodes, in the order in which they can be computed."""
    return [(row, column) for column in range(depth + 1) for row in range(depth + 1 - column)]


def _key(row: int, column: int) -> str:
    return f"{row}_{column}"
