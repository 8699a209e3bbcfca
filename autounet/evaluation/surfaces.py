"""How far the surfaces of two masks lie apart: HD95, average distance, surface Dice and boundary F1.

Definitions and results are those of Nikolov et al. 2018, "Deep learning to achieve clinically applicable segmentation
of head and neck anatomy for radiotherapy", and of the `surface-distance` package published with it: the points of a
surface are the corners of voxels at which the mask has voxels on both sides, each weighed by the area of surface
around it; distances go to the nearest point of the other surface. A mask is closed at the edge of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.evaluation.surface_elements import element_areas, neighbour_codes

# The share of a surface that the robust Hausdorff distance covers.
_HAUSDORFF_SHARE = 0.95
# Looking up a point in a tree takes as long as the distance transform of so many voxels.
_VOXELS_A_POINT = 4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceScores:
    """How well two surfaces agree; `None` where there is no surface to measure to.

    Attributes:
        hd95_mm: The distance within which 95 % of each surface lie from the other, the larger of both directions.
        assd_mm: Average symmetric surface distance: mean over the areas of both surfaces together.
        surface_dice: Share of the area of both surfaces that lies within the tolerance of the other; 0 if one is empty.
        boundary_f1: Harmonic mean of the shares of points of either surface that do; 0 if one is empty.
    """

    hd95_mm: float | None
    assd_mm: float | None
    surface_dice: float | None
    boundary_f1: float | None


@dataclass(frozen=True)
class _Way:
    """From the points of one surface to the nearest of the other, ascending: distances in mm, areas in mm^2."""

    distances_mm: Floats
    areas: Floats

    def share_within(self, tolerance_mm: float) -> float:
        """Share of the points."""
        return float((self.distances_mm <= tolerance_mm).mean())

    def area_within(self, tolerance_mm: float) -> float:
        return float(self.areas[self.distances_mm <= tolerance_mm].sum())

    def quantile_mm(self, share: float) -> float:
        """The distance within which this share of the area lies."""
        index = np.searchsorted(np.cumsum(self.areas) / self.areas.sum(), share)
        return float(self.distances_mm[min(int(index), len(self.distances_mm) - 1)])


def surface_scores(
    reference: npt.NDArray[np.bool_],
    prediction: npt.NDArray[np.bool_],
    spacing_mm: Sequence[float],
    tolerance_mm: float,
) -> SurfaceScores:
    """Compare the surfaces of two masks.

    Masks are measured as they are given: crop them to the box that holds both, which changes no score.

    Args:
        reference: `(*spatial)`, two or three axes.
        prediction: Of the same shape.
        spacing_mm: Of each axis.
        tolerance_mm: Up to this distance two surfaces count as one, in `surface_dice` and `boundary_f1`.

    Returns:
        Nothing but `None` if both are empty; if one is, no distances, and agreements of 0.
    """
    if not (reference.any() and prediction.any()):
        agreement = 0.0 if reference.any() or prediction.any() else None
        return SurfaceScores(hd95_mm=None, assd_mm=None, surface_dice=agreement, boundary_f1=agreement)
    forth, back = _ways(reference, prediction, spacing_mm)
    total = forth.areas.sum() + back.areas.sum()
    shares = forth.share_within(tolerance_mm), back.share_within(tolerance_mm)
    return SurfaceScores(
        hd95_mm=max(forth.quantile_mm(_HAUSDORFF_SHARE), back.quantile_mm(_HAUSDORFF_SHARE)),
        assd_mm=float((forth.distances_mm @ forth.areas + back.distances_mm @ back.areas) / total),
        surface_dice=float((forth.area_within(tolerance_mm) + back.area_within(tolerance_mm)) / total),
        boundary_f1=2 * shares[0] * shares[1] / sum(shares) if any(shares) else 0.0,
    )


def _ways(
    reference: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[_Way, _Way]:
    """From the reference's surface to the prediction's, and back."""
    areas = element_areas(spacing_mm)
    inside = len(areas) - 1
    codes = [neighbour_codes(mask) for mask in (reference, prediction)]
    surfaces = [(code != 0) & (code != inside) for code in codes]
    ways = []
    for one, other in ((0, 1), (1, 0)):
        distances_mm = _nearest_mm(surfaces[one], surfaces[other], np.asarray(spacing_mm, dtype=np.float64))
        weights = areas[codes[one][surfaces[one]]]
        order = np.lexsort((weights, distances_mm))
        ways.append(_Way(distances_mm=distances_mm[order], areas=weights[order]))
    return ways[0], ways[1]


def _nearest_mm(points: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_], spacing_mm: Floats) -> Floats:
    """The distance of each point to the nearest of the others, in C order.

    A distance transform takes its time for every voxel of the box, a tree for every point: of two balls of radius 100,
    4.3 s and 0.7 s; of noise, 0.06 s and 0.7 s.
    """
    start = np.argwhere(points)
    if _VOXELS_A_POINT * (len(start) + np.count_nonzero(others)) > points.size:
        return np.asarray(ndimage.distance_transform_edt(~others, sampling=spacing_mm)[points])
    from scipy.spatial import KDTree  # training, which measures no surfaces, need not wait for it

    end = np.argwhere(others)
    # A balanced tree splits at medians, of which a grid has many alike: noise then takes it minutes.
    tree = KDTree(end * spacing_mm, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(start * spacing_mm)
    # Steps of whole voxels, as in the distance transform: the same rounding, so the same side of a tolerance.
    return np.asarray(np.sqrt((((end[nearest] - start) * spacing_mm) ** 2).sum(axis=1)))
