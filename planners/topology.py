"""How a U-shaped network pools: strides and kernels of each stage, derived from voxel size and patch size.

Rule: nnU-Net v2, `experiment_planning/experiment_planners/network_topology.py` (`get_pool_and_conv_props`).
Stages count from 1, the finest, in sentences; from 0 in code. One number an axis, in the plan's axis order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from autounet.network_plan import NetworkPlan
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
        lost: Voxels that valid convolutions of each encoder stage lose; empty for padded ones.
        halo: Context that they lose on each side of the patch in all; empty for padded ones.
    """

    patch_size: tuple[int, ...]
    strides: Stages
    kernel_sizes: Stages
    lost: Stages = ()
    halo: tuple[int, ...] = ()

    @property
    def num_stages(self) -> int:
        """Resolutions, the bottleneck included."""
        return len(self.strides)

    @property
    def divisor(self) -> tuple[int, ...]:
        """Per axis, the product of the strides."""
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))

    @property
    def field(self) -> tuple[int, ...]:
        """Size of what the network says of a patch: the patch, less what valid convolutions lose."""
        return tuple(size - 2 * halo for size, halo in zip_longest(self.patch_size, self.halo, fillvalue=0))

    @property
    def stage_shapes(self) -> Stages:
        """Shape of the feature maps of each stage, at its end."""
        shapes, current = [], self.patch_size
        for stride, lost in zip_longest(self.strides, self.lost, fillvalue=(0,) * len(self.patch_size)):
            current = tuple(size // step - less for size, step, less in zip(current, stride, lost, strict=True))
            shapes.append(current)
        return tuple(shapes)


def find_topology(
    spacing_mm: Sequence[float],
    size: Sequence[float],
    constants: PlannerConstants = NNUNET,
    *,
    is_input: bool = False,
) -> Topology:
    """Pool the finest axes together until all are of similar spacing, then all, as far as their sizes allow.

    Args:
        spacing_mm: Voxel size.
        size: What the network is to tell of; medians may end in one half. It is padded up where the strides do not
            divide it, and by the context that valid convolutions lose.
        constants: The numbers of the rule.
        is_input: The size is the patch itself, which valid convolutions make smaller.
    """
    num_axes, edge = len(spacing_mm), constants.kernel_edge
    spacing, remaining = list(spacing_mm), list(size)
    kernel = [1] * num_axes
    strides, kernels = [(1,) * num_axes], []
    while len(strides) != constants.max_stages:
        step = _stem_stride(size, constants) if len(strides) == 1 else 2
        pooled = _axes_to_pool(spacing, remaining, constants, step)
        if not pooled:
            break
        finest = min(spacing)
        # Kernels are settled before this pooling: they belong to the stage above it, and 3 stays 3.
        kernel = [
            edge if size_so_far == edge or value / finest < constants.pooling_spacing_ratio else 1
            for size_so_far, value in zip(kernel, spacing, strict=True)
        ]
        kernels.append(tuple(kernel))
        strides.append(tuple(step if axis in pooled else 1 for axis in range(num_axes)))
        for axis in pooled:
            spacing[axis] *= step
            remaining[axis] = math.ceil(remaining[axis] / step)
    kernels.append((edge,) * num_axes)
    divisor = (math.prod(axis) for axis in zip(*strides, strict=True))
    padded = tuple(math.ceil(value / factor) * factor for value, factor in zip(size, divisor, strict=True))
    topology = Topology(padded, tuple(strides), tuple(kernels))
    return topology if constants.padding == "same" else _valid(topology, size, constants, is_input=is_input)


def _valid(topology: Topology, size: Sequence[float], constants: PlannerConstants, *, is_input: bool) -> Topology:
    """The topology with the patch that its valid convolutions need to tell of that size."""
    network = bare_network(topology, constants)
    at_least = size if is_input else [edge + 2 * halo for edge, halo in zip(size, network.halo, strict=True)]
    counts = zip(topology.kernel_sizes, network.num_convs_encoder, strict=True)
    lost = tuple(tuple(num * (edge - 1) for edge in kernel) for kernel, num in counts)
    return replace(topology, patch_size=network.legal_size(at_least), lost=lost, halo=network.halo)


def bare_network(topology: Topology, constants: PlannerConstants) -> NetworkPlan:
    """The network of a topology: widths doubled from stage to stage up to a limit, depths as the constants say."""
    limit = constants.of(len(topology.patch_size)).max_features
    encoder, decoder = constants.depths(topology.num_stages)
    return NetworkPlan(
        name=constants.network,
        features=tuple(min(limit, constants.features(stage)) for stage in range(topology.num_stages)),
        kernel_sizes=topology.kernel_sizes,
        strides=topology.strides,
        num_convs_encoder=encoder,
        num_convs_decoder=decoder,
        padding=constants.padding,
        options=constants.options,
    )


def _stem_stride(size: Sequence[float], constants: PlannerConstants) -> int:
    """The network's own, or less where that would leave too few voxels to be halved twice more."""
    step = constants.stem_stride
    while step > 2 and max(size) < step * 4 * constants.min_bottleneck_edge:
        step //= 2
    return step


def _axes_to_pool(
    spacing: Sequence[float], size: Sequence[float], constants: PlannerConstants, step: int = 2
) -> list[int]:
    """The axes that the next stage halves, or divides by another step; none where pooling ends."""
    edge = constants.min_bottleneck_edge
    large = [axis for axis, value in enumerate(size) if value >= step * edge]
    if not large:
        return []
    finest = min(spacing[axis] for axis in large)
    similar = [axis for axis in large if spacing[axis] / finest < constants.pooling_spacing_ratio]
    if len(similar) == 1 and size[similar[0]] < (step + 1) * edge:
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
    at_once = [axis for axis, stride in enumerate(topology.strides[1]) if stride > 1]
    finest = min(at_once, key=lambda axis: spacing_mm[axis])
    parts = [_explain_start(topology, spacing_mm, axes, at_once, constants)]
    for axis, name in enumerate(axes):
        pooled = [stage for stage, stride in enumerate(topology.strides) if stride[axis] > 1]
        if axis not in at_once:
            parts.append(_explain_late_start(pooled, axis, topology, spacing_mm, axes, finest, constants))
        if pooled and pooled[-1] < topology.num_stages - 1:
            left = topology.stage_shapes[-1][axis]
            parts.append(f"{name} stops at stage {pooled[-1] + 1} with {counted(left, 'voxel')}")
    if constants.stem_stride != 2:
        parts.append(_explain_stem(max(topology.strides[1]), constants))
    end = f"pooling ends at {by_axis(topology.stage_shapes[-1])} voxels"
    is_deepest = topology.num_stages == constants.max_stages
    parts.append(f"{end}, with {constants.max_stages} stages at most" if is_deepest else f"{end}: {needed}")
    return "; ".join(parts)


def _explain_stem(stride: int, constants: PlannerConstants) -> str:
    """Why the second stage is so much coarser."""
    sentence = f"stage 2 is {stride} times coarser, the edge of the network's own patches"
    if stride == constants.stem_stride:
        return sentence
    return f"{sentence}, as those of {constants.stem_stride} voxels would leave too few to be halved twice more"


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
    return (
        "; ".join(parts)
        or f"all axes are within a factor of {limit} of the finest, so kernels are {constants.kernel_edge} everywhere"
    )
