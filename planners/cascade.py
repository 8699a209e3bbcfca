"""The low-resolution configuration, and the second stage that refines it at full resolution.

Rule: nnU-Net v2, `default_experiment_planner.py` (`plan_experiment`). Where the full-resolution patch covers too little
of the median case to see context, the spacing grows until a patch covers enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autounet.geometry import Triple
from autounet.planners.configuration import Grid, Rules, may_cover, plan_configuration
from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.reasons import number
from autounet.plans import Configuration, Decision

LOW, FULL, SECOND = "3d_lowres", "3d_fullres", "3d_cascade_fullres"


@dataclass(frozen=True)
class LowResolution:
    """What the search for a low resolution found.

    Attributes:
        configuration: `None` where none is needed.
        decisions: Of the configuration; or the one that says why there is none.
    """

    configuration: Configuration | None
    decisions: tuple[Decision, ...]


def plan_low_resolution(full: Configuration, grid: Grid, rules: Rules) -> LowResolution:
    """Plan `3d_lowres` where it is needed.

    Args:
        full: The planned `3d_fullres`.
        grid: Its grid.
        rules: Constants, budget and wishes.
    """
    constants = rules.constants
    full_spacing = np.asarray(grid.spacing_mm)
    spacing = full_spacing.copy()
    covered = covered_in_full = float(np.prod(full.patch_size, dtype=np.float64)) / grid.num_voxels
    voxels, found = grid.num_voxels, None
    while covered < constants.lowres_coverage:
        spacing = _coarser(spacing, constants.lowres_spacing_step)
        shape = full_spacing / spacing * grid.median_shape
        voxels = float(np.prod(shape))
        low_grid = _low_grid(grid, spacing, shape)
        if may_cover(LOW, low_grid, rules, constants.lowres_coverage):
            found = plan_configuration(LOW, low_grid, rules)
            covered = float(np.prod(found[0].patch_size, dtype=np.float64)) / voxels
    limit = f"{number(100 * constants.lowres_coverage)} %"
    evidence = f"the patch of {FULL} covers {number(100 * covered_in_full)} % of the median case"
    if found is None:
        return _none(f"{evidence}, not less than {limit}, so it sees enough context")
    if grid.num_voxels / voxels < constants.lowres_min_reduction:
        reduction = f"{number(grid.num_voxels / voxels)} times fewer voxels"
        return _none(f"{evidence}, less than {limit}; but {reduction} would do, too little to gain from")
    reason = (
        f"{evidence}, less than {limit}; the spacing grew by {number(100 * (constants.lowres_spacing_step - 1))} % at "
        f"a time, first along axes more than twice as fine as the coarsest, until a patch covered as much"
    )
    return LowResolution(found[0], _with_reason(found[1], f"{LOW}.spacing_mm", reason))


def covering_spacing(
    spacing_mm: Triple, median_shape: Triple, patch_size: tuple[int, ...], constants: PlannerConstants = NNUNET
) -> Triple:
    """The finest spacing of the search at which a given patch covers enough of the median case.

    Args:
        spacing_mm: At full resolution.
        median_shape: At that spacing.
        patch_size: The patch, at any spacing.
        constants: The numbers of the rule.
    """
    full = np.asarray(spacing_mm)
    spacing = full.copy()
    while np.prod(patch_size, dtype=np.float64) / np.prod(full / spacing * median_shape) < constants.lowres_coverage:
        spacing = _coarser(spacing, constants.lowres_spacing_step)
    return _triple(spacing)


def second_stage(
    full: Configuration, grid: Grid, rules: Rules, *, num_earlier_classes: int
) -> tuple[Configuration, tuple[Decision, ...]]:
    """Plan `3d_cascade_fullres`: full resolution, with the first stage's classes as further inputs.

    Args:
        full: The planned `3d_fullres`, which is inherited from.
        grid: Its grid.
        rules: Constants, budget and wishes.
        num_earlier_classes: Classes of the first stage; 0 for a budget that does not count inputs.
    """
    stages = {"name": SECOND, "inherits_from": FULL, "previous_stage": LOW}
    same = f"inherited from {FULL}; what {LOW} predicts is given to the network as further channels"
    decision = Decision(name=f"{SECOND}.previous_stage", value=LOW, reason=same)
    if not num_earlier_classes:
        return full.model_copy(update=stages), (decision,)
    own, decisions = plan_configuration(SECOND, grid, rules, num_earlier_classes=num_earlier_classes)
    configuration = own.model_copy(update={**stages, "batch_dice": full.batch_dice})
    changed = [name for name in ("patch_size", "batch_size") if getattr(own, name) != getattr(full, name)]
    if own.network.features[0] != full.network.features[0]:
        changed.append("features")
    kept = tuple(entry for entry in decisions if entry.name.removeprefix(f"{SECOND}.") in changed)
    return configuration, (decision, *kept)


def _coarser(spacing_mm: npt.NDArray[np.float64], step: float) -> npt.NDArray[np.float64]:
    """The next spacing: fine axes first, until all are within a factor of two of the coarsest; then all together."""
    fine = spacing_mm.max() / spacing_mm > 2
    return np.where(fine, spacing_mm * step, spacing_mm) if fine.any() else spacing_mm * step


def _low_grid(grid: Grid, spacing_mm: npt.NDArray[np.float64], shape: npt.NDArray[np.float64]) -> Grid:
    """The grid at a coarser spacing; the rounded shape has no axis of no voxel."""
    rounded = np.maximum(np.round(shape), 1)
    return replace(
        grid, spacing_mm=_triple(spacing_mm), median_shape=_triple(rounded), num_voxels=float(np.prod(shape))
    )


def _triple(values: npt.NDArray[np.float64]) -> Triple:
    z, y, x = (float(value) for value in values)
    return (z, y, x)


def _none(reason: str) -> LowResolution:
    return LowResolution(None, (Decision(name=LOW, value="none", reason=reason),))


def _with_reason(decisions: Sequence[Decision], name: str, reason: str) -> tuple[Decision, ...]:
    return tuple(entry.model_copy(update={"reason": reason}) if entry.name == name else entry for entry in decisions)
