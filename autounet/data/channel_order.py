"""In which order the channels of an image are stored, by their intensities in other cases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autounet.records import Record

# All orders are tried up to this many channels; of more, only two channels changing places.
_MAX_PERMUTED = 5
# A case fits when its percentiles lie about one spread of the cases away from the usual ones. Suspected is a case that
# fits badly as it is, and well, and several times better, in another order.
_BAD_FIT, _GOOD_FIT, _TIMES_BETTER = 3.0, 2.0, 3.0
_LEAST_SPREAD = 0.05

Array = npt.NDArray[np.float64]
Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class OtherOrder:
    """An order in which the channels of an image fit much better.

    Attributes:
        order: The stored channel for each place.
        misfit: As stored, in spreads of the cases.
        misfit_then: In that order.
    """

    order: tuple[int, ...]
    misfit: float
    misfit_then: float


class UsualChannels(Record):
    """Percentiles `(C, 5)` of the channels over the cases, in units of each case's own spread.

    Attributes:
        median: Of the cases.
        spread: Of the cases, by the median absolute deviation.
    """

    median: Table
    spread: Table

    @classmethod
    def of(cls, percentiles: Array) -> UsualChannels:
        """Of the percentiles `(num_cases, C, 5)`."""
        figures = np.stack([_relative(case) for case in percentiles])
        median = np.median(figures, axis=0)
        spread = np.maximum(1.4826 * np.median(np.abs(figures - median), axis=0), _LEAST_SPREAD)
        return cls(median=_table(median), spread=_table(spread))

    def better_order(self, percentiles: Array) -> OtherOrder | None:
        """The order in which an image of these percentiles `(C, 5)` fits much better than as it is stored, if any."""
        own, num_channels = _relative(percentiles), len(percentiles)
        # misfit[k, j]: how badly stored channel k would fit at place j.
        misfit = (np.abs(own[:, None] - np.asarray(self.median)[None]) / np.asarray(self.spread)[None]).mean(axis=2)
        order = _best_order(misfit)
        now = float(np.trace(misfit)) / num_channels
        then = float(sum(misfit[stored, place] for place, stored in enumerate(order))) / num_channels
        suspected = now > _BAD_FIT and then < _GOOD_FIT and now > _TIMES_BETTER * then
        return OtherOrder(order, now, then) if suspected else None


def _table(values: Array) -> Table:
    return tuple(tuple(map(float, row)) for row in values)


def _relative(percentiles: Array) -> Array:
    """Percentiles `(C, 5)` in units of the case's own spread, because scanners differ in gain."""
    scale = float((percentiles[:, -1] - percentiles[:, 0]).mean())
    return percentiles / (scale or 1.0)


def _best_order(misfit: Array) -> tuple[int, ...]:
    """The stored channel for each place that fits best."""
    places = range(len(misfit))
    return min(_orders(len(misfit)), key=lambda order: sum(misfit[order[place], place] for place in places))


def _orders(num_channels: int) -> Iterable[tuple[int, ...]]:
    if num_channels <= _MAX_PERMUTED:
        return itertools.permutations(range(num_channels))
    pairs = itertools.combinations(range(num_channels), 2)
    swapped = [tuple({a: b, b: a}.get(index, index) for index in range(num_channels)) for a, b in pairs]
    return [tuple(range(num_channels)), *swapped]
