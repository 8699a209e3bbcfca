"""Patch and batch within a memory that is measured on the network itself, whatever it is.

The cost of a step comes from `memory.training_cost`, so that no constant is fitted to any architecture. Rule: the first
patch of the search that fits at the smallest batch; then the largest batch, but of no more voxels than the smallest
batch of the next larger patch has. So more memory never gives a smaller patch times batch: just below the memory at
which that patch would fit, its own network may be cheaper a voxel, having a stage less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.network_plan import NetworkPlan
from autounet.planners.budget import Fit, batch_cap
from autounet.planners.memory import TrainingCost, training_cost
from autounet.planners.network import network_plan
from autounet.planners.patch import PatchSearch
from autounet.planners.reasons import by_axis, gib, listed, millions, number
from autounet.planners.topology import Topology
from autounet.planners.width import Narrowing, narrowed
from autounet.plans import MemoryEstimate

GIB = 2**30
# The estimate is within a tenth of what is measured (tests/conformance/test_memory.py), and memory is handed out in
# blocks.
USABLE = 0.9
# What a cost may be off by that is told from another patch: the statistics of norms do not grow with the voxels.
_INEXACT = 1e-3
# A network cut down to its finest stages, so many, has most of its cost, and there are few such networks.
_NUM_STAGES_OUTLINED = 2


class TooLittleMemoryError(RequestError):
    """Not even the smallest patch fits into the memory.

    Args:
        memory_gib: The memory.
        network: Name of the network.
        need: What it needs, and the way out.
        needed_gib: Memory to plan for.
    """

    def __init__(self, memory_gib: float, network: str, need: str, needed_gib: float) -> None:
        super().__init__(f"{number(memory_gib)} GiB of memory are too little to train network '{network}': {need}")
        self.network = network
        self.need = need
        self.needed_gib = needed_gib


def memory_estimate(cost: TrainingCost, batch_size: int, voxel_ratio: float = 1.0) -> MemoryEstimate:
    """What a step takes, by what takes it; arguments as for `TrainingCost.memory_bytes`."""
    peak = cost.memory_bytes(batch_size, voxel_ratio)
    activations = round(batch_size * cost.activation_bytes_per_sample * voxel_ratio)
    return MemoryEstimate(
        weights_bytes=cost.parameter_bytes,
        optimizer_bytes=cost.optimizer_bytes,
        activations_bytes=activations,
        working_bytes=max(0, peak - cost.parameter_bytes - cost.optimizer_bytes - activations),
        reserve_bytes=math.ceil(peak / USABLE) - peak,
    )


@dataclass(frozen=True)
class Candidate:
    """A patch with what training on it costs.

    Attributes:
        topology: The network's, with its patch.
        cost: Of a step at `measured_voxels`.
        measured_voxels: Of the patch that was measured.
    """

    topology: Topology
    cost: TrainingCost
    measured_voxels: int

    @property
    def voxels(self) -> int:
        """Of the patch."""
        return math.prod(self.topology.patch_size)

    @property
    def ratio(self) -> float:
        """Voxels against those that were measured."""
        return self.voxels / self.measured_voxels

    def needed_bytes(self, batch_size: int) -> int:
        """Memory to plan for, so that a batch fits."""
        return math.ceil(self.cost.memory_bytes(batch_size, self.ratio) / USABLE)

    def held(self, memory_bytes: int) -> int:
        """Patches that fit into a memory."""
        return self.cost.largest_batch(int(memory_bytes * USABLE), self.ratio)


@dataclass(frozen=True)
class MeasuredBudget:
    """A memory, and the training whose cost is measured against it.

    Attributes:
        memory_gib: Memory of the device.
        labels: Of the dataset; they decide the network's outputs and the loss.
        half_precision: The network computes in 16 bits.
        partially_annotated: Not every class was annotated in every case.
        measured: Costs that are known, by network and inputs: one measurement tells those of other patches.
    """

    memory_gib: float
    labels: LabelSchema
    half_precision: bool
    partially_annotated: bool = False
    measured: dict[tuple[NetworkPlan, int], Candidate] = field(default_factory=dict, compare=False, repr=False)

    def narrowed(self, search: PatchSearch, *, batch_size: int | None, num_inputs: int) -> Narrowing:
        """As wide as its smallest useful patch fits; see `budget.Budget` and `width`."""
        smallest = _smallest_batch(search, batch_size)

        def needed_bytes(narrow: PatchSearch) -> int:
            return self._scaled(narrow.least_useful, narrow, num_inputs).needed_bytes(smallest)

        return narrowed(search, needed_bytes, self.memory_gib, smallest)

    def fit(self, search: PatchSearch, num_dataset_voxels: float, *, batch_size: int | None, num_inputs: int) -> Fit:
        """The largest patch and batch; see `budget.Budget`.

        Raises:
            TooLittleMemoryError: Not even the smallest patch fits.
        """
        asked = batch_size or search.constants.batch_size
        smallest = _smallest_batch(search, batch_size)
        sizes: list[Topology] = []
        tried: list[Candidate | None] = []  # `None` where patches were too large by far
        for topology in search.sizes():
            sizes.append(topology)
            tried.append(self._tried(topology, search, num_inputs, smallest))
            chosen = tried[-1]
            if chosen is not None and chosen.needed_bytes(smallest) <= self._memory_bytes:
                break
        else:
            every = (self._scaled(topology, search, num_inputs) for topology in sizes)
            least = min(every, key=lambda entry: entry.needed_bytes(smallest))
            raise self._too_small(self._exact(least.topology, search, num_inputs), smallest, search)
        # Sentences tell of the first, the next larger and the chosen patch.
        told = [
            tried[index] or self._scaled(sizes[index], search, num_inputs)
            for index in sorted({0, max(0, len(sizes) - 2), len(sizes) - 1})
        ]
        held = chosen.held(self._memory_bytes)
        limits = _batch_limits(chosen, sizes[:-1], held, smallest, num_dataset_voxels, search)
        size = asked or max(smallest, min(limits.values()))
        return Fit(
            chosen.topology,
            size,
            self._explain_patch(search, told, smallest),
            self._explain_batch(limits, smallest, num_dataset_voxels, search, asks=_who_asks(batch_size, search)),
            memory_estimate(chosen.cost, size, chosen.ratio),
            _alternatives(told, smallest, size),
        )

    def may_hold(self, search: PatchSearch, num_voxels: float, *, batch_size: int | None, num_inputs: int) -> bool:
        """Whether a patch of so many voxels may be chosen; see `budget.Budget`."""
        smallest = _smallest_batch(search, batch_size)
        for topology in search.sizes():
            voxels = math.prod(topology.patch_size)
            # Sizes fall but for what is padded up, by less than twice.
            if 2 * voxels < num_voxels:
                return False
            if voxels >= num_voxels and self._may_fit(topology, search, num_inputs, smallest):
                return True
        # No patch is smaller by far; that none fits is for `fit` to say.
        return True

    @property
    def _memory_bytes(self) -> int:
        return int(self.memory_gib * GIB)

    def _tried(self, topology: Topology, search: PatchSearch, num_inputs: int, smallest: int) -> Candidate | None:
        """A patch with its cost, its own where it may fit; `None` where it is too large without a measurement."""
        if not self._may_fit(topology, search, num_inputs, smallest):
            return None
        scaled = self._scaled(topology, search, num_inputs)
        fits = scaled.needed_bytes(smallest) <= self._memory_bytes
        return self._exact(topology, search, num_inputs) if fits else scaled

    def _may_fit(self, topology: Topology, search: PatchSearch, num_inputs: int, smallest: int) -> bool:
        """Whether the finest stages of the network alone would fit.

        The search passes dozens of networks, most of them at patches too large by far, and few differ in these stages.
        """
        if search.constants.padding == "valid":  # with fewer stages it would lose other context
            return True
        few = _NUM_STAGES_OUTLINED
        finest = replace(topology, strides=topology.strides[:few], kernel_sizes=topology.kernel_sizes[:few])
        least = self._scaled(finest, search, num_inputs).needed_bytes(smallest)
        return least * (1 - _INEXACT) <= self._memory_bytes

    def _scaled(self, topology: Topology, search: PatchSearch, num_inputs: int) -> Candidate:
        """A patch with its cost, told from another one of the same network where that is known.

        What valid convolutions work on does not grow with the patch, so that each of theirs is measured.
        """
        if search.constants.padding == "valid":
            return self._exact(topology, search, num_inputs)
        key = network_plan(topology, search.constants), num_inputs
        if key not in self.measured:
            self.measured[key] = self._exact(topology, search, num_inputs)
        return replace(self.measured[key], topology=topology)

    def _exact(self, topology: Topology, search: PatchSearch, num_inputs: int) -> Candidate:
        """A patch with its own cost."""
        cost = training_cost(
            network_plan(topology, search.constants),
            topology.patch_size,
            num_channels=num_inputs,
            labels=self.labels,
            batch_dice=False,
            half_precision=self.half_precision,
            partially_annotated=self.partially_annotated,
        )
        return Candidate(topology, cost, math.prod(topology.patch_size))

    def _too_small(self, least: Candidate, smallest: int, search: PatchSearch) -> TooLittleMemoryError:
        kind = "requested" if search.requested is not None else "smallest"
        size, needs = by_axis(least.topology.patch_size), gib(least.needed_bytes(smallest))
        need = (
            f"the {kind} patch, {size} at batch size {smallest}, needs {needs} GiB with "
            f"{search.constants.base_features} channels at full resolution. Plan for that with --memory-gib {needs}"
        )
        half = search.constants.half_width
        narrower = (
            f", or for a narrower network with --features {half}" if half < search.constants.base_features else ""
        )
        return TooLittleMemoryError(self.memory_gib, search.constants.network, f"{need}{narrower}.", float(needs))

    def _explain_patch(self, search: PatchSearch, tried: Sequence[Candidate], smallest: int) -> str:
        chosen, first = tried[-1], tried[0]
        limit, needs = f"{number(self.memory_gib)} GiB", f"{gib(chosen.needed_bytes(smallest))} GiB"
        batch = f"at batch size {smallest}"
        measured = f"network '{search.constants.network}' with {millions(chosen.cost.num_parameters)} parameters"
        if len(tried) == 1:
            return f"{search.explain_first()}; training {measured} takes {needs} {batch}, within {limit}"
        return (
            f"{search.explain_first()}; training would take {gib(first.needed_bytes(smallest))} GiB {batch}, more "
            f"than {limit}, so it was shortened, always along the axis that covers most of the median shape: "
            f"{search.explain_shortened(chosen.topology)}; {measured} takes {needs}"
        )

    def _explain_batch(
        self,
        limits: dict[str, int],
        smallest: int,
        num_dataset_voxels: float,
        search: PatchSearch,
        *,
        asks: str | None,
    ) -> str:
        fits = f"{number(self.memory_gib)} GiB hold {limits['memory']} patches"
        if asks:
            return f"{asks}; {fits}"
        share = number(100 * search.constants.max_batch_share)
        parts = [
            fits,
            f"the {share} % of the dataset's {millions(num_dataset_voxels)} voxels that a batch may cover make "
            f"{limits['dataset']}",
        ]
        if "next patch" in limits:
            parts.append(f"{limits['next patch']} hold no more voxels than {smallest} of the next larger patch")
        verdict = "the smallest number counts"
        if min(limits.values()) < smallest:
            verdict = f"but no batch is smaller than {smallest}"
        return f"{listed(parts)}; {verdict}"


def _smallest_batch(search: PatchSearch, batch_size: int | None) -> int:
    """What must fit: the batch asked for, if any, or the smallest by rule.

    A patch of the user's own may come alone in a batch, where two of the planner's must fit.
    """
    by_rule = 1 if search.requested is not None else search.constants.min_batch_size
    return batch_size or search.constants.batch_size or by_rule


def _who_asks(batch_size: int | None, search: PatchSearch) -> str | None:
    """Who wants a batch of a certain size; `None` where nobody does."""
    if batch_size is not None:
        return "requested by the user"
    return None if search.constants.batch_size is None else f"as '{search.constants.network}' was trained in its paper"


def _batch_limits(
    chosen: Candidate,
    larger: Sequence[Topology],
    held: int,
    smallest: int,
    num_dataset_voxels: float,
    search: PatchSearch,
) -> dict[str, int]:
    """What a batch may be at most, by what limits it."""
    limits = {
        "memory": held,
        "dataset": batch_cap(num_dataset_voxels, chosen.topology.patch_size, search.constants),
    }
    if larger:
        limits["next patch"] = smallest * min(math.prod(entry.patch_size) for entry in larger) // chosen.voxels
    return limits


def _alternatives(tried: Sequence[Candidate], smallest: int, batch_size: int) -> tuple[str, ...]:
    """The next larger patch, and half the batch, with what they cost."""
    chosen, sentences = tried[-1], []
    if len(tried) > 1:
        larger = tried[-2]
        needs = gib(larger.needed_bytes(smallest))
        sentences.append(f"{by_axis(larger.topology.patch_size)} at batch size {smallest}: {needs} GiB")
    if batch_size // 2 >= smallest:
        needs = gib(chosen.needed_bytes(batch_size // 2))
        sentences.append(f"the same patch at batch size {batch_size // 2}: {needs} GiB")
    return tuple(sentences)
