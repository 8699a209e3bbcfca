"""All networks side by side: where each was published, how large it is, and what training it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autounet.labels import LabelClass, LabelSchema
from autounet.networks import NETWORKS
from autounet.networks.choice import NetworkChoice
from autounet.networks.description import Paper
from autounet.planners.measured import memory_estimate
from autounet.planners.memory import training_cost
from autounet.planners.network import reference_network
from autounet.plans import Plan

# With which networks are listed where there is no dataset: as most papers count, one channel and two classes.
_ONE_CHANNEL = 1
_TWO_CLASSES = LabelSchema(classes=(LabelClass(name="foreground", values=(1,)),))
_BATCH = 2


@dataclass(frozen=True)
class SurveyedSize:
    """A network at one size.

    Attributes:
        name: The configuration, or `2D`, `3D` for the size of the paper.
        patch_size: Of its input.
        batch_size: Patches a step.
        num_parameters: Of the network.
        memory_bytes: That a training step takes, reserve included.
    """

    name: str
    patch_size: tuple[int, ...]
    batch_size: int
    num_parameters: int
    memory_bytes: int


@dataclass(frozen=True)
class SurveyedNetwork:
    """A network of the registry.

    Attributes:
        name: Its name.
        paper: Where it was published.
        options: Names of its options.
        sizes: Its sizes; empty where it does not fit the dataset.
        refusal: Why it does not.
    """

    name: str
    paper: Paper | None
    options: tuple[str, ...]
    sizes: tuple[SurveyedSize, ...]
    refusal: str = ""


def survey_papers() -> Iterator[SurveyedNetwork]:
    """Every network as its paper has it, with one channel and two classes."""
    for name in sorted(NETWORKS):
        design = NETWORKS.find(name).design
        patches = [patch for patch in design.reference_patch if len(patch) in design.dims]
        yield surveyed(name, tuple(_reference_size(name, patch) for patch in patches))


def surveyed(name: str, sizes: tuple[SurveyedSize, ...], refusal: str = "") -> SurveyedNetwork:
    """A network of the registry at these sizes."""
    kind = NETWORKS.find(name)
    return SurveyedNetwork(name, kind.paper, tuple(kind.Options.model_fields), sizes, refusal)


def _reference_size(name: str, patch: tuple[int, ...]) -> SurveyedSize:
    batch = NETWORKS.find(name).design.batch_size or _BATCH
    network = reference_network(NetworkChoice.of(name), len(patch))
    cost = training_cost(network, patch, num_channels=_ONE_CHANNEL, labels=_TWO_CLASSES, batch_dice=False)
    memory = memory_estimate(cost, batch).total_bytes
    return SurveyedSize(f"{len(patch)}D", patch, batch, cost.num_parameters, memory)


def planned_sizes(plan: Plan) -> tuple[SurveyedSize, ...]:
    """The configurations of a plan, without the second stages of cascades."""
    sizes = []
    for entry in plan.configurations.values():
        if entry.previous_stage is not None:
            continue
        cost = training_cost(
            entry.network,
            entry.patch_size,
            num_channels=plan.num_inputs(entry),
            labels=plan.labels,
            batch_dice=entry.batch_dice,
            partially_annotated=plan.partially_annotated,
        )
        memory = (entry.memory or memory_estimate(cost, entry.batch_size)).total_bytes
        sizes.append(SurveyedSize(entry.name, entry.patch_size, entry.batch_size, cost.num_parameters, memory))
    return tuple(sizes)
