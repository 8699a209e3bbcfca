"""From which probability on a class is there, decided only where that helps on cases that had no say in it.

Trained with Dice and cross-entropy, networks are not always best decided at one half: a small class may be missed
half of the time although its probability rises to .4 everywhere that it is. A threshold is chosen on predictions of
cases that the networks had not seen; to see whether it helps, the cases of a fold are scored with the threshold that
the other folds would choose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import field_validator

from autounet.evaluation.bootstrap import CONFIDENCE, PairedDifference, paired_difference
from autounet.evaluation.tables import Table, foreground_mean, on_same_cases
from autounet.labels import LabelSchema
from autounet.records import Record

USUAL = 0.5
# The nearest to one half first: of several that are as good, the mildest is chosen.
GRID = tuple(sorted((round(0.05 * step, 2) for step in range(2, 19)), key=lambda value: (abs(value - USUAL), value)))


class Thresholds(Record):
    """The thresholds of classes or regions; one half for those that are not named.

    A region is there where its probability exceeds its threshold t. Classes exclude each other, so a class wins against
    another where its share of the probability of both exceeds its threshold, the other's being one half: its odds are
    multiplied by (1 - t) / t.

    Attributes:
        values: Name of the class or region to its threshold.
    """

    values: dict[str, float]

    @field_validator("values")
    @classmethod
    def _are_probabilities(cls, values: dict[str, float]) -> dict[str, float]:
        wrong = {name: value for name, value in values.items() if not 0 < value < 1}
        if wrong:
            raise ValueError(f"thresholds must lie between 0 and 1, got {wrong}")
        return values

    def offsets(self, labels: LabelSchema) -> npt.NDArray[np.float32]:
        """What is added to the logit of each output, `(num_outputs,)`, so that the usual rule decides by these."""
        known = np.array([self.values.get(name, USUAL) for name in labels.output_names])
        return np.asarray(np.log((1 - known) / known), dtype=np.float32)


class ThresholdTrial(Record):
    """What came of the threshold of one class.

    Attributes:
        name: The class or region.
        threshold: The best on all cases.
        of_folds: What each fold was scored with: the best on the cases of the others.
        difference: Of the foreground Dice so scored, against one half; `None` where there are too few cases.
        accepted: Whether it is used.
    """

    name: str
    threshold: float
    of_folds: tuple[float, ...]
    difference: PairedDifference | None
    accepted: bool

    @property
    def gain(self) -> float:
        """By how much the foreground Dice is higher on cases that had no say."""
        return self.difference.difference if self.difference else 0.0

    @property
    def outcome(self) -> str:
        """The difference that it makes, in a few words."""
        if self.threshold == USUAL:
            return "one half is best"
        if self.difference is None:
            return "too few cases to tell"
        told = self.difference
        return f"foreground Dice {told.difference:+.4f} ({told.low:+.4f} to {told.high:+.4f}) on cases that had no say"


def judge_thresholds(
    names: Sequence[str], usual: Table, others: npt.NDArray[np.float64], groups: Sequence[int]
) -> tuple[ThresholdTrial, ...]:
    """Choose a threshold for each class on its own, and see whether it helps out of sample.

    Args:
        names: Classes or regions whose threshold may change.
        usual: Dice `(num_cases, num_classes)` at one half.
        others: The same with the threshold of one name changed to one of `GRID`: `(num_names, num_grid, num_cases,
            num_classes)`.
        groups: The fold of each case, from 0 on.

    Returns:
        A trial for each name. As so many are made, the interval of each is wider: that of a 95 % confidence in all of
        them together (Bonferroni).
    """
    confidence = 1 - (1 - CONFIDENCE) / len(names)
    return tuple(
        _judge(name, usual, tables, np.asarray(groups), confidence) for name, tables in zip(names, others, strict=True)
    )


def helps(usual: Table, changed: Table, confidence: float = CONFIDENCE) -> PairedDifference | None:
    """By how much the foreground Dice is higher; it helps where the whole interval lies above 0."""
    usual, changed = on_same_cases([usual, changed])
    return paired_difference(changed, usual, confidence=confidence)


def _judge(
    name: str, usual: Table, tables: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], confidence: float
) -> ThresholdTrial:
    tables = np.array(on_same_cases([*tables, usual])[:-1])
    unseen, of_folds = usual.copy(), []
    for group in range(groups.max() + 1):
        held_out = groups == group
        best = _best(tables[:, ~held_out])
        unseen[held_out] = tables[best, held_out]
        of_folds.append(GRID[best])
    threshold = GRID[_best(tables)]
    difference = helps(usual, unseen, confidence)
    accepted = difference is not None and difference.low > 0 and threshold != USUAL
    return ThresholdTrial(
        name=name, threshold=threshold, of_folds=tuple(of_folds), difference=difference, accepted=accepted
    )


def _best(tables: npt.NDArray[np.float64]) -> int:
    """Place in the grid of the highest foreground Dice; the first of several."""
    means = [foreground_mean(table) for table in tables]
    return int(np.argmax(np.nan_to_num(means, nan=-1.0)))
