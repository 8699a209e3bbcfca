"""Which objects of two maps belong together: lesions of a mask, or numbered objects of an instance map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autounet.geometry import Array

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Overlaps:
    """The objects of a reference and a prediction, and which of them share voxels.

    Attributes:
        reference_voxels: `(num_reference,)` size of each object.
        predicted_voxels: `(num_predicted,)`.
        reference: `(num_pairs,)` index of the reference's object, for each pair that shares voxels.
        predicted: `(num_pairs,)` index of the prediction's object.
        shared_voxels: `(num_pairs,)`.
    """

    reference_voxels: Integers
    predicted_voxels: Integers
    reference: Integers
    predicted: Integers
    shared_voxels: Integers

    @property
    def num_reference(self) -> int:
        """Objects of the reference."""
        return len(self.reference_voxels)

    @property
    def num_predicted(self) -> int:
        """Objects of the prediction."""
        return len(self.predicted_voxels)

    @property
    def union_voxels(self) -> Integers:
        """`(num_pairs,)` voxels of either."""
        sizes = self.reference_voxels[self.reference] + self.predicted_voxels[self.predicted]
        return np.asarray(sizes - self.shared_voxels)

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """`(num_pairs,)` intersection over union."""
        return np.asarray(self.shared_voxels / self.union_voxels)

    def num_matched(self, min_iou: float) -> int:
        """How many objects find a partner of at least this IoU, each only one: as many as can be at once."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_bipartite_matching

        enough = self.iou >= min_iou
        if not enough.any():
            return 0
        edges = (np.ones(np.count_nonzero(enough)), (self.reference[enough], self.predicted[enough]))
        partners = maximum_bipartite_matching(csr_array(edges, shape=(self.num_reference, self.num_predicted)))
        return int((partners >= 0).sum())


def overlaps(reference: Array, prediction: Array) -> Overlaps:
    """Count the shared voxels of two maps `(*spatial)` of numbered objects; 0 is background."""
    some = (reference > 0) | (prediction > 0)
    first, second = reference[some].astype(np.int64), prediction[some].astype(np.int64)
    width = int(second.max(initial=0)) + 1
    pairs, voxels = np.unique(first * width + second, return_counts=True)
    first, second = np.divmod(pairs, width)
    first_index, first_voxels = _objects(first, voxels)
    second_index, second_voxels = _objects(second, voxels)
    both = (first > 0) & (second > 0)
    return Overlaps(first_voxels, second_voxels, first_index[both], second_index[both], voxels[both])


def _objects(numbers: Integers, voxels: Integers) -> tuple[Integers, Integers]:
    """The place of each number among those above 0, and how many voxels each of these has in all."""
    objects = np.unique(numbers[numbers > 0])
    index = np.searchsorted(objects, numbers)
    sizes = np.bincount(index[numbers > 0], weights=voxels[numbers > 0], minlength=len(objects))
    return index, sizes.astype(np.int64)
