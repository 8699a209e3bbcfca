"""What a patch costs in device memory, and the largest patch and batch that fit.

The measure is nnU-Net's: elements of all convolution outputs of one patch, in proportion to a size that was found to
fill a known memory. Rules: nnU-Net v2, `default_experiment_planner.py` (`get_plans_for_configuration`) and
`compute_conv_feature_map_size` of dynamic-network-architectures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.topology import Topology, find_topology


def features_per_stage(num_stages: int, num_spatial_dims: int, constants: PlannerConstants = NNUNET) -> tuple[int, ...]:
    """Channels of each stage: doubled from stage to stage, up to a limit."""
    limit = constants.of(num_spatial_dims).max_features
    return tuple(min(limit, constants.base_features * 2**stage) for stage in range(num_stages))


def feature_map_size(
    stage_shapes: Sequence[Sequence[int]],
    features: Sequence[int],
    num_convs_encoder: Sequence[int],
    num_convs_decoder: Sequence[int],
    num_labels: int,
) -> int:
    """Elements of all convolution outputs of a plain U-Net for one patch, deep supervision left out.

    With features `F` and voxels `V` of each stage: the encoder's convolutions `n F V`; the decoder's as well, each
    with its transposed convolution `F V`; and the output, one map a label.

    Args:
        stage_shapes: Shape of the feature maps of each stage, the finest first.
        features: Channels of each stage.
        num_convs_encoder: Convolutions of each encoder stage.
        num_convs_decoder: Convolutions of each decoder stage, one entry fewer.
        num_labels: Entries of `labels` in `dataset.json`, background and ignore counted.
    """
    elements = [channels * math.prod(shape) for channels, shape in zip(features, stage_shapes, strict=True)]
    encoder = sum(num * size for num, size in zip(num_convs_encoder, elements, strict=True))
    decoder = sum((num + 1) * size for num, size in zip(num_convs_decoder, elements[:-1], strict=True))
    return encoder + decoder + num_labels * math.prod(stage_shapes[0])


def initial_patch_size(spacing_mm: Sequence[float], constants: PlannerConstants = NNUNET) -> tuple[int, ...]:
    """The first patch to try: as long on each axis in mm, and as many voxels as the initial square or cube."""
    num_axes = len(spacing_mm)
    voxels_per_mm = 1 / np.asarray(spacing_mm, dtype=np.float64)
    volume = constants.of(num_axes).initial_patch_edge ** num_axes
    scaled = voxels_per_mm * (volume / np.prod(voxels_per_mm)) ** (1 / num_axes)
    return tuple(max(1, round(size)) for size in scaled.tolist())


@dataclass(frozen=True)
class Budget:
    """A memory limit, and what a patch costs against it.

    Attributes:
        num_spatial_dims: 2 or 3.
        num_labels: Entries of `labels` in `dataset.json`.
        memory_gib: Memory of the device.
        constants: The numbers of the rules.
    """

    num_spatial_dims: int
    num_labels: int
    memory_gib: float
    constants: PlannerConstants = NNUNET

    @property
    def allowed(self) -> float:
        """Feature-map size that fills the memory at the reference batch size."""
        reference = self.constants.of(self.num_spatial_dims).reference_feature_map_size
        return reference * (self.memory_gib / self.constants.reference_memory_gib)

    @property
    def patch_limit(self) -> float:
        """Feature-map size of one patch which fills the memory at the smallest batch."""
        reference_batch = self.constants.of(self.num_spatial_dims).reference_batch_size
        return self.allowed * reference_batch / self.constants.budget_batch_size

    def cost(self, topology: Topology) -> int:
        """Feature-map size of a plain U-Net of that topology."""
        num_convs = (self.constants.num_convs_per_stage,) * topology.num_stages
        features = features_per_stage(topology.num_stages, self.num_spatial_dims, self.constants)
        return feature_map_size(topology.stage_shapes, features, num_convs, num_convs[1:], self.num_labels)

    def fits(self, topology: Topology) -> bool:
        """Whether the smallest batch of such patches fits."""
        reference_batch = self.constants.of(self.num_spatial_dims).reference_batch_size
        return self.cost(topology) / reference_batch * self.constants.budget_batch_size <= self.allowed

    def batch_size(self, topology: Topology) -> int:
        """Patches that fit into the memory, whatever the dataset holds."""
        reference_batch = self.constants.of(self.num_spatial_dims).reference_batch_size
        return round((self.allowed / self.cost(topology)) * reference_batch)


@dataclass(frozen=True)
class PatchFit:
    """How the patch size was found.

    Attributes:
        initial: Patch of the initial number of voxels.
        clipped: The same, at most the median shape.
        first: Topology of the clipped patch, padded.
        topology: The largest that fits, or the smallest there is.
    """

    initial: tuple[int, ...]
    clipped: tuple[float, ...]
    first: Topology
    topology: Topology


def fit_patch(spacing_mm: Sequence[float], median_shape: Sequence[float], budget: Budget) -> PatchFit:
    """Shrink the initial patch, always along the axis that covers most of the median shape, until it fits."""
    initial = initial_patch_size(spacing_mm, budget.constants)
    clipped = tuple(min(size, median) for size, median in zip(initial, median_shape, strict=True))
    first = topology = find_topology(spacing_mm, clipped, budget.constants)
    seen = {topology}
    while not budget.fits(topology):
        smaller = _reduced(topology, spacing_mm, median_shape, seen, budget.constants)
        if smaller is None:
            break
        topology = smaller
        seen.add(topology)
    return PatchFit(initial, clipped, first, topology)


def _reduced(
    topology: Topology,
    spacing_mm: Sequence[float],
    median_shape: Sequence[float],
    seen: set[Topology],
    constants: PlannerConstants,
) -> Topology | None:
    """The next smaller patch, none of those `seen`; `None` where no axis can be shortened.

    Shortening one axis changes the strides, so that others may be padded up: a patch could come back, and the search
    would never end. Ties go to the last axis, as with NumPy's `argsort`. Deviation: nnU-Net shortens an axis of one
    voxel to none, and fails; here the next axis is tried.
    """
    covered = [size / median for size, median in zip(topology.patch_size, median_shape, strict=True)]
    for axis in sorted(range(len(covered)), key=lambda index: (covered[index], index), reverse=True):
        # The divisor may shrink with the size: the next valid size below 256 = 4 x 64 is 224 = 7 x 32, not 192.
        trial = list(topology.patch_size)
        trial[axis] -= topology.divisor[axis]
        step = find_topology(spacing_mm, trial, constants).divisor[axis]
        size = list(topology.patch_size)
        size[axis] -= step
        if size[axis] > 0:
            smaller = find_topology(spacing_mm, size, constants)
            if smaller not in seen:
                return smaller
    return None


def batch_cap(num_dataset_voxels: float, patch_size: Sequence[int], constants: PlannerConstants = NNUNET) -> int:
    """Patches that together cover the largest share of the dataset that a batch may."""
    return round(num_dataset_voxels * constants.max_batch_share / math.prod(patch_size))
