"""The planner of nnU-Net v2 (`ExperimentPlanner`): configurations `2d` and `3d_fullres` with the plain U-Net.

Source: Isensee et al., Nature Methods 2021; nnU-Net v2.8.1, `default_experiment_planner.py`. Deviations: there is no
low-resolution cascade yet, so `3d_fullres` never pools its Dice over the batch; images with one slice are planned in
2D whatever their spacing across (nnU-Net calls it 999); the number of cases is counted, not read from `numTraining`.
"""

from __future__ import annotations

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.geometry import Triple, permuted
from autounet.planners.configuration import Grid, plan_configuration
from autounet.planners.constants import NNUNET
from autounet.planners.normalization import normalization, use_mask
from autounet.planners.reasons import by_axis, counted, millimetres, number
from autounet.planners.spacing import AXES, axis_order, median_shape, single_slice_cases, target_spacing
from autounet.plans import ChannelPlan, Configuration, Decision, Plan

PLANNER_NAME = "nnunet"


def plan(
    fingerprint: Fingerprint,
    description: DatasetDescription,
    *,
    memory_gib: float = NNUNET.reference_memory_gib,
    spacing_mm: Triple | None = None,
) -> Plan:
    """Plan a dataset as nnU-Net does.

    Args:
        fingerprint: What was measured on the training cases.
        description: What `dataset.json` says.
        memory_gib: Memory of the device to plan for.
        spacing_mm: Target spacing `(z, y, x)` in the images' own axis order, instead of the rule's.

    Raises:
        RequestError: There is no case, a number is not positive, or fingerprint and `dataset.json` disagree.
    """
    _require_plannable(fingerprint, description, memory_gib, spacing_mm)
    shapes = [case.shape_after_crop for case in fingerprint.cases]
    spacings = [case.spacing_mm for case in fingerprint.cases]
    dimensions = single_slice_cases([case.shape for case in fingerprint.cases])
    is_2d = dimensions.value
    target = target_spacing(spacings, shapes, single_slices=is_2d, requested_mm=spacing_mm)
    order = axis_order(target.value, single_slices=is_2d)
    channels, channel_decisions = _plan_channels(fingerprint, description)
    spacing: Triple = permuted(target.value, order.value)
    median: Triple = permuted(median_shape(spacings, shapes, target.value), order.value)
    grid = Grid(
        spacing_mm=spacing,
        median_shape=median,
        axes=tuple(AXES[axis] for axis in order.value),
        num_cases=len(shapes),
        num_labels=_num_label_entries(description),
        memory_gib=memory_gib,
    )
    # With one slice left there is nothing for a 3D network to see.
    names = ["2d"] if is_2d or median[0] == 1 else ["2d", "3d_fullres"]
    planned = [plan_configuration(name, grid) for name in names]
    decisions = [
        dimensions.decision("dimensions"),
        target.decision("target_spacing_mm"),
        order.decision("transpose_forward"),
        _explain_median_shape(grid),
        _explain_names(names, grid),
        *channel_decisions,
    ]
    for _, reasons in planned:
        decisions.extend(reasons)
    return Plan(
        dataset_name=fingerprint.dataset_name,
        planner=PLANNER_NAME,
        file_ending=description.file_ending,
        labels=description.labels,
        channels=channels,
        transpose_forward=order.value,
        median_spacing_mm=spacing,
        median_shape=median,
        configurations=_by_name([configuration for configuration, _ in planned]),
        decisions=tuple(decisions),
    )


def _require_plannable(
    fingerprint: Fingerprint, description: DatasetDescription, memory_gib: float, spacing_mm: Triple | None
) -> None:
    """Refuse what no rule can plan."""
    name = fingerprint.dataset_name
    if not fingerprint.cases:
        raise RequestError(f"{name} has no training cases, so there is nothing to plan from. Add images and labels.")
    if not memory_gib > 0:
        raise RequestError(f"memory_gib must be positive, got {memory_gib}. Name the device's memory, for example 8.")
    if spacing_mm is not None and not min(spacing_mm) > 0:
        raise RequestError(f"spacing_mm must be three positive numbers (z, y, x), got {spacing_mm}")
    measured, named = len(fingerprint.intensities), len(description.channel_names)
    if measured != named:
        raise RequestError(
            f"the fingerprint of {name} measured {counted(measured, 'channel')}, but its dataset.json names {named}: "
            f"{', '.join(description.channel_names)}. Take the fingerprint again."
        )


def _num_label_entries(description: DatasetDescription) -> int:
    """Entries of `labels` in `dataset.json`: classes or regions, background, and ignore where there is one."""
    labels = description.labels
    return labels.num_classes + 1 + (labels.ignore_value is not None)


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


def _by_name(configurations: list[Configuration]) -> dict[str, Configuration]:
    return {configuration.name: configuration for configuration in configurations}


def _explain_median_shape(grid: Grid) -> Decision:
    return Decision(
        name="median_shape",
        value=by_axis(grid.median_shape),
        reason=f"median of {counted(grid.num_cases, 'case')}, cropped and resampled to {millimetres(grid.spacing_mm)}",
    )


def _explain_names(names: list[str], grid: Grid) -> Decision:
    slices = f"{number(grid.median_shape[0])} along {grid.axes[0]}"
    reason = (
        f"the median case has one slice ({slices}), so a 3D network has nothing to gain"
        if len(names) == 1
        else f"the median case has several slices ({slices}), so both 2D and 3D networks can be trained and compared"
    )
    return Decision(name="configurations", value=", ".join(names), reason=reason)
