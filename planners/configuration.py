"""One configuration of nnU-Net's planner: patch, network, batch, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autounet.geometry import Triple
from autounet.planners.budget import Budget, PatchFit, batch_cap, features_per_stage, fit_patch
from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.reasons import by_axis, by_stage, counted, listed, millimetres, millions, number
from autounet.planners.topology import Topology, explain_kernels, explain_strides
from autounet.plans import Configuration, Decision, NetworkPlan

NETWORK_NAME = "plain"


@dataclass(frozen=True)
class Grid:
    """What a configuration is planned from; axes in the plan's order.

    Attributes:
        spacing_mm: Target spacing.
        median_shape: Median shape of the cropped cases at that spacing.
        axes: Name that each axis has in the images.
        num_cases: Training cases.
        num_labels: Entries of `labels` in `dataset.json`.
        memory_gib: Memory of the device to plan for.
    """

    spacing_mm: Triple
    median_shape: Triple
    axes: tuple[str, ...]
    num_cases: int
    num_labels: int
    memory_gib: float

    @property
    def num_dataset_voxels(self) -> float:
        """Voxels of the whole dataset, every case counted as the median one."""
        return math.prod(self.median_shape) * self.num_cases


def plan_configuration(
    name: str, grid: Grid, constants: PlannerConstants = NNUNET
) -> tuple[Configuration, tuple[Decision, ...]]:
    """Plan `2d` or a 3D configuration on a grid.

    Args:
        name: Its name; `2d` leaves out the first axis.
        grid: Spacing, shape and size of the dataset.
        constants: The numbers of the rules.

    Returns:
        The configuration, and a decision for each of its values.
    """
    first = 1 if name == "2d" else 0
    spacing, median, axes = grid.spacing_mm[first:], grid.median_shape[first:], grid.axes[first:]
    budget = Budget(len(spacing), grid.num_labels, grid.memory_gib, constants)
    fit = fit_patch(spacing, median, budget)
    topology = fit.topology
    cap = batch_cap(grid.num_dataset_voxels, topology.patch_size, constants)
    batch_size = max(min(budget.batch_size(topology), cap), constants.min_batch_size)
    configuration = Configuration(
        name=name,
        spacing_mm=spacing,
        median_shape=median,
        patch_size=topology.patch_size,
        batch_size=batch_size,
        batch_dice=name == "2d",
        network=_network(topology, constants),
    )
    reasons = {
        "spacing_mm": (millimetres(spacing), _explain_spacing(grid, first)),
        "median_shape": (by_axis(median), _explain_median_shape(grid, first)),
        "patch_size": (by_axis(topology.patch_size), _explain_patch(fit, median, axes, budget)),
        "strides": (by_stage(topology.strides), explain_strides(topology, spacing, axes, constants)),
        "kernel_sizes": (by_stage(topology.kernel_sizes), explain_kernels(topology, spacing, axes, constants)),
        "features": (_listed(configuration.network.features), _explain_features(budget)),
        "num_convs": (_listed(configuration.network.num_convs_encoder), _explain_convs(topology, constants)),
        "batch_size": (number(batch_size), _explain_batch(topology, cap, grid, budget)),
        "batch_dice": ("yes" if configuration.batch_dice else "no", _explain_batch_dice(name)),
    }
    return configuration, tuple(
        Decision(name=f"{name}.{key}", value=value, reason=reason) for key, (value, reason) in reasons.items()
    )


def _network(topology: Topology, constants: PlannerConstants) -> NetworkPlan:
    num_convs = (constants.num_convs_per_stage,) * topology.num_stages
    return NetworkPlan(
        name=NETWORK_NAME,
        features=features_per_stage(topology.num_stages, len(topology.patch_size), constants),
        kernel_sizes=topology.kernel_sizes,
        strides=topology.strides,
        num_convs_encoder=num_convs,
        num_convs_decoder=num_convs[1:],
    )


def _listed(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)


def _explain_spacing(grid: Grid, first: int) -> str:
    if not first or grid.median_shape[0] == 1:
        return "the dataset's target spacing"
    return (
        f"the dataset's target spacing within slices; a 2D network sees nothing along {grid.axes[0]}, so slices keep "
        f"the distance they came with"
    )


def _explain_median_shape(grid: Grid, first: int) -> str:
    slices = f"slices, across {grid.axes[0]}, of the" if first else "the"
    return f"median shape of {slices} cropped cases at {millimetres(grid.spacing_mm[first:])}"


def _explain_patch(fit: PatchFit, median: Sequence[float], axes: Sequence[str], budget: Budget) -> str:
    """How the patch came about: equal edges in mm, the median shape, the strides, the memory."""
    constants = budget.constants
    form, power = ("square", 2) if len(median) == 2 else ("cube", 3)
    edge = constants.of(power).initial_patch_edge
    parts = [f"a {form} in mm of {edge}^{power} voxels is {by_axis(fit.initial)}"]
    if fit.clipped != fit.initial:
        parts.append(f"clipped to the median shape {by_axis(median)} it is {by_axis(fit.clipped)}")
    if fit.first.patch_size != fit.clipped:
        parts.append(f"padded to be divisible by {by_axis(fit.first.divisor)} it is {by_axis(fit.first.patch_size)}")
    before, after = millions(budget.cost(fit.first)), millions(budget.cost(fit.topology))
    fits = budget.fits(fit.topology)
    limit = f"the {millions(budget.patch_limit)} that fill {number(budget.memory_gib)} GiB"
    limit += f" at batch size {constants.budget_batch_size}"
    if fit.topology == fit.first:
        parts.append(f"its feature maps have {after} elements, {'within' if fits else 'more than'} {limit}")
    else:
        shortened = [
            f"{name} from {old} to {new}"
            for name, old, new in zip(axes, fit.first.patch_size, fit.topology.patch_size, strict=True)
            if old != new
        ]
        parts.append(
            f"its feature maps have {before} elements, more than {limit}, so it was shortened, always along the "
            f"axis that covers most of the median shape, until {after} were left: {listed(shortened)}"
        )
    if not fits:
        parts.append("no axis can be shortened any further, so it may not fit")
    return "; ".join(parts)


def _explain_features(budget: Budget) -> str:
    limit = budget.constants.of(budget.num_spatial_dims).max_features
    return (
        f"{budget.constants.base_features} at full resolution, doubled from stage to stage, at most {limit} in "
        f"{budget.num_spatial_dims}D"
    )


def _explain_convs(topology: Topology, constants: PlannerConstants) -> str:
    return (
        f"{constants.num_convs_per_stage} in each of {counted(topology.num_stages, 'stage')}, encoder and decoder "
        f"alike, as in the U-Net of 2015"
    )


def _explain_batch(topology: Topology, cap: int, grid: Grid, budget: Budget) -> str:
    constants = budget.constants
    held, smallest = budget.batch_size(topology), constants.min_batch_size
    share = number(100 * constants.max_batch_share)
    verdict = "the smaller number counts" if min(held, cap) >= smallest else f"but no batch is smaller than {smallest}"
    return (
        f"{number(grid.memory_gib)} GiB hold {held} patches of {millions(budget.cost(topology))} feature-map elements; "
        f"the {share} % of the dataset's {millions(grid.num_dataset_voxels)} voxels that a batch may cover make {cap}; "
        f"{verdict}"
    )


def _explain_batch_dice(name: str) -> str:
    if name == "2d":
        return "a single slice often holds no foreground, so the Dice loss pools over the batch"
    return (
        "each patch has a Dice of its own; nnU-Net pools it only beside a low-resolution cascade, which is not planned"
    )
