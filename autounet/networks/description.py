"""What a network's class says of itself: where it was published, what it wants of its planner, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field

from autounet.errors import RequestError
from autounet.network_plan import NetworkPlan, OptionValue, Padding
from autounet.records import Record, nearest

NormName = Literal["instance", "batch", "group", "none"]
ActivationName = Literal["relu", "leaky_relu", "prelu", "elu", "gelu", "silu"]
UpsamplingName = Literal["transposed", "linear"]


@dataclass(frozen=True)
class Paper:
    """Where a network was published.

    Attributes:
        authors: As cited, for example `Ronneberger et al.`.
        venue: Conference or journal.
        year: Of publication.
        arxiv: Its number there.
    """

    authors: str
    venue: str
    year: int
    arxiv: str | None = None

    def __str__(self) -> str:
        """`Ronneberger et al., MICCAI 2015 (arXiv 1505.04597)`."""
        place = f" (arXiv {self.arxiv})" if self.arxiv else ""
        return f"{self.authors}, {self.venue} {self.year}{place}"


@dataclass(frozen=True)
class Design:
    """What a network wants of its planner; the defaults are nnU-Net's.

    Attributes:
        dims: Numbers of spatial axes that it is made for.
        base_features: Channels of the finest stage; they double from stage to stage.
        stem_doubles: Whether the second stage has twice the channels of the first too.
        max_features: At most so many channels, in 2D and in 3D.
        width_multiple: Channels of every stage must be a multiple of it: groups or heads, say.
        max_stages: Resolutions at most; `None` for as many as the patch allows.
        kernel_edge: Of its convolutions, along axes that are not flat.
        padding: Whether convolutions keep the size.
        stem_stride: How much coarser the second stage is: 2, or the edge of a transformer's patches.
        batch_size: Patches a step, as the paper has them; `None` for as many as fit.
        min_batch_size: No batch is smaller by rule.
        unread: Fields of a plan's network that it does not read; they are not shown.
        reference_stages: Resolutions of the network in the paper, with which it is listed where there is no plan.
        reference_patch: Its patches there, by the number of axes.
    """

    dims: tuple[int, ...] = (2, 3)
    base_features: int = 32
    stem_doubles: bool = True
    max_features: tuple[int, int] = (512, 320)
    width_multiple: int = 1
    max_stages: int | None = None
    kernel_edge: int = 3
    padding: Padding = "same"
    stem_stride: int = 2
    batch_size: int | None = None
    min_batch_size: int = 2
    unread: frozenset[Literal["kernel_sizes", "num_convs_decoder"]] = frozenset()
    reference_stages: int = 6
    reference_patch: tuple[tuple[int, ...], ...] = ((512, 512), (128, 128, 128))

    def __post_init__(self) -> None:
        assert self.width_multiple >= 1
        assert self.base_features % self.width_multiple == 0


class RecipeHints(Record):
    """How the network's paper trained, as far as it says: fields of `TrainConfig`, `None` where it says nothing.

    They are printed, and whatever else the user asks for beats them.
    """

    optimizer: str | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: str | None = None
    warmup: float | None = None
    ema_share: float | None = None
    gradient_clip: float | None = None
    loss: str | None = None
    augmentation: str | None = None
    deep_supervision: bool | None = None

    @property
    def choices(self) -> dict[str, Any]:
        """Those that it makes, by the names of `TrainConfig`."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True)
class PlannedOption:
    """An option whose value follows from the patch, such as a window's size.

    Attributes:
        name: Of the option.
        value: For that patch.
        reason: One sentence that cites the evidence.
    """

    name: str
    value: OptionValue
    reason: str


class NetworkOptions(Record):
    """Options of a network: its class declares its own, with its paper's values as defaults."""

    @classmethod
    def of(cls, plan: NetworkPlan) -> Self:
        """The options of a plan; see `named`."""
        return cls.named(plan.name, dict(plan.options))

    @classmethod
    def named(cls, network: str, content: Mapping[str, object]) -> Self:
        """Options by name.

        Args:
            network: Whose.
            content: What differs from its own.

        Raises:
            RequestError: The network knows no such option, or the value does not fit it.
        """
        known = list(cls.model_fields)
        for name in content:
            if name not in known:
                has = f"It has {', '.join(known)}." if known else "It has none."
                raise RequestError(f"the network '{network}' has no option '{name}'.{nearest(name, known)} {has}")
        return cls.parse(dict(content), f"the network '{network}' with these options")


class ConvOptions(NetworkOptions):
    """Options of networks made of convolutions.

    Attributes:
        norm: After every convolution.
        activation: After every norm.
        upsampling: Transposed convolutions, or linear interpolation and a 1x1 convolution.
        dropout: Share of whole channels that is dropped after every convolution.
    """

    norm: NormName = "instance"
    activation: ActivationName = "leaky_relu"
    upsampling: UpsamplingName = "transposed"
    dropout: float = Field(0.0, ge=0, lt=1)
