"""How well the objects of an instance map were found and outlined: average precision, aggregated Jaccard, counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autounet.evaluation.metrics import IOU_PERCENT
from autounet.evaluation.objects import Overlaps, overlaps
from autounet.geometry import Array


@dataclass(frozen=True)
class InstanceScores:
    """Objects of one image; shares are `None` where neither map shows an object.

    Attributes:
        num_reference: Objects of the reference.
        num_predicted: Objects of the prediction.
        precision_at: For each of `IOU_PERCENT`, `TP / (TP + FP + FN)` over objects that match at this IoU.
        f1_at_50: `2 TP / (2 TP + FP + FN)` at an IoU of 0.5.
        aji: Aggregated Jaccard index.
    """

    num_reference: int
    num_predicted: int
    precision_at: tuple[float | None, ...]
    f1_at_50: float | None
    aji: float | None

    @property
    def average_precision(self) -> float | None:
        """Mean over the thresholds, as in the Data Science Bowl 2018 (Caicedo et al. 2019)."""
        known = [value for value in self.precision_at if value is not None]
        return sum(known) / len(known) if known else None


def instance_scores(reference: Array, prediction: Array) -> InstanceScores:
    """Compare two maps `(*spatial)` of objects, 0 for background and another number for each object."""
    pairs = overlaps(reference, prediction)
    total = pairs.num_reference + pairs.num_predicted
    # Without confidences, the precision of a prediction at one threshold is a single number.
    matched = [pairs.num_matched(percent / 100) for percent in IOU_PERCENT]
    return InstanceScores(
        num_reference=pairs.num_reference,
        num_predicted=pairs.num_predicted,
        precision_at=tuple(count / (total - count) if total else None for count in matched),
        f1_at_50=2 * matched[0] / total if total else None,
        aji=_aggregated_jaccard(pairs) if total else None,
    )


def _aggregated_jaccard(pairs: Overlaps) -> float:
    """Kumar et al. 2017, "A dataset and a technique for generalized nuclear segmentation", algorithm 1.

    Every object of the reference goes with the predicted one of the highest IoU, which may serve several; what is
    left over on either side counts into the union alone.
    """
    # Of the pairs of an object, the one of the highest IoU comes last.
    order = np.lexsort((pairs.iou, pairs.reference))
    best = order[np.append(np.diff(pairs.reference[order]) > 0, True)] if len(order) else order
    alone = np.setdiff1d(np.arange(pairs.num_reference), pairs.reference)
    unused = np.setdiff1d(np.arange(pairs.num_predicted), pairs.predicted[best])
    union = pairs.union_voxels[best].sum() + pairs.reference_voxels[alone].sum() + pairs.predicted_voxels[unused].sum()
    return float(pairs.shared_voxels[best].sum() / union)
