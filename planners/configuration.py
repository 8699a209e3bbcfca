"""One configuration: patch, network and batch on a given grid, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autounet.errors import RequestError
from autounet.geometry import Triple
from autounet.network_plan import OptionValue
from autounet.networks import NETWORKS
from autounet.planners.budget import Budget
from autounet.planners.constants import PlannerConstants
from autounet.planners.network import network_plan, planned_options
from autounet.planners.patch import PatchSearch
from autounet.planners.reasons import by_axis, by_stage, counted, millimetres, number
from autounet.planners.request import PlanRequest
from autounet.planners.topology import Topology, explain_kernels, explain_strides
from autounet.planners.width import Narrowing
from autounet.plans import Configuration, Decision


@dataclass(frozen=True)
class Grid:
    """What a configuration is planned from; axes in the plan's order.

    Attributes:
        spacing_mm: Target spacing.
        median_shape: Median shape of the cropped cases at that spacing.
        num_voxels: Of the median case, before its shape is rounded.
        num_cases: Training cases.
        axes: Name that each axis has in the images.
    """

    spacing_mm: Triple
    median_shape: Triple
    num_voxels: float
    num_cases: int
    axes: tuple[str, str, str]

    @property
    def num_dataset_voxels(self) -> float:
        """Voxels of the whole dataset, every case counted as the median one."""
        return self.num_voxels * self.num_cases


@dataclass(frozen=True)
class Rules:
    """What all configurations of a plan are made by.

    Attributes:
        constants: The numbers of the rules.
        budget: Limits patch and batch.
        request: What the user asked for; axes in the plan's order.
        num_channels: Input channels of the images.
    """

    constants: PlannerConstants
    budget: Budget
    request: PlanRequest
    num_channels: int


def plan_configuration(
    name: str, grid: Grid, rules: Rules, *, num_earlier_classes: int = 0
) -> tuple[Configuration, tuple[Decision, ...]]:
    """Plan `2d` or a 3D configuration on a grid. Whether the Dice loss pools over the batch is decided later.

    Args:
        name: Its name; `2d` leaves out the first axis.
        grid: Spacing, shape and size of the dataset.
        rules: Constants, budget and wishes.
        num_earlier_classes: Further input channels, of a stage before.

    Returns:
        The configuration, and a decision for each of its values.
    """
    first = 1 if name == "2d" else 0
    num_inputs = rules.num_channels + num_earlier_classes
    width, request = _search(name, grid, rules, num_inputs)
    search = width.search
    spacing, median, axes, constants = search.spacing_mm, search.median_shape, search.axes, search.constants
    fit = rules.budget.fit(search, grid.num_dataset_voxels, batch_size=request.batch_size, num_inputs=num_inputs)
    topology, network = fit.topology, network_plan(fit.topology, constants)
    configuration = Configuration(
        name=name,
        spacing_mm=spacing,
        median_shape=median,
        patch_size=topology.patch_size,
        batch_size=fit.batch_size,
        batch_dice=name == "2d",
        network=network,
        fixed_sizes=request.has_sizes,
        memory=fit.memory,
    )
    reasons = {
        "spacing_mm": _explain_spacing(grid, first),
        "median_shape": _explain_median_shape(grid, first),
        "patch_size": fit.patch_reason,
        "strides": explain_strides(topology, spacing, axes, constants),
        "kernel_sizes": explain_kernels(topology, spacing, axes, constants),
        "features": _explain_features(width, request),
        "num_convs": _explain_depths(topology, constants),
        "batch_size": fit.batch_reason,
    }
    reasons |= {entry.name: entry.reason for entry in planned_options(topology, constants)}
    reasons |= {name: "requested by the user" for name, _ in constants.options}
    values, alternatives = decided_values(configuration), {"patch_size": fit.patch_alternatives}
    return configuration, tuple(
        Decision(name=f"{name}.{key}", value=values[key], reason=reason, alternatives=alternatives.get(key, ()))
        for key, reason in reasons.items()
        if key not in constants.unread
    )


def may_cover(name: str, grid: Grid, rules: Rules, share: float) -> bool:
    """Whether the patch of a configuration may cover that share of the median case; no where it surely does not.

    Args:
        name: Of the configuration.
        grid: As for `plan_configuration`.
        rules: As for `plan_configuration`.
        share: Of the voxels.
    """
    width, request = _search(name, grid, rules, rules.num_channels)
    return rules.budget.may_hold(
        width.search, share * grid.num_voxels, batch_size=request.batch_size, num_inputs=rules.num_channels
    )


def decided_values(configuration: Configuration) -> dict[str, str]:
    """The values of a configuration as its decisions tell them, by the last part of the decision's name.

    What the network does not read of its plan is left out.
    """
    network = configuration.network
    values = {
        "spacing_mm": millimetres(configuration.spacing_mm),
        "median_shape": by_axis(configuration.median_shape),
        "patch_size": by_axis(configuration.patch_size),
        "strides": by_stage(network.strides),
        "kernel_sizes": by_stage(network.kernel_sizes),
        "features": _listed(network.features),
        "num_convs": _listed(network.num_convs_encoder),
        "batch_size": number(configuration.batch_size),
        "batch_dice": "yes" if configuration.batch_dice else "no",
        **{name: _written(value) for name, value in network.options},
    }
    unread = NETWORKS.find(network.name).design.unread
    return {name: value for name, value in values.items() if name not in unread}


def _written(value: OptionValue) -> str:
    return by_axis(value) if isinstance(value, tuple) else str(value)


def _search(name: str, grid: Grid, rules: Rules, num_inputs: int) -> tuple[Narrowing, PlanRequest]:
    """The patches of a configuration, for a network as wide as it will be, and the wishes that are meant for it."""
    first = 1 if name == "2d" else 0
    spacing, median, axes = grid.spacing_mm[first:], grid.median_shape[first:], grid.axes[first:]
    request = rules.request if rules.request.concerns(name, len(spacing)) else PlanRequest()
    search = PatchSearch(spacing, median, axes, _overridden(rules.constants, request), request.patch_size)
    if request.features is not None:
        return Narrowing(search), request
    return rules.budget.narrowed(search, batch_size=request.batch_size, num_inputs=num_inputs), request


def _overridden(constants: PlannerConstants, request: PlanRequest) -> PlannerConstants:
    """The constants with the widths and the number of stages that the user asks for."""
    if request.features is not None and request.features % constants.width_multiple:
        raise RequestError(
            f"--features {request.features}: the network '{constants.network}' needs a multiple of "
            f"{constants.width_multiple}"
        )
    return replace(
        constants,
        base_features=request.features or constants.base_features,
        max_stages=request.num_stages or constants.max_stages,
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


def _explain_features(width: Narrowing, request: PlanRequest) -> str:
    constants, num_spatial_dims = width.search.constants, width.search.num_spatial_dims
    limit = constants.of(num_spatial_dims).max_features
    asked = " (requested by the user)" if request.features else ""
    alike = "" if constants.stem_doubles else " and in stage 2"
    return (
        f"{constants.base_features} at full resolution{asked}{alike}, doubled from stage to stage, at most {limit} in "
        f"{num_spatial_dims}D{'; ' if width.reason else ''}{width.reason}"
    )


def _explain_depths(topology: Topology, constants: PlannerConstants) -> str:
    stages = counted(topology.num_stages, "stage")
    encoder, decoder = constants.depths(topology.num_stages)
    if len({*encoder, *decoder}) == 1:
        return f"{encoder[0]} in each of {stages}, encoder and decoder alike, as in the U-Net of 2015"
    blocks = f"blocks of {stages} of '{constants.network}', as its paper has them"
    if "num_convs_decoder" in constants.unread:
        return blocks
    of_decoder = (
        f"{decoder[0]} in each decoder stage" if len(set(decoder)) == 1 else f"{_listed(decoder)} in the decoder"
    )
    return f"{blocks}; {of_decoder}"
