"""How well the regions between boundaries, cells between membranes say, are told apart: the EM challenge's two scores.

Both are those of Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for
connectomics", Frontiers in Neuroanatomy 9:142, by which the ISBI 2012 challenge ranks: `V_Rand` and `V_Info`,
foreground-restricted, after the predicted boundaries were thinned. They count pixels, not pixels along boundaries: one
pixel that lacks in a membrane merges two cells, and costs as much as they are large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.evaluation.objects import Integers, Overlaps, overlaps
from autounet.geometry import Array


@dataclass(frozen=True)
class Agreement:
    """One score of two segmentations, told apart by what is wrong; 1 is best.

    Attributes:
        split: Less than 1 where a region of the reference lies in several predicted ones.
        merge: Less than 1 where a predicted region lies in several of the reference.
    """

    split: float
    merge: float

    @property
    def whole(self) -> float:
        """The harmonic mean of both, which is the score of the paper with alpha at 0.5."""
        total = self.split + self.merge
        return 2 * self.split * self.merge / total if total else 0.0


@dataclass(frozen=True)
class RegionScores:
    """Regions of one image.

    Attributes:
        rand: `V_Rand`: over pairs of voxels that lie in one region, how many do in both segmentations.
        info: `V_Info`: the information that both segmentations share, over that of each.
    """

    rand: Agreement
    info: Agreement


def region_scores(reference: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_]) -> RegionScores | None:
    """Compare the regions of two masks `(*spatial)`, in as many dimensions as these have.

    Args:
        reference: Where the reference has regions: whatever is no boundary, and counts.
        prediction: Where the prediction has regions.

    Returns:
        The scores; `None` where the reference has no region.
    """
    return partition_scores(connected_regions(reference), thinned(connected_regions(prediction)))


def connected_regions(inside: npt.NDArray[np.bool_]) -> Array:
    """Number the regions of a mask `(*spatial)` from 1; faces connect, so that a diagonal line of voxels parts two."""
    return np.asarray(ndimage.label(inside)[0])


def thinned(regions: Array) -> Array:
    """Let regions `(*spatial)` grow into what lies between them, until lines of one voxel part them.

    So it does not matter how broad predicted boundaries are, and ends of boundaries that part nothing vanish.
    """
    if not regions.any():
        return regions
    from skimage.segmentation import watershed  # takes a quarter of a second

    return np.asarray(watershed(np.zeros(regions.shape, np.uint8), regions, watershed_line=True))


def partition_scores(reference: Array, prediction: Array) -> RegionScores | None:
    """Compare two maps `(*spatial)` of numbered regions.

    Args:
        reference: 0 where voxels do not count.
        prediction: A voxel of 0 that counts is a region of its own, as in the challenge's program.

    Returns:
        The scores; `None` where no voxel counts.
    """
    table = overlaps(reference, np.where(reference > 0, prediction, 0))
    return RegionScores(_rand(table), _info(table)) if table.num_reference else None


def _rand(table: Overlaps) -> Agreement:
    """Equation 3 of the paper: `sum p_ij^2` over `sum t_j^2` (splits) and over `sum s_i^2` (mergers).

    `p_ij` is the share of voxels in the predicted region i and the region j of the reference, `s_i` and `t_j` are those
    in either.
    """
    alone = _num_alone(table)
    both, predicted = _squares(table.shared_voxels) + alone, _squares(table.predicted_voxels) + alone
    return Agreement(split=both / _squares(table.reference_voxels), merge=both / predicted)


def _info(table: Overlaps) -> Agreement:
    """Equation 6 of the paper: mutual information over the entropy of the prediction (splits) and of the reference.

    A segmentation of one region has no entropy, and nothing can be wrong in that direction.
    """
    total = int(table.reference_voxels.sum())
    of_reference, of_prediction, of_both = (
        _entropy(voxels, total) for voxels in (table.reference_voxels, table.predicted_voxels, table.shared_voxels)
    )
    # Voxels that are regions of their own add as much to the prediction's entropy as to that of both.
    shared = of_reference + of_prediction - of_both
    of_prediction += _num_alone(table) / total * float(np.log(total))
    return Agreement(
        split=shared / of_prediction if of_prediction else 1.0, merge=shared / of_reference if of_reference else 1.0
    )


def _num_alone(table: Overlaps) -> int:
    """Voxels that count and lie in no predicted region."""
    return int(table.reference_voxels.sum() - table.shared_voxels.sum())


def _squares(voxels: Integers) -> float:
    # As floating point numbers: the square of a volume's voxels may exceed 64 bits.
    return float(np.square(voxels, dtype=np.float64).sum())


def _entropy(voxels: Integers, total: int) -> float:
    """`- sum p log p` of regions of these sizes, `p = voxels / total`."""
    shares = voxels / total
    return float(-(shares * np.log(shares)).sum())
