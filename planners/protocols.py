"""Whether a dataset mixes imaging protocols, thick and thin slices say, and what other target spacings would cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autounet.geometry import Shape3, Triple
from autounet.planners.reasons import by_axis, counted, millimetres, number
from autounet.planners.spacing import AXES, median_shape
from autounet.plans import Decision

# Sorted spacings that jump by more than this belong to different protocols.
_GAP = 1.5
_MAX_GROUPS = 5
_PERCENTILES = (10, 50, 90)


def explain_protocols(
    spacings_mm: Sequence[Triple], shapes: Sequence[Shape3], target_mm: Triple
) -> tuple[Decision, ...]:
    """The distribution of spacings with the price of other targets; nothing where all cases share one spacing.

    Args:
        spacings_mm: Voxel size `(z, y, x)` of each case.
        shapes: Cropped shape of each case.
        target_mm: The target that was chosen.
    """
    measured = np.asarray(spacings_mm, dtype=np.float64)
    spread: npt.NDArray[np.float64] = measured.max(axis=0) / measured.min(axis=0)
    axis = int(np.argmax(spread))
    if spread[axis] < 1.01:
        return ()
    groups = _groups(measured[:, axis])
    ends = [number(float(value)) for value in np.percentile(measured[:, axis], (0, *_PERCENTILES, 100))]
    distribution = (
        f"spacing along {AXES[axis]} runs from {ends[0]} to {ends[4]} mm (10th percentile {ends[1]}, median {ends[2]}, "
        f"90th {ends[3]})"
    )
    if len(groups) == 1:
        value, verdict = "one", "without a gap, so the cases are taken for one protocol"
    else:
        value = f"{len(groups)} along {AXES[axis]}"
        parts = [
            f"{counted(len(group), 'case')} at {_span(float(group[0]), float(group[-1]))} mm"
            for group in groups[:_MAX_GROUPS]
        ]
        more = f", and {len(groups) - _MAX_GROUPS} more groups" if len(groups) > _MAX_GROUPS else ""
        verdict = f"in {len(groups)} groups: {', '.join(parts)}{more}; all are resampled to one spacing"
    decision = Decision(
        name="protocols",
        value=value,
        reason=f"{distribution}, {verdict}",
        alternatives=_alternatives(measured, spacings_mm, shapes, target_mm),
    )
    return (decision,)


def _groups(values: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Sorted values, split where the next is far larger."""
    ordered = np.sort(values)
    return np.split(ordered, np.flatnonzero(ordered[1:] / ordered[:-1] > _GAP) + 1)


def _alternatives(
    measured: npt.NDArray[np.float64], spacings_mm: Sequence[Triple], shapes: Sequence[Shape3], target_mm: Triple
) -> tuple[str, ...]:
    """Other targets, each with the median case's shape and its voxels against those of the target chosen."""
    voxels = float(np.prod(median_shape(spacings_mm, shapes, target_mm)))
    sentences = []
    for percentile in _PERCENTILES:
        z, y, x = (float(value) for value in np.percentile(measured, percentile, axis=0))
        if np.allclose((z, y, x), target_mm, rtol=0.01):
            continue
        shape = median_shape(spacings_mm, shapes, (z, y, x))
        name = "median" if percentile == 50 else f"{percentile}th percentile"
        sentences.append(
            f"{millimetres((z, y, x))} ({name}): the median case has {by_axis(shape)} voxels, "
            f"{number(float(np.prod(shape)) / voxels)} times as many"
        )
    return tuple(sentences)


def _span(low: float, high: float) -> str:
    return number(low) if low == high else f"{number(low)} to {number(high)}"
