"""Voxel size to resample to, axis order, and the shapes that follow.

Rules: nnU-Net v2, `default_experiment_planner.py` (`determine_fullres_target_spacing`, `determine_transpose`).
Spacings and shapes are `(z, y, x)` in the images' own axis order until `axis_order` says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autounet.geometry import Shape3, Triple, resampled_shape
from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.reasons import Reasoned, counted, millimetres, number

AXES = ("z", "y", "x")


def target_spacing(
    spacings_mm: Sequence[Triple],
    shapes: Sequence[Shape3],
    *,
    single_slices: bool = False,
    requested_mm: Triple | None = None,
    constants: PlannerConstants = NNUNET,
) -> Reasoned[Triple]:
    """The voxel size of full resolution: the median, finer along the coarse axis of an anisotropic dataset.

    Args:
        spacings_mm: Voxel size of each case.
        shapes: Cropped shape of each case.
        single_slices: The images have one slice, so that no axis is there to be coarse.
        requested_mm: Taken as it is.
        constants: The numbers of the rule.
    """
    if requested_mm is not None:
        return Reasoned(requested_mm, millimetres(requested_mm), "requested by the user")
    measured = np.asarray(spacings_mm, dtype=np.float64)
    # The percentile, not the median: the two may differ in the last digit, and plans are compared digit for digit.
    target: npt.NDArray[np.float64] = np.percentile(measured, 50, axis=0)
    coarse = int(np.argmax(target))
    why = f"median of {counted(len(measured), 'case')}"
    if not single_slices:
        sizes: npt.NDArray[np.float64] = np.percentile(np.asarray(shapes), 50, axis=0)
        is_anisotropic, evidence = _anisotropy(target, sizes, coarse, constants)
        why += evidence
        if is_anisotropic:
            target[coarse], how = _finer(measured, target, coarse, constants)
            why += how
    value = _triple(target)
    return Reasoned(value, millimetres(value), why)


def _anisotropy(
    target_mm: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], coarse: int, constants: PlannerConstants
) -> tuple[bool, str]:
    """Whether the coarse axis is far coarser than the others and has far fewer voxels, and the clause that says so."""
    next_mm = float(np.delete(target_mm, coarse).max())
    fewest = float(np.delete(sizes, coarse).min())
    limit = constants.anisotropy_threshold
    is_anisotropic = bool(target_mm[coarse] > limit * next_mm and sizes[coarse] * limit < fewest)
    ratio = float(target_mm[coarse]) / next_mm
    if ratio == 1:
        return is_anisotropic, ""
    compared = (
        f"axis {AXES[coarse]} is {number(ratio)} times coarser than the next and holds {number(float(sizes[coarse]))} "
        f"voxels against {number(fewest)}"
    )
    if is_anisotropic:
        return True, f"; but {compared}, both by more than a factor of {number(limit)}"
    return False, f"; {compared}, not both by more than a factor of {number(limit)}, so its median is fine enough"


def _finer(
    measured_mm: npt.NDArray[np.float64], target_mm: npt.NDArray[np.float64], coarse: int, constants: PlannerConstants
) -> tuple[float, str]:
    """The spacing of an anisotropic dataset's coarse axis, which keeps the slices of the finer cases."""
    percentile = constants.anisotropic_percentile
    fine = float(np.percentile(measured_mm[:, coarse], percentile))
    how = (
        f", so that axis takes the {number(percentile)}th percentile of its spacings, {number(fine)} mm, instead of "
        f"the median {number(float(target_mm[coarse]))} mm"
    )
    next_mm = float(np.delete(target_mm, coarse).max())
    if fine >= next_mm:
        return fine, how
    return next_mm + constants.anisotropic_margin_mm, f"{how}, raised to stay the coarsest axis"


def axis_order(spacing_mm: Triple, *, single_slices: bool = False) -> Reasoned[Shape3]:
    """The axis order of prepared arrays: the coarsest axis first, so that 2D slices are cut along the finest two.

    Returns:
        Entry `i` is the image's axis that becomes axis `i`.
    """
    if single_slices:
        return _order((0, 1, 2), "the images have one slice, which stays the first axis")
    first = int(np.argmax(spacing_mm))
    second, third = (axis for axis in range(3) if axis != first)
    if spacing_mm.count(spacing_mm[first]) == 3:
        return _order((0, 1, 2), f"all axes have the same spacing of {number(spacing_mm[0])} mm, so the order is kept")
    kept = "and already is the first" if first == 0 else "so it becomes the first"
    return _order(
        (first, second, third),
        f"axis {AXES[first]} has the largest spacing, {number(spacing_mm[first])} of {millimetres(spacing_mm)}, {kept}",
    )


def median_shape(
    spacings_mm: Sequence[Triple], shapes: Sequence[Shape3], target_spacing_mm: Triple
) -> tuple[float, float, float]:
    """Median of the cases' cropped shapes after resampling to the target spacing; may end in one half."""
    resampled = [
        resampled_shape(shape, spacing, target_spacing_mm) for shape, spacing in zip(shapes, spacings_mm, strict=True)
    ]
    return _triple(np.median(np.asarray(resampled), axis=0))


def single_slice_cases(shapes: Sequence[Shape3]) -> Reasoned[bool]:
    """Whether the dataset holds 2D images: every case has one slice.

    nnU-Net gives 2D images a spacing of 999 mm across, so that its rules for coarse axes find this out by themselves.
    """
    slices = [shape[0] for shape in shapes]
    if max(slices) == 1:
        return Reasoned(
            True, "2D", f"all {counted(len(slices), 'case')} have one slice, so there is no third dimension"
        )
    fewest, most = min(slices), max(slices)
    span = str(most) if fewest == most else f"{fewest} to {most}"
    return Reasoned(False, "3D", f"cases have {span} slices along z")


def _order(order: Shape3, reason: str) -> Reasoned[Shape3]:
    return Reasoned(order, ", ".join(AXES[axis] for axis in order), reason)


def _triple(values: npt.NDArray[np.float64]) -> Triple:
    z, y, x = (float(value) for value in values)
    return (z, y, x)
