"""All decisions for a dataset, in their order: spacing, axes, channels, then the configurations.

Rules: nnU-Net v2, `default_experiment_planner.py` (`plan_experiment`).
"""

from __future__ import annotations

import math

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.geometry import Shape3, Triple, permuted
from autounet.planners.budget import Budget
from autounet.planners.cascade import FULL, LOW, SECOND, plan_low_resolution, second_stage
from autounet.planners.configuration import Grid, Rules, decided_values, plan_configuration
from autounet.planners.constants import PlannerConstants
from autounet.planners.laterality import plan_laterality
from autounet.planners.normalization import normalization, use_mask
from autounet.planners.protocols import explain_protocols
from autounet.planners.reasons import by_axis, counted, millimetres, number
from autounet.planners.request import PlanRequest
from autounet.planners.spacing import AXES, axis_order, median_shape, single_slice_cases, target_spacing
from autounet.plans import ChannelPlan, Configuration, Decision, Plan
from autounet.records import nearest

# Of a case, in float32: 400 GB.
_MOST_VOXELS = 1e11


def plan_experiment(
    name: str,
    fingerprint: Fingerprint,
    description: DatasetDescription,
    request: PlanRequest,
    constants: PlannerConstants,
    budget: Budget,
    memory_gib: float,
    *,
    counts_inputs: bool,
    asked_for: str | None = None,
) -> Plan:
    """Plan a dataset.

    Args:
        name: Of the planner.
        fingerprint: What was measured on the training cases.
        description: What `dataset.json` says.
        request: What the user asks for.
        constants: The numbers of the rules.
        budget: Limits patch and batch.
        memory_gib: Memory of the device to plan for.
        counts_inputs: Whether the budget knows what further input channels cost.
        asked_for: The network, where it is not the planner's own.

    Raises:
        RequestError: There is no case, or fingerprint and `dataset.json` disagree, or the request does not fit.
    """
    _require_plannable(fingerprint, description)
    shapes = [case.shape_after_crop for case in fingerprint.cases]
    spacings = [case.spacing_mm for case in fingerprint.cases]
    dimensions = single_slice_cases([case.shape for case in fingerprint.cases])
    is_2d = dimensions.value
    target = target_spacing(spacings, shapes, single_slices=is_2d, requested_mm=request.spacing_mm, constants=constants)
    order = axis_order(target.value, single_slices=is_2d)
    spacing: Triple = permuted(target.value, order.value)
    median: Triple = permuted(median_shape(spacings, shapes, target.value), order.value)
    _require_sane(request, median)
    # With one slice left there is nothing for a 3D network to see.
    has_volumes = not is_2d and median[0] != 1
    _require_axes(constants, has_volumes=has_volumes, dataset=fingerprint.dataset_name)
    z, y, x = (AXES[axis] for axis in order.value)
    grid = Grid(spacing, median, median[0] * median[1] * median[2], len(shapes), (z, y, x))
    channels, channel_decisions = _plan_channels(fingerprint, description)
    request = _in_plan_order(request, order.value)
    rules = Rules(constants, budget, request, len(channels))
    num_earlier = len(description.labels.foreground_values) if counts_inputs else 0
    configurations, reasons = _plan_configurations(grid, rules, has_volumes=has_volumes, num_earlier=num_earlier)
    _require_used(request, configurations, fingerprint.dataset_name)
    sides = plan_laterality(fingerprint.cases, description, order.value)
    decisions = (
        dimensions.decision("dimensions"),
        target.decision("target_spacing_mm"),
        *explain_protocols(spacings, shapes, target.value),
        order.decision("transpose_forward"),
        _explain_median_shape(grid),
        *channel_decisions,
        _explain_names(list(configurations), grid, constants),
        *sides.decisions,
        *reasons,
    )
    return Plan(
        dataset_name=fingerprint.dataset_name,
        planner=name,
        memory_gib=memory_gib,
        file_ending=description.file_ending,
        labels=description.labels,
        channels=channels,
        transpose_forward=order.value,
        median_spacing_mm=spacing,
        median_shape=median,
        configurations=configurations,
        decisions=decisions,
        laterality=sides.laterality,
        partially_annotated=description.is_partially_annotated,
        network=asked_for,
    )


def _in_plan_order(request: PlanRequest, order: Shape3) -> PlanRequest:
    """The request with its patch in the plan's axis order; a patch of two axes lies within slices in both."""
    if request.patch_size is None or len(request.patch_size) != 3:
        return request
    return request.model_copy(update={"patch_size": permuted(request.patch_size, order)})


def num_label_entries(description: DatasetDescription) -> int:
    """Entries of `labels` in `dataset.json`: classes or regions, background, and ignore where there is one."""
    labels = description.labels
    return labels.num_classes + 1 + (labels.ignore_value is not None)


def _plan_configurations(
    grid: Grid, rules: Rules, *, has_volumes: bool, num_earlier: int
) -> tuple[dict[str, Configuration], list[Decision]]:
    """`2d`, and for volumes `3d_fullres` with, where its patch sees too little, the two stages of a cascade.

    Those that the network is made for.
    """
    configurations: dict[str, Configuration] = {}
    decisions: list[Decision] = []
    if 2 in rules.constants.dims:
        configurations["2d"], reasons = plan_configuration("2d", grid, rules)
        decisions += [*reasons, _explain_batch_dice(configurations["2d"])]
    if not has_volumes or 3 not in rules.constants.dims:
        return configurations, decisions
    full, decisions_full = plan_configuration(FULL, grid, rules)
    low = plan_low_resolution(full, grid, rules)
    full = full.model_copy(update={"batch_dice": low.configuration is not None})
    decisions += [*decisions_full, _explain_batch_dice(full), *low.decisions]
    if low.configuration is None:
        return {**configurations, FULL: full}, decisions
    decisions.append(_explain_batch_dice(low.configuration))
    second, decisions_second = second_stage(full, grid, rules, num_earlier_classes=num_earlier)
    decisions += decisions_second
    return {**configurations, LOW: low.configuration, FULL: full, SECOND: second}, decisions


def _require_plannable(fingerprint: Fingerprint, description: DatasetDescription) -> None:
    """Refuse what no rule can plan."""
    name = fingerprint.dataset_name
    if not fingerprint.cases:
        raise RequestError(f"{name} has no training cases, so there is nothing to plan from. Add images and labels.")
    measured, named = len(fingerprint.intensities), len(description.channel_names)
    if measured != named:
        raise RequestError(
            f"the fingerprint of {name} measured {counted(measured, 'channel')}, but its dataset.json names {named}: "
            f"{', '.join(description.channel_names)}. Take the fingerprint again."
        )


def _require_sane(request: PlanRequest, median: Triple) -> None:
    """Refuse a spacing, typed wrongly perhaps, at which no computer could hold a case."""
    if request.spacing_mm is not None and math.prod(median) > _MOST_VOXELS:
        raise RequestError(
            f"at the requested spacing of {millimetres(request.spacing_mm)} the median case would have "
            f"{by_axis(median)} voxels. Give a coarser one with --spacing, in mm."
        )


def _require_used(request: PlanRequest, configurations: dict[str, Configuration], dataset: str) -> None:
    """Refuse wishes that no configuration answers to."""
    planned = ", ".join(configurations)
    for name in request.configurations:
        if name not in configurations:
            hint = nearest(name, list(configurations))
            raise RequestError(f"{dataset} has no configuration '{name}'.{hint} Planned: {planned}.")
    if request.patch_size is None:
        return
    if not any(request.concerns(name, entry.num_spatial_dims) for name, entry in configurations.items()):
        raise RequestError(
            f"a patch of {by_axis(request.patch_size)} has {len(request.patch_size)} axes, but none of the "
            f"configurations it is meant for has: {', '.join(request.configurations) or planned}. "
            f"Give two numbers for 2d, three for 3d."
        )


def _plan_channels(
    fingerprint: Fingerprint, description: DatasetDescription
) -> tuple[tuple[ChannelPlan, ...], list[Decision]]:
    """The normalisation of each channel, with its decisions."""
    channels, decisions = [], []
    for index, (name, statistics) in enumerate(zip(description.channel_names, fingerprint.intensities, strict=True)):
        scheme = normalization(name, statistics)
        masked = use_mask(scheme.value, fingerprint.median_relative_size_after_crop)
        decisions.append(scheme.decision(f"normalization of channel {index} ({name})"))
        decisions.append(masked.decision(f"use_mask of channel {index} ({name})"))
        channels.append(
            ChannelPlan(name=name, normalization=scheme.value, use_mask=masked.value, statistics=statistics)
        )
    return tuple(channels), decisions


def _explain_median_shape(grid: Grid) -> Decision:
    return Decision(
        name="median_shape",
        value=by_axis(grid.median_shape),
        reason=f"median of {counted(grid.num_cases, 'case')}, cropped and resampled to {millimetres(grid.spacing_mm)}",
    )


def _explain_names(names: list[str], grid: Grid, constants: PlannerConstants) -> Decision:
    slices = f"{number(grid.median_shape[0])} along {grid.axes[0]}"
    reason = (
        f"the median case has one slice ({slices}), so a 3D network has nothing to gain"
        if len(names) == 1
        else f"the median case has several slices ({slices}), so both 2D and 3D networks can be trained and compared"
    )
    if len(constants.dims) == 1:
        reason = f"the network '{constants.network}' is made for {constants.dims[0]}D"
    return Decision(name="configurations", value=", ".join(names), reason=reason)


def _require_axes(constants: PlannerConstants, *, has_volumes: bool, dataset: str) -> None:
    """Refuse a network of volumes for a dataset that has none."""
    if 2 not in constants.dims and not has_volumes:
        raise RequestError(
            f"the network '{constants.network}' is made for volumes, but {dataset} holds 2D images. "
            f"Choose another one: autounet networks lists them."
        )


def _explain_batch_dice(configuration: Configuration) -> Decision:
    reasons = {
        "2d": "a single slice often holds no foreground, so the Dice loss pools over the batch",
        FULL: (
            "patches cover little of a case and may hold no foreground, so the Dice loss pools over the batch"
            if configuration.batch_dice
            else "patches cover so much of a case that each has a Dice of its own"
        ),
        LOW: "patches cover so much of a case that each has a Dice of its own",
    }
    value = decided_values(configuration)["batch_dice"]
    return Decision(name=f"{configuration.name}.batch_dice", value=value, reason=reasons[configuration.name])
