"""Overlap of one prediction with its reference: voxel counts, Dice and intersection over union.

A pair of label maps is read once, into a confusion matrix over the values that occur in it. Labels and regions
are sums over that matrix, so that thirty classes cost no more than one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from autounet.errors import RequestError
from autounet.evaluation.metrics import Values
from autounet.geometry import Array
from autounet.labels import LabelSchema
from autounet.records import Record

# Up to this value the labels themselves index the matrix; 256 x 256 counts are small beside any image.
_DIRECT_MAXIMUM = 255


class Counts(Record):
    """Voxels of one class, told apart by what the reference and the prediction say."""

    tp: int
    fp: int
    fn: int
    tn: int


class ClassScore(Record):
    """One class in one case.

    Attributes:
        dice: `2 tp / (2 tp + fp + fn)`; `None` where neither map shows the class, for there is nothing to score.
        iou: `tp / (tp + fp + fn)`, intersection over union; `None` likewise.
        tp: Voxels in both.
        fp: Voxels in the prediction only.
        fn: Voxels in the reference only.
        tn: Voxels in neither.
        num_reference: Voxels of the class in the reference.
        num_predicted: Voxels of the class in the prediction.
        precision: `tp / (tp + fp)`, share of the predicted voxels that are right; `None` where there are none.
        recall: `tp / (tp + fn)`, share of the reference's voxels that were found; `None` where there are none.
        metrics: Those beyond overlap, as far as they were measured.
    """

    dice: float | None
    iou: float | None
    tp: int
    fp: int
    fn: int
    tn: int
    num_reference: int
    num_predicted: int
    precision: float | None = None
    recall: float | None = None
    metrics: Values = Field(default_factory=dict)

    @classmethod
    def of(cls, counts: Counts) -> ClassScore:
        """The scores that follow from the counts."""
        tp, fp, fn = counts.tp, counts.fp, counts.fn
        present = tp + fp + fn > 0
        return cls(
            dice=2 * tp / (2 * tp + fp + fn) if present else None,
            iou=tp / (tp + fp + fn) if present else None,
            tp=tp,
            fp=fp,
            fn=fn,
            tn=counts.tn,
            num_reference=tp + fn,
            num_predicted=tp + fp,
            precision=tp / (tp + fp) if tp + fp else None,
            recall=tp / (tp + fn) if tp + fn else None,
        )

    @property
    def values(self) -> Values:
        """Every metric that was measured."""
        overlap = {"dice": self.dice, "iou": self.iou, "precision": self.precision, "recall": self.recall}
        return overlap | self.metrics


@dataclass(frozen=True)
class Confusion:
    """How often each value of the reference meets each value of the prediction.

    Attributes:
        values: Label values that occur in either map, ascending.
        matrix: `(num_values, num_values)` voxel counts; rows are the reference, columns the prediction.
    """

    values: npt.NDArray[np.int64]
    matrix: npt.NDArray[np.int64]

    @property
    def reference_values(self) -> tuple[int, ...]:
        """Values that occur in the reference."""
        return tuple(self.values[self.matrix.any(axis=1)].tolist())

    @property
    def predicted_values(self) -> tuple[int, ...]:
        """Values that occur in the prediction."""
        return tuple(self.values[self.matrix.any(axis=0)].tolist())


def confusion(reference: Array, prediction: Array) -> Confusion:
    """Count the pairs of values of two label maps `(Z, Y, X)` of integers.

    Raises:
        RequestError: The shapes differ.
    """
    if reference.shape != prediction.shape:
        raise RequestError(
            f"the reference has shape {reference.shape} and the prediction {prediction.shape} (z, y, x). "
            "Compare segmentations of the same image, on its own grid."
        )
    if reference.size == 0:
        empty = np.zeros(0, dtype=np.int64)
        return Confusion(values=empty, matrix=empty.reshape(0, 0))
    lowest = min(reference.min(), prediction.min())
    highest = max(reference.max(), prediction.max())
    if lowest >= 0 and highest <= _DIRECT_MAXIMUM:
        values = np.arange(int(highest) + 1, dtype=np.int64)
        rows, columns = reference.ravel().astype(np.intp), prediction.ravel()
    else:
        values = np.union1d(reference, prediction).astype(np.int64)
        rows, columns = np.searchsorted(values, reference.ravel()), np.searchsorted(values, prediction.ravel())
    matrix = np.bincount(rows * len(values) + columns, minlength=len(values) ** 2).reshape(len(values), -1)
    present = matrix.any(axis=0) | matrix.any(axis=1)
    return Confusion(values=values[present], matrix=matrix[np.ix_(present, present)].astype(np.int64))


def score_confusion(
    pairs: Confusion, labels: LabelSchema, annotated_classes: Collection[str] | None = None
) -> dict[str, ClassScore]:
    """Scores by class; voxels that the reference marks as ignored do not count.

    Args:
        pairs: Counts of the pairs of values.
        labels: What the values mean.
        annotated_classes: Classes that the reference shows wherever they are; others have no score. `None` for all.
    """
    annotated = labels.annotated_mask(pairs.values)
    matrix = pairs.matrix if annotated is None else pairs.matrix * annotated[:, None]
    total = int(matrix.sum())
    scores = {}
    for index, name in enumerate(labels.class_names):
        if annotated_classes is not None and name not in annotated_classes:
            continue
        # The schema is asked about the values as if they were a label map, so regions need no case of their own.
        mask = labels.class_mask(pairs.values, index)
        tp = int(matrix[np.ix_(mask, mask)].sum())
        fp = int(matrix[:, mask].sum()) - tp
        fn = int(matrix[mask].sum()) - tp
        scores[name] = ClassScore.of(Counts(tp=tp, fp=fp, fn=fn, tn=total - tp - fp - fn))
    return scores


def score_case(
    reference: Array, prediction: Array, labels: LabelSchema, annotated_classes: Collection[str] | None = None
) -> dict[str, ClassScore]:
    """Scores of every class of one case, by name.

    Args:
        reference: `(Z, Y, X)` label values; voxels of the schema's ignore value do not count.
        prediction: `(Z, Y, X)` label values.
        labels: What the values mean; classes may be regions, which unite several values.
        annotated_classes: Classes that were annotated in the case; `None` for all.

    Returns:
        A score for each annotated foreground class, in the order of the schema.

    Raises:
        RequestError: The shapes differ.

    Example:
        >>> import numpy as np
        >>> from autounet.labels import LabelClass, LabelSchema
        >>> labels = LabelSchema(classes=(LabelClass(name="liver", values=(1,)),))
        >>> score_case(np.array([[[1, 1, 0, 0]]]), np.array([[[1, 0, 0, 0]]]), labels)["liver"].iou
        0.5
    """
    return score_confusion(confusion(reference, prediction), labels, annotated_classes)
