"""Patch and batch within a memory: what a budget is, and nnU-Net's own, fitted by hand to its two networks.

nnU-Net's measure is the number of elements of all convolution outputs of one patch, in proportion to a size that was
found to fill a known memory. Rules: nnU-Net v2, `default_experiment_planner.py` (`get_plans_for_configuration`),
`residual_encoder_unet_planners.py`, and `compute_conv_feature_map_size` of dynamic-network-architectures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from autounet.network_plan import NetworkPlan
from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.patch import PatchSearch
from autounet.planners.reasons import millions, number
from autounet.planners.topology import Topology, bare_network
from autounet.planners.width import Narrowing
from autounet.plans import MemoryEstimate


@dataclass(frozen=True)
class Fit:
    """Patch and batch that a budget allows.

    Attributes:
        topology: The network's, with its patch.
        batch_size: Patches a step.
        patch_reason: Why the patch is not larger.
        batch_reason: Why the batch is not larger.
        memory: What training takes, where the budget measures it.
        patch_alternatives: Other patches, each with what it would cost.
    """

    topology: Topology
    batch_size: int
    patch_reason: str
    batch_reason: str
    memory: MemoryEstimate | None = None
    patch_alternatives: tuple[str, ...] = ()


class Budget(Protocol):
    """A limit of memory, and how much of it training takes."""

    def narrowed(self, search: PatchSearch, *, batch_size: int | None, num_inputs: int) -> Narrowing:
        """The network as wide as it should be within the memory, where the user asks for no width.

        Args:
            search: The patches to choose from, for the network's own width.
            batch_size: As for `fit`.
            num_inputs: As for `fit`.
        """
        ...

    def fit(self, search: PatchSearch, num_dataset_voxels: float, *, batch_size: int | None, num_inputs: int) -> Fit:
        """The largest patch and batch.

        Args:
            search: The patches to choose from.
            num_dataset_voxels: Of the whole dataset, every case counted as the median one.
            batch_size: Requested by the user; `None` for the rule's.
            num_inputs: Input channels of the network.
        """
        ...

    def may_hold(self, search: PatchSearch, num_voxels: float, *, batch_size: int | None, num_inputs: int) -> bool:
        """Whether `fit` may choose a patch of so many voxels or more; at a fraction of its time, and never wrongly no.

        Args:
            search: The patches to choose from.
            num_voxels: Of one patch.
            batch_size: As for `fit`.
            num_inputs: As for `fit`.
        """
        ...


def batch_cap(num_dataset_voxels: float, patch_size: Sequence[int], constants: PlannerConstants = NNUNET) -> int:
    """Patches that together cover the largest share of the dataset that a batch may."""
    return round(num_dataset_voxels * constants.max_batch_share / math.prod(patch_size))


def feature_map_size(stage_shapes: Sequence[Sequence[int]], network: NetworkPlan, num_labels: int) -> int:
    """Elements of all convolution outputs of a U-Net for one patch, deep supervision left out.

    With features `F` and voxels `V` of each stage. Encoder, plain: `n F V` for `n` convolutions. Encoder, residual:
    `2 n F V` for `n` blocks, `F V` more where the first block changes width or resolution and so projects its skip,
    and the stem `F V` of stage 1. Decoder: `n F V`, and `F V` for the transposed convolution. Output: `V` a label.

    Args:
        stage_shapes: Shape of the feature maps of each stage, the finest first.
        network: `plain` or `resenc`.
        num_labels: Entries of `labels` in `dataset.json`, background and ignore counted.
    """
    features = network.features
    elements = [channels * math.prod(shape) for channels, shape in zip(features, stage_shapes, strict=True)]
    decoder = sum((num + 1) * size for num, size in zip(network.num_convs_decoder, elements[:-1], strict=True))
    encoder = sum(num * size for num, size in zip(network.num_convs_encoder, elements, strict=True))
    if network.name == "resenc":
        widths = zip((features[0], *features), features, strict=False)
        projected = [
            before != after or max(stride) > 1 for (before, after), stride in zip(widths, network.strides, strict=True)
        ]
        encoder = elements[0] + 2 * encoder + sum(size for size, has in zip(elements, projected, strict=True) if has)
    return encoder + decoder + num_labels * math.prod(stage_shapes[0])


@dataclass(frozen=True)
class FeatureMapBudget:
    """nnU-Net's budget.

    Attributes:
        num_labels: Entries of `labels` in `dataset.json`.
        memory_gib: Memory of the device.
        constants: The numbers of the rules.
    """

    num_labels: int
    memory_gib: float
    constants: PlannerConstants = NNUNET

    def cost(self, topology: Topology) -> float:
        """Feature-map size of the network of that topology."""
        return feature_map_size(topology.stage_shapes, bare_network(topology, self.constants), self.num_labels)

    def allowed(self, num_spatial_dims: int) -> float:
        """Feature-map size of a patch which fills the memory at the reference batch size."""
        reference = self.constants.of(num_spatial_dims).reference_feature_map_size
        return reference * (self.memory_gib / self.constants.reference_memory_gib)

    def fits(self, topology: Topology) -> bool:
        """Whether the smallest batch of such patches fits, or the reference batch where the constants say so."""
        dims, cost = len(topology.patch_size), self.cost(topology)
        if not self.constants.patch_at_reference_batch:
            cost = cost / self.constants.of(dims).reference_batch_size * self.constants.min_batch_size
        return cost <= self.allowed(dims)

    def held(self, topology: Topology) -> int:
        """Patches that fit into the memory, whatever the dataset holds."""
        dims = len(topology.patch_size)
        return round((self.allowed(dims) / self.cost(topology)) * self.constants.of(dims).reference_batch_size)

    def narrowed(self, search: PatchSearch, *, batch_size: int | None, num_inputs: int) -> Narrowing:
        """As wide as it is: nnU-Net knows one width."""
        return Narrowing(search)

    def fit(self, search: PatchSearch, num_dataset_voxels: float, *, batch_size: int | None, num_inputs: int) -> Fit:
        """The first patch that fits, or the smallest there is; then as many as fit. Input channels are not counted."""
        if search.constants != self.constants:  # widths or stages of the user's own
            own = replace(self, constants=search.constants)
            return own.fit(search, num_dataset_voxels, batch_size=batch_size, num_inputs=num_inputs)
        topology = search.first
        for topology in search.sizes():
            if self.fits(topology):
                break
        cap = batch_cap(num_dataset_voxels, topology.patch_size, self.constants)
        reason = self._explain_batch(topology, cap, num_dataset_voxels)
        if batch_size is not None:
            reason = f"requested by the user; {number(self.memory_gib)} GiB hold {self.held(topology)}"
        ruled = max(min(self.held(topology), cap), self.constants.min_batch_size)
        return Fit(topology, batch_size or ruled, self._explain_patch(search, topology), reason)

    def may_hold(self, search: PatchSearch, num_voxels: float, *, batch_size: int | None, num_inputs: int) -> bool:
        """Always: counting the elements takes no time to save."""
        return True

    def _fitted_batch(self, num_spatial_dims: int) -> int:
        reference_batch = self.constants.of(num_spatial_dims).reference_batch_size
        return reference_batch if self.constants.patch_at_reference_batch else self.constants.min_batch_size

    def _explain_patch(self, search: PatchSearch, topology: Topology) -> str:
        dims, fits = len(topology.patch_size), self.fits(topology)
        batch = self._fitted_batch(dims)
        filling = self.allowed(dims) * self.constants.of(dims).reference_batch_size / batch
        limit = f"the {millions(filling)} that fill {number(self.memory_gib)} GiB at batch size {batch}"
        before, after = millions(self.cost(search.first)), millions(self.cost(topology))
        parts = [search.explain_first()]
        if topology == search.first:
            parts.append(f"its feature maps have {after} elements, {'within' if fits else 'more than'} {limit}")
        else:
            parts.append(
                f"its feature maps have {before} elements, more than {limit}, so it was shortened, always along the "
                f"axis that covers most of the median shape, until {after} were left: "
                f"{search.explain_shortened(topology)}"
            )
        if not fits:
            parts.append("no axis can be shortened any further, so it may not fit")
        return "; ".join(parts)

    def _explain_batch(self, topology: Topology, cap: int, num_dataset_voxels: float) -> str:
        held, smallest = self.held(topology), self.constants.min_batch_size
        share = number(100 * self.constants.max_batch_share)
        verdict = (
            "the smaller number counts" if min(held, cap) >= smallest else f"but no batch is smaller than {smallest}"
        )
        return (
            f"{number(self.memory_gib)} GiB hold {held} patches of {millions(self.cost(topology))} feature-map "
            f"elements; the {share} % of the dataset's {millions(num_dataset_voxels)} voxels that a batch may cover "
            f"make {cap}; {verdict}"
        )
