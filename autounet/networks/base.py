"""What every network is to the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from autounet.errors import RequestError
from autounet.network_plan import NetworkPlan
from autounet.networks.description import Design, NetworkOptions, Paper, PlannedOption, RecipeHints


class SegmentationNetwork(nn.Module):
    """Base of all networks: image `(B, C, *spatial)` to logits, the finest first.

    A network is built as `Network(plan, in_channels, num_outputs)`. Its class says of itself, before any is built:

    Attributes:
        paper: Where it was published.
        design: What it wants of its planner.
        recipe: How its paper trained.
        objectives: What it can be trained for; the first is its own.
        Options: Its options; a subclass of `NetworkOptions` whose defaults are its own.
        plan: What it was built from; tells the sizes that it takes.
        num_spatial_dims: 2 or 3.
        divisor: Per axis, how far apart the sizes are that it takes.
        halo: Per axis, context lost on each side by valid convolutions; zero for padded ones.
        output_strides: For each output, how much coarser than the finest it is on each axis.
        output_weights: What the loss of each output counts; `None` for halves from output to output, as nnU-Net.
        deep_supervision: Whether `forward` returns all outputs, or only one for prediction.
    """

    paper: ClassVar[Paper | None] = None
    design: ClassVar[Design] = Design()
    recipe: ClassVar[RecipeHints] = RecipeHints()
    objectives: ClassVar[tuple[str, ...]] = ("segmentation",)
    Options: ClassVar[type[NetworkOptions]] = NetworkOptions

    plan: NetworkPlan
    num_spatial_dims: int
    divisor: tuple[int, ...]
    halo: tuple[int, ...]
    output_strides: tuple[tuple[int, ...], ...]
    output_weights: tuple[float, ...] | None = None
    deep_supervision: bool = False

    def follow(self, plan: NetworkPlan) -> None:
        """Take over what the plan says of sizes, and one output; to be called first when a network is built."""
        self.plan = plan
        self.num_spatial_dims = plan.num_spatial_dims
        self.divisor = plan.divisor
        self.halo = plan.halo
        self.output_strides = ((1,) * plan.num_spatial_dims,)

    @classmethod
    def design_for(cls, options: NetworkOptions) -> Design:
        """What the network wants with these options: `design`, unless some of them change it."""
        return cls.design

    @classmethod
    def options_for(cls, plan: NetworkPlan, patch_size: Sequence[int]) -> tuple[PlannedOption, ...]:
        """Options that follow from the patch and that the plan does not set, each with its reason.

        Args:
            plan: The network's, with what the user asks for.
            patch_size: That it will be trained on.
        """
        return ()

    @staticmethod
    def default_depths(
        num_stages: int, options: NetworkOptions | None = None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Blocks of each stage, the finest first, where a planner leaves the depth to the network.

        A block is whatever the network counts in a plan's `num_convs_encoder` and `num_convs_decoder`.

        Args:
            num_stages: Resolutions, the bottleneck included.
            options: A record of the class's `Options`; the network's own if none are given.

        Returns:
            Of the encoder's stages, and of the decoder's, one entry fewer.
        """
        return (2,) * num_stages, (2,) * (num_stages - 1)

    def require_size(self, x: Tensor) -> None:
        """Refuse an image `(B, C, *spatial)` that the network cannot halve as often as it does.

        Raises:
            RequestError: With the next size that it takes.
        """
        size = tuple(x.shape[2:])
        if not self.plan.takes(size):
            raise RequestError(
                f"the network '{self.plan.name}' takes no image of size {size}: it must be {self.plan.size_rule}. "
                f"The next that is: {self.plan.legal_size(size)}"
            )

    def field(self, x: Tensor) -> Tensor:
        """A map `(..., *spatial)` of the input's size, cut to what the network tells of."""
        if not any(self.halo):
            return x
        leading, spatial = x.ndim - len(self.halo), x.shape[-len(self.halo) :]
        inside = tuple(slice(lost, size - lost) for lost, size in zip(self.halo, spatial, strict=True))
        return x[(slice(None),) * leading + inside]

    def prune(self, depth: int) -> None:
        """Leave out what lies deeper, for a faster prediction.

        Raises:
            RequestError: It cannot be, or not so.
        """
        raise RequestError(f"the network '{self.plan.name}' cannot be pruned; 'unetpp' can")

    def attention(self, x: Tensor) -> Tensor:
        """How much of what is seen passes: `(B, C, *spatial)` to `(B, gates, *spatial)`, 0 to 1.

        Raises:
            RequestError: The network has no gates.
        """
        raise RequestError(f"the network '{self.plan.name}' has no attention maps; 'attention_unet' has")

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """The logits to predict with, of all outputs: the finest."""
        return outputs[0]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits `(B, K, *spatial)`, one entry, or one a resolution with deep supervision, the finest first."""
        raise NotImplementedError
