"""How a U-shaped network pools: strides and kernels of each stage, derived from voxel size and patch size.

Rule: nnU-Net v2, `experiment_planning/experiment_planners/network_topology.py` (`get_pool_and_conv_props`).
Stages count from 1, the finest, in sentences; from 0 in code. One number an axis, in the plan's axis order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.reasons import by_axis, counted, listed, number

Stages = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Topology:
    """Strides and kernels of a network, and the patch padded so that they divide it.

    Attributes:
        patch_size: Voxels on each axis, a multiple of the strides' product.
        strides: Stride on entering each stage; ones for the first.
        kernel_sizes: Kernel of each stage.
    """

    patch_size: tuple[int, ...]
    strides: Stages
    kernel_sizes: Stages

    @property
    def num_stages(self) -> int:
        """Resolutions, the bottleneck included."""
        return len(self.strides)

    @property
    def divisor(self) -> tuple[int, ...]:
        """Per axis, the product of the strides."""
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))

    @property
    def stage_shapes(self) -> Stages:
        """Shape of the feature maps of each stage."""
        shapes = [self.patch_size]
        for stride in self.strides[1:]:
            shapes.append(tuple(size // factor for size, factor in zip(shapes[-1], stride, strict=True)))
        return tuple(shapes)


def find_topology(spacing_mm: Sequence[float], size: Sequence[float], constants: PlannerConstants = NNUNET) -> Topology:
    """Pool the finest axes together until all are of similar spacing, then all, as far as their sizes allow.

    Args:
        spacing_mm: Voxel size.
        size: The patch wanted; medians may end in one half. It is padded up where the strides do not divide it.
        constants: The numbers of the rule.
    """
    num_axes = len(spacing_mm)
    spacing, remaining = list(spacing_mm), list(size)
    kernel = [1] * num_axes
    strides, kernels = [(1,) * num_axes], []
    while len(strides) != constants.max_stages and (pooled := _axes_to_pool(spacing, remaining, constants)):
        finest = min(spacing)
        # Kernels are settled before this pooling: they belong to the stage above it, and 3 stays 3.
        kernel = [
            3 if size_so_far == 3 or value / finest < constants.pooling_spacing_ratio else 1
            for size_so_far, value in zip(kernel, spacing, strict=True)
        ]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in pooled else 1 for axis in range(num_axes)))
        for axis in pooled:
            spacing[axis] *= 2
            remaining[axis] = math.ceil(remaining[axis] / 2)
    kernels.append((3,) * num_axes)
    divisor = (math.prod(axis) for axis in zip(*strides, strict=True))
    padded = tuple(math.ceil(value / factor) * factor for value, factor in zip(size, divisor, strict=True))
    return Topology(padded, tuple(strides), tuple(kernels))


def _axes_to_pool(spacing: Sequence[float], size: Sequence[float], constants: PlannerConstants) -> list[int]:
    """The axes that the next stage halves; none where pooling ends."""
    edge = constants.min_bottleneck_edge
    large = [axis for axis, value in enumerate(size) if value >= 2 * edge]
    if not large:
        return []
    finest = min(spacing[axis] for axis in large)
    similar = [axis for axis in large if spacing[axis] / finest < constants.pooling_spacing_ratio]
    if len(similar) == 1 and size[similar[0]] < 3 * edge:
        return []
    return similar


def explain_strides(
    topology: Topology, spacing_mm: Sequence[float], axes: Sequence[str], constants: PlannerConstants = NNUNET
) -> str:
    """The sentence that says why each axis is pooled where it is.

    Args:
        topology: The network's.
        spacing_mm: Voxel size.
        axes: Name of each axis.
        constants: The numbers of the rule.
    """
    edge = constants.min_bottleneck_edge
    needed = f"an axis needs {2 * edge} voxels to be halved, {3 * edge} to be halved alone"
    if topology.num_stages == 1:
        return f"{needed}; the patch of {by_axis(topology.patch_size)} voxels is not pooled at all"
    at_once = [axis for axis, stride in enumerate(topology.strides[1]) if stride == 2]
    finest = min(at_once, key=lambda axis: spacing_mm[axis])
    parts = [_explain_start(topology, spacing_mm, axes, at_once, constants)]
    for axis, name in enumerate(axes):
        pooled = [stage for stage, stride in enumerate(topology.strides) if stride[axis] == 2]
        if axis not in at_once:
            parts.append(_explain_late_start(pooled, axis, topology, spacing_mm, axes, finest, constants))
        if pooled and pooled[-1] < topology.num_stages - 1:
            left = topology.stage_shapes[-1][axis]
            parts.append(f"{name} stops at stage {pooled[-1] + 1} with {counted(left, 'voxel')}")
    parts.append(f"pooling ends at {by_axis(topology.stage_shapes[-1])} voxels: {needed}")
    return "; ".join(parts)


def _explain_start(
    topology: Topology,
    spacing_mm: Sequence[float],
    axes: Sequence[str],
    at_once: Sequence[int],
    constants: PlannerConstants,
) -> str:
    """Which axes are halved on entering stage 2."""
    names = listed([axes[axis] for axis in at_once])
    if len(at_once) == 1:
        return f"axis {names} is halved from stage 2 on"
    spacings = [spacing_mm[axis] for axis in at_once]
    ratio = number(max(spacings) / min(spacings))
    limit = number(constants.pooling_spacing_ratio)
    why = "are the same" if ratio == "1" else f"differ by a factor of {ratio}, less than {limit}"
    return f"axes {names} are halved together from stage 2 on, as their spacings {why}"


def _explain_late_start(
    pooled: Sequence[int],
    axis: int,
    topology: Topology,
    spacing_mm: Sequence[float],
    axes: Sequence[str],
    finest: int,
    constants: PlannerConstants,
) -> str:
    """Why an axis is not halved on entering stage 2."""
    ratio = spacing_mm[axis] / spacing_mm[finest]
    if ratio < constants.pooling_spacing_ratio:
        voxels = counted(topology.patch_size[axis], "voxel")
        return f"axis {axes[axis]} has only {voxels}, too few to halve, so it is never pooled"
    coarser = f"axis {axes[axis]} is {number(ratio)} times coarser than {axes[finest]}, so it is not pooled"
    if not pooled:
        return f"{coarser} at all"
    first = pooled[0]
    ratio_then = ratio / math.prod(stride[finest] for stride in topology.strides[:first])
    caught_up = ratio_then < constants.pooling_spacing_ratio
    return f"{coarser} until stage {first + 1}{'' if caught_up else ', where no finer axis can be halved any more'}"


def explain_kernels(
    topology: Topology, spacing_mm: Sequence[float], axes: Sequence[str], constants: PlannerConstants = NNUNET
) -> str:
    """The sentence that says where kernels are flat; arguments as for `explain_strides`."""
    finest = min(range(len(axes)), key=lambda axis: spacing_mm[axis])
    limit = number(constants.pooling_spacing_ratio)
    parts = []
    for axis, name in enumerate(axes):
        flat = sum(kernel[axis] == 1 for kernel in topology.kernel_sizes)
        if flat:
            ratio = number(spacing_mm[axis] / spacing_mm[finest])
            where = "stage 1" if flat == 1 else f"stages 1 to {flat}"
            parts.append(
                f"neighbours along {name} are {ratio} times as far apart as along {axes[finest]}, so the kernel is 1 "
                f"along {name} in {where}, until pooling brings the spacings within a factor of {limit} or ends"
            )
    return "; ".join(parts) or f"all axes are within a factor of {limit} of the finest, so kernels are 3 everywhere"
