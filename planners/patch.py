"""The patch sizes that a configuration may have: from the largest that the images ask for down to the smallest.

Rules: nnU-Net v2, `default_experiment_planner.py` (`get_plans_for_configuration`). The order does not depend on
memory; a budget (`budget`, `measured`) takes the first that fits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.reasons import by_axis, listed
from autounet.planners.topology import Topology, find_topology


def initial_patch_size(spacing_mm: Sequence[float], constants: PlannerConstants = NNUNET) -> tuple[int, ...]:
    """The first patch to try: as long on each axis in mm, and as many voxels as the initial square or cube."""
    num_axes = len(spacing_mm)
    voxels_per_mm = 1 / np.asarray(spacing_mm, dtype=np.float64)
    volume = constants.of(num_axes).initial_patch_edge ** num_axes
    scaled = voxels_per_mm * (volume / np.prod(voxels_per_mm)) ** (1 / num_axes)
    return tuple(max(1, round(size)) for size in scaled.tolist())


@dataclass(frozen=True)
class PatchSearch:
    """Patches for a grid, the largest first.

    Attributes:
        spacing_mm: Voxel size.
        median_shape: Median shape of the cases at that spacing.
        axes: Name of each axis.
        constants: The numbers of the rules.
        requested: The only patch to consider, padded to what the network takes; `None` for the rule's.
    """

    spacing_mm: tuple[float, ...]
    median_shape: tuple[float, ...]
    axes: tuple[str, ...]
    constants: PlannerConstants = NNUNET
    requested: tuple[int, ...] | None = None

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.spacing_mm)

    @cached_property
    def initial(self) -> tuple[int, ...]:
        """Patch of the initial number of voxels."""
        return initial_patch_size(self.spacing_mm, self.constants)

    @property
    def wanted(self) -> tuple[float, ...]:
        """The patch before padding: as requested, or the initial one and at most the median shape."""
        if self.requested is not None:
            return self.requested
        return tuple(min(size, median) for size, median in zip(self.initial, self.median_shape, strict=True))

    @cached_property
    def first(self) -> Topology:
        """Topology of the patch wanted, padded."""
        return find_topology(self.spacing_mm, self.wanted, self.constants, is_input=self.requested is not None)

    @property
    def least_voxels(self) -> int:
        """Fewer see too little to be worth a network of full width."""
        return int(self.constants.of(self.num_spatial_dims).least_patch_edge ** self.num_spatial_dims)

    @cached_property
    def least_useful(self) -> Topology:
        """The smallest patch that tells of so many voxels; the first where that has fewer already."""
        useful = self.first
        for topology in self.sizes():
            if math.prod(topology.field) < self.least_voxels:
                break
            useful = topology
        return useful

    def sizes(self) -> Iterator[Topology]:
        """The first patch, then smaller ones, always along the axis that covers most of the median shape."""
        topology: Topology | None = self.first
        seen: set[Topology] = set()
        while topology is not None:
            yield topology
            seen.add(topology)
            topology = None if self.requested is not None else self._reduced(topology, seen)

    def _reduced(self, topology: Topology, seen: set[Topology]) -> Topology | None:
        """The next smaller patch, none of those `seen`; `None` where no axis can be shortened.

        Shortening one axis changes the strides, so that others may be padded up: a patch could come back, and the
        search would never end. Ties go to the last axis, as with NumPy's `argsort`. Deviation: nnU-Net shortens an
        axis of one voxel to none, and fails; here the next axis is tried.
        """
        covered = [size / median for size, median in zip(topology.field, self.median_shape, strict=True)]
        for axis in sorted(range(len(covered)), key=lambda index: (covered[index], index), reverse=True):
            # The divisor may shrink with the size: the next valid size below 256 = 4 x 64 is 224 = 7 x 32, not 192.
            trial = list(topology.field)
            trial[axis] -= topology.divisor[axis]
            step = find_topology(self.spacing_mm, trial, self.constants).divisor[axis]
            size = list(topology.field)
            size[axis] -= step
            if size[axis] > 0:
                smaller = find_topology(self.spacing_mm, size, self.constants)
                if smaller not in seen:
                    return smaller
        return None

    def explain_first(self) -> str:
        """How the first patch came about: equal edges in mm, the median shape, the strides."""
        first = self.first
        how = f"padded to be divisible by {by_axis(first.divisor)}"
        if first.halo:
            lost = f"the {by_axis(first.halo)} voxels that valid convolutions lose on each side"
            how = f"with {lost}, and so many more that every stage can be halved,"
        padded = f"{how} it is {by_axis(first.patch_size)}"
        if self.requested is not None:
            asked = f"{by_axis(self.requested)} requested by the user"
            return asked if first.patch_size == self.requested else f"{asked}; {padded}"
        form, power = ("square", 2) if self.num_spatial_dims == 2 else ("cube", 3)
        edge = self.constants.of(power).initial_patch_edge
        parts = [f"a {form} in mm of {edge}^{power} voxels is {by_axis(self.initial)}"]
        if self.wanted != self.initial:
            parts.append(f"clipped to the median shape {by_axis(self.median_shape)} it is {by_axis(self.wanted)}")
        if first.patch_size != self.wanted:
            parts.append(padded)
        return "; ".join(parts)

    def explain_shortened(self, topology: Topology) -> str:
        """Which axes are shorter than in the first patch."""
        return listed(
            [
                f"{name} from {old} to {new}"
                for name, old, new in zip(self.axes, self.first.patch_size, topology.patch_size, strict=True)
                if old != new
            ]
        )
