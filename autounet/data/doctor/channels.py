"""Channels that were stored in another order than in the other cases, by their intensities."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from autounet.data.description import DatasetDescription
from autounet.data.doctor.across import MIN_CASES
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.findings import Finding, Repair
from autounet.errors import Problem, Severity

# All orders are tried up to this many channels; of more, only two channels changing places.
_MAX_PERMUTED = 5
# A case fits when its percentiles lie about one spread of the cases away from the usual ones. Suspected is a case that
# fits badly as it is, and well, and several times better, in another order.
_BAD_FIT, _GOOD_FIT, _TIMES_BETTER = 3.0, 2.0, 3.0
_LEAST_SPREAD = 0.05

Array = npt.NDArray[np.float64]


def channel_order_findings(exams: Sequence[CaseExam], description: DatasetDescription) -> list[Finding]:
    """Cases whose channels look like the other cases' in another order."""
    num_channels = description.num_channels
    known = [exam for exam in exams if exam.image is not None and len(exam.image.percentiles) == num_channels]
    if num_channels < 2 or len(known) < MIN_CASES:
        return []
    figures = np.stack([_relative(exam.image.percentiles) for exam in known if exam.image is not None])
    usual = np.median(figures, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(figures - usual), axis=0), _LEAST_SPREAD)
    findings = []
    for exam, own in zip(known, figures, strict=True):
        # misfit[k, j]: how badly stored channel k would fit at place j.
        misfit = (np.abs(own[:, None] - usual[None]) / spread[None]).mean(axis=2)
        order = _best_order(misfit)
        now, then = float(np.trace(misfit)), float(sum(misfit[stored, place] for place, stored in enumerate(order)))
        now, then = now / num_channels, then / num_channels
        if now > _BAD_FIT and then < _GOOD_FIT and now > _TIMES_BETTER * then:
            findings.append(_finding(exam, order, description, now, then))
    return findings


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


def _finding(
    exam: CaseExam, order: tuple[int, ...], description: DatasetDescription, now: float, then: float
) -> Finding:
    names = [f"{stored} ({description.channel_names[place]})" for place, stored in enumerate(order)]
    value = ", ".join(map(str, order))
    what = (
        f"its channels look stored in another order: by intensity they would be {', '.join(names)} "
        f"(misfit {now:.1f} as stored, {then:.1f} so)"
    )
    remedy = "look at it; --fix --suspected puts them in the others' order"
    problem = Problem(exam.name, exam.image_file, what, remedy, severity=Severity.REPAIRABLE)
    return Finding(problem, "channel order", value, Repair.REORDER_CHANNELS, order)
