"""Dice of many cases as arrays `(num_cases, num_classes)`, NaN where there is nothing to score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from autounet.evaluation.overlap import ClassScore

Table = npt.NDArray[np.float64]


def dice_row(scores: Mapping[str, ClassScore], class_names: Sequence[str]) -> Table:
    """One case as a row; classes that are not annotated have no score."""
    known = (scores[name].dice if name in scores else None for name in class_names)
    return np.array([np.nan if dice is None else dice for dice in known])


def class_means(table: Table) -> Table:
    """Mean of each class over the cases that have a score; NaN for a class that has none."""
    known = np.isfinite(table)
    total, count = np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def foreground_mean(table: Table) -> float:
    """Mean over the classes of their means; NaN where no class has one."""
    means = class_means(table)
    known = means[np.isfinite(means)]
    return float(known.mean()) if known.size else float("nan")


def on_same_cases(tables: Sequence[Table]) -> list[Table]:
    """Tables of several predictions of the same cases, made comparable: all have scores at the same places.

    Where neither reference nor prediction shows a class there is no Dice; another prediction that shows it there has 0.
    To leave such a case out of one mean and not of the other would reward whoever invents the class. So the one that
    rightly shows nothing has 1 there.
    """
    some = np.any([np.isfinite(table) for table in tables], axis=0)
    return [np.where(np.isfinite(table) | ~some, table, 1.0) for table in tables]
