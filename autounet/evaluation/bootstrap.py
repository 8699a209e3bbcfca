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
# Up to this many pairs every combination of signs is tried, rather than drawn ones: 2^13 are fewer than are drawn.
_MAX_PAIRS_ENUMERATED = 13
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
    num_cases = int(np.isfinite(table).any(axis=1).sum())
    if num_cases < 2:
        return None
    means = _mean_of_known(_resampled_means(table, num_resamples, seed), axis=1)
    low, high = _quantiles(means, confidence)
    mean = float(_mean_of_known(_mean_of_known(table, axis=0), axis=0))
    return Interval(mean=mean, low=float(low), high=float(high), confidence=confidence, num_cases=num_cases)


def mean_intervals(
    values: Table, *, confidence: float = CONFIDENCE, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> list[Interval | None]:
    """`mean_interval` of each column of a table on its own; one set of draws serves all of them."""
    table = _table(values)
    ends = _quantiles(_resampled_means(table, num_resamples, seed), confidence)
    means, num_known = _mean_of_known(table, axis=0), np.isfinite(table).sum(axis=0)
    return [
        Interval(mean=float(mean), low=float(low), high=float(high), confidence=confidence, num_cases=int(count))
        if count >= 2
        else None
        for mean, low, high, count in zip(means, *ends, num_known, strict=True)
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
        num_resamples: Draws for the interval, and for the test of more than 13 pairs.
        seed: Of the draws.

    Returns:
        `None` where fewer than two cases have both scores.
    """
    differences = _table(first) - _table(second)
    interval = mean_interval(differences, confidence=confidence, num_resamples=num_resamples, seed=seed)
    if interval is None:
        return None
    known = np.isfinite(differences)
    # The mean of the columns' means is a sum over cases, so that one number a case is enough for the test.
    num_columns = known.any(axis=0).sum()
    shares = np.where(known, differences, 0.0) / np.maximum(known.sum(axis=0), 1) / num_columns
    of_case = shares.sum(axis=1)[known.any(axis=1)]
    return PairedDifference(
        difference=interval.mean,
        low=interval.low,
        high=interval.high,
        confidence=confidence,
        p_value=sign_flip_p_value(of_case, num_resamples=num_resamples, seed=seed),
        num_pairs=interval.num_cases,
        num_higher=int((of_case > 0).sum()),
        num_lower=int((of_case < 0).sum()),
    )


def sign_flip_p_value(differences: Array, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> float:
    """Two-sided p-value of the sum of paired differences, if each could as well have the other sign.

    Args:
        differences: `(num_pairs,)`, all finite.
        num_resamples: Draws of signs, where there are too many pairs to try every combination.
        seed: Of the draws.
    """
    num_pairs = len(differences)
    observed = abs(differences.sum())
    # Sums of the same numbers in another order differ in the last digits.
    reached = observed - 1e-12 * np.abs(differences).sum()
    if num_pairs <= _MAX_PAIRS_ENUMERATED:
        flipped = np.arange(2**num_pairs)[:, None] >> np.arange(num_pairs) & 1
        sums = (1 - 2 * flipped) @ differences
        return float((np.abs(sums) >= reached).mean())
    generator = np.random.default_rng(seed)
    num_reached = 0
    for rows in _blocks(num_resamples, num_pairs):
        signs = 1 - 2.0 * generator.integers(0, 2, (rows, num_pairs), dtype=np.int8)
        num_reached += int((np.abs(signs @ differences) >= reached).sum())
    # The signs as they were are one of the combinations (Phipson and Smyth 2010, "Permutation p-values should never
    # be zero").
    return (num_reached + 1) / (num_resamples + 1)


def _table(values: Table) -> npt.NDArray[np.float64]:
    """`(num_cases, num_columns)` with NaN for what does not exist."""
    table = np.asarray(values, dtype=np.float64)
    return table[:, None] if table.ndim == 1 else table


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


def _quantiles(means: npt.NDArray[np.float64], confidence: float) -> npt.NDArray[np.float64]:
    """`(2, ...)`: both ends of the percentile interval over the first axis; draws without any score do not count."""
    tail = (1 - confidence) / 2
    ends = np.full((2, *means.shape[1:]), np.nan)
    some = np.isfinite(means).any(axis=0)
    ends[:, some] = np.nanquantile(means[:, some], (tail, 1 - tail), axis=0)
    return ends


def _blocks(num_resamples: int, num_cases: int) -> Iterator[int]:
    """How many draws to make at a time, so that memory does not grow with the number of cases."""
    most = max(1, _BLOCK_SIZE // max(1, num_cases))
    for start in range(0, num_resamples, most):
        yield min(most, num_resamples - start)
