"""How sure a mean over cases is, and whether two sets of paired scores differ.

Cases are what is resampled: a table of scores `(num_cases, num_columns)` is drawn whole rows at a time, so that classes
and metrics of one case stay together. Scores that do not exist are `None` or NaN and are left out of means.

Intervals are percentile bootstrap intervals (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter
13). The p-value is that of the paired permutation test (Fisher 1935, "The Design of Experiments", section 21): if
it made no difference which of two predictions a score came from, every difference could as well have the other sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from autounet.geometry import Array
from autounet.records import Record

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
# Up to this many cases every combination of signs is tried, rather than drawn ones: 2^13 are fewer than are drawn.
_MAX_CASES_ENUMERATED = 13
# Numbers held at a time: 32 MiB.
_BLOCK_SIZE = 2**22

Table = Sequence[float | None] | Sequence[Sequence[float | None]] | Array


class Interval(Record):
    """A mean over cases, and where it would lie with other cases of the same kind.

    Attributes:
        mean: Over the cases that have a score; of several columns, the mean of their means.
        low: Lower end.
        high: Upper end.
        confidence: How often such an interval holds the true mean.
        num_cases: Cases that have a score.
    """

    mean: float
    low: float
    high: float
    confidence: float
    num_cases: int


class PairedDifference(Record):
    """By how much the scores of one set of predictions exceed those of another, on the same cases.

    Attributes:
        difference: Mean of first minus second over the pairs; of several columns, the mean of their means.
        low: Lower end of its interval.
        high: Upper end.
        confidence: Of the interval.
        p_value: How often a difference as large, in either direction, would come of chance alone.
        num_pairs: Cases that have both scores.
        num_higher: Of these, cases whose score is higher in the first.
        num_lower: Of these, cases whose score is lower in the first.
    """

    difference: float
    low: float
    high: float
    confidence: float
    p_value: float
    num_pairs: int
    num_higher: int
    num_lower: int


def mean_interval(
    values: Table, *, confidence: float = CONFIDENCE, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval | None:
    """The mean of scores and its bootstrap interval over cases.

    Args:
        values: `(num_cases,)`, or `(num_cases, num_columns)` such as one column a class: then the mean of the
            columns' means, as in the foreground Dice.
        confidence: Of the interval.
        num_resamples: How often the cases are drawn anew.
        seed: Of the draws.

    Returns:
        `None` where fewer than two cases have a score.

    Example:
        >>> mean_interval([0.5, 0.5, None]).low
        0.5
    """
    table = _table(values)
    return _interval(table, _resampled_means(table, num_resamples, seed), confidence)


def mean_intervals(
    values: Table,
    groups: Sequence[Sequence[int]] | None = None,
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[Interval | None]:
    """`mean_interval` of many columns, or groups of columns, of one table; one set of draws serves all of them.

    Args:
        values: `(num_cases, num_columns)`.
        groups: Columns whose means are averaged; by default each on its own.
        confidence: Of the intervals.
        num_resamples: How often the cases are drawn anew.
        seed: Of the draws.
    """
    table = _table(values)
    drawn = _resampled_means(table, num_resamples, seed)
    return [
        _interval(table[:, columns], drawn[:, columns], confidence)
        for columns in map(list, groups or [[column] for column in range(table.shape[1])])
    ]


def paired_difference(
    first: Table,
    second: Table,
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> PairedDifference | None:
    """Whether the scores of two predictions of the same cases differ by more than chance.

    Args:
        first: `(num_cases,)` or `(num_cases, num_columns)` scores, as in `mean_interval`.
        second: Scores of the same cases, in the same order. Only scores that both have are compared.
        confidence: Of the interval.
        num_resamples: Draws for the interval, and for the test of more than 13 cases.
        seed: Of the draws.

    Returns:
        `None` where fewer than two cases have both scores.
    """
    first, second = _table(first), _table(second)
    whole = [list(range(first.shape[1]))]
    return paired_differences(first, second, whole, confidence=confidence, num_resamples=num_resamples, seed=seed)[0]


def paired_differences(
    first: Table,
    second: Table,
    groups: Sequence[Sequence[int]],
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[PairedDifference | None]:
    """`paired_difference` of many groups of columns of two tables; one set of draws serves all of them."""
    differences = _table(first) - _table(second)
    intervals = mean_intervals(differences, groups, confidence=confidence, num_resamples=num_resamples, seed=seed)
    of_cases = np.stack([_shares(differences[:, list(columns)]) for columns in groups], axis=1)
    p_values = sign_flip_p_values(of_cases, num_resamples=num_resamples, seed=seed)
    return [
        None
        if interval is None
        else PairedDifference(
            difference=interval.mean,
            low=interval.low,
            high=interval.high,
            confidence=confidence,
            p_value=float(p_value),
            num_pairs=interval.num_cases,
            num_higher=int((of_case > 0).sum()),
            num_lower=int((of_case < 0).sum()),
        )
        for interval, of_case, p_value in zip(intervals, of_cases.T, p_values, strict=True)
    ]


def sign_flip_p_values(
    differences: Array, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Two-sided p-values of sums of paired differences, if each could as well have the other sign.

    Args:
        differences: `(num_cases, num_columns)`; 0 for a case without a difference.
        num_resamples: Draws of signs, where there are too many cases to try every combination.
        seed: Of the draws.

    Returns:
        `(num_columns,)`.
    """
    num_cases = len(differences)
    # Sums of the same numbers in another order differ in the last digits.
    reached = np.abs(differences.sum(axis=0)) - 1e-12 * np.abs(differences).sum(axis=0)
    if num_cases <= _MAX_CASES_ENUMERATED:
        signs = 1 - 2.0 * (np.arange(2**num_cases)[:, None] >> np.arange(num_cases) & 1)
        return np.asarray((np.abs(signs @ differences) >= reached).mean(axis=0))
    generator = np.random.default_rng(seed)
    num_reached = np.zeros(differences.shape[1])
    for rows in _blocks(num_resamples, num_cases):
        signs = 1 - 2.0 * generator.integers(0, 2, (rows, num_cases), dtype=np.int8)
        num_reached += (np.abs(signs @ differences) >= reached).sum(axis=0)
    # The signs as they were are one of the combinations (Phipson and Smyth 2010, "Permutation p-values should never
    # be zero").
    return np.asarray((num_reached + 1) / (num_resamples + 1))


def _shares(differences: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What each case `(num_cases,)` adds to the mean of the columns' means, which is the sum of these."""
    known = np.isfinite(differences)
    num_columns = max(1, known.any(axis=0).sum())
    return np.asarray((np.where(known, differences, 0.0) / np.maximum(known.sum(axis=0), 1) / num_columns).sum(axis=1))


def _table(values: Table) -> npt.NDArray[np.float64]:
    """`(num_cases, num_columns)` with NaN for what does not exist."""
    table = np.asarray(values, dtype=np.float64)
    return table[:, None] if table.ndim == 1 else table


def _interval(table: npt.NDArray[np.float64], drawn: npt.NDArray[np.float64], confidence: float) -> Interval | None:
    """Of the mean of the columns' means, by these means in many draws `(num_resamples, num_columns)`."""
    num_cases = int(np.isfinite(table).any(axis=1).sum())
    if num_cases < 2:
        return None
    mean = float(_mean_of_known(_mean_of_known(table, axis=0), axis=0))
    tail = (1 - confidence) / 2
    # Draws without any score do not count.
    low, high = np.nanquantile(_mean_of_known(drawn, axis=1), (tail, 1 - tail))
    return Interval(mean=mean, low=float(low), high=float(high), confidence=confidence, num_cases=num_cases)


def _mean_of_known(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Mean over an axis of what is known; NaN where that is nothing."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    mean: npt.NDArray[np.float64] = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def _resampled_means(table: npt.NDArray[np.float64], num_resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """`(num_resamples, num_columns)` means of cases drawn with replacement: products with how often each was drawn."""
    num_cases, num_columns = table.shape
    generator = np.random.default_rng(seed)
    known = np.isfinite(table).astype(np.float64)
    filled = np.where(known > 0, table, 0.0)
    means = np.full((num_resamples, num_columns), np.nan)
    start = 0
    for rows in _blocks(num_resamples, num_cases):
        drawn = generator.integers(0, num_cases, (rows, num_cases)) + np.arange(rows)[:, None] * num_cases
        counts = np.bincount(drawn.ravel(), minlength=rows * num_cases).reshape(rows, num_cases).astype(np.float64)
        num_known = counts @ known
        np.divide(counts @ filled, num_known, out=means[start : start + rows], where=num_known > 0)
        start += rows
    return means


def _blocks(num_resamples: int, num_cases: int) -> Iterator[int]:
    """How many draws to make at a time, so that memory does not grow with the number of cases."""
    most = max(1, _BLOCK_SIZE // max(1, num_cases))
    for start in range(0, num_resamples, most):
        yield min(most, num_resamples - start)
