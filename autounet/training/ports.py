"""What goes into a network and what comes out, and which of its tensors count that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import torch
from torch import nn

from autounet.labels import BACKGROUND_NAME
from autounet.plans import Configuration, Plan


@dataclass(frozen=True)
class Port:
    """One input or output channel; equal ports mean the same.

    Attributes:
        name: Of the image channel, class or region.
        kind: `mask` is a label that an earlier stage of a cascade found.
        occurrence: Which of those with that name: `dataset.json` may call three channels `rgb_to_0_1`.
    """

    name: str
    kind: Literal["image", "mask", "class"]
    occurrence: int = 0

    @property
    def starts_at_zero(self) -> bool:
        """Whether it has no say at first where the source lacks it."""
        return self.kind == "mask" or self == BACKGROUND_PORT


BACKGROUND_PORT = Port(BACKGROUND_NAME, "class")


@dataclass(frozen=True)
class Ports:
    """What goes into a network and what comes out, in the order of its channels.

    Attributes:
        inputs: Image channels, then the masks of an earlier stage.
        outputs: Background and classes, or regions.
        has_regions: Whether outputs are regions, each with a sigmoid of its own, without background.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    has_regions: bool

    @classmethod
    def of(cls, plan: Plan, configuration: Configuration) -> Ports:
        """Those of the networks of a plan's configuration."""
        masks = plan.labels.foreground_names if configuration.previous_stage is not None else ()
        inputs = (*ports_of([channel.name for channel in plan.channels], "image"), *ports_of(masks, "mask"))
        return cls(inputs, tuple(ports_of(plan.labels.output_names, "class")), plan.labels.has_regions)


class Role(Enum):
    """What a tensor's shape depends on."""

    BODY = "neither channels nor classes"
    STEM = "its axis 1 counts input channels"
    HEAD = "its axis 0 counts outputs"
    OTHER = "channels or classes, but not one by one"


def ports_of(names: Iterable[str], kind: Literal["image", "mask", "class"]) -> Iterable[Port]:
    """Ports of these names, those of one name told apart by their turn."""
    seen: Counter[str] = Counter()
    for name in names:
        yield Port(name, kind, seen[name])
        seen[name] += 1


def roles(build: Callable[[int, int], nn.Module], ports: Ports) -> dict[str, Role]:
    """The role of every tensor of a network, seen from how shapes answer to one more input or output.

    Args:
        build: A network for a number of inputs and outputs; called on the meta device, so nothing is computed.
        ports: Of the network.
    """
    num_inputs, num_outputs = len(ports.inputs), len(ports.outputs)
    with torch.device("meta"):
        networks = (
            build(num_inputs, num_outputs),
            build(num_inputs + 1, num_outputs),
            build(num_inputs, num_outputs + 1),
        )
    own, wider, taller = ({name: tuple(value.shape) for name, value in net.state_dict().items()} for net in networks)
    return {
        name: _role(shape, wider[name], taller[name], num_inputs, num_outputs) if name in wider.keys() & taller.keys()
        else Role.OTHER
        for name, shape in own.items()
    }  # fmt: skip


def _role(
    own: tuple[int, ...], wider: tuple[int, ...], taller: tuple[int, ...], num_inputs: int, num_outputs: int
) -> Role:
    if own == wider == taller:
        return Role.BODY
    if own == taller and len(own) > 1 and own[1] == num_inputs and wider == (own[0], own[1] + 1, *own[2:]):
        return Role.STEM
    if own == wider and own[0] == num_outputs and taller == (own[0] + 1, *own[1:]):
        return Role.HEAD
    return Role.OTHER
