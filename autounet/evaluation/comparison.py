"""Whether two sets of predictions of the same cases differ by more than chance, class by class and metric by metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from autounet.errors import DataError, Problem, RequestError
from autounet.evaluation.bootstrap import PairedDifference, paired_differences
from autounet.evaluation.metrics import METRICS, Better, Family
from autounet.evaluation.summary import ALL_CLASSES, CaseScores, Summary, mean_of_known
from autounet.records import SCHEMA_VERSION, Record

# Chance alone is held responsible for what it would do in more than one of twenty comparisons.
_SIGNIFICANCE = 0.05

# What of a `MetricChoice` the metrics of a family depend on.
_WAYS: Mapping[Family, str] = {
    Family.SURFACE: "tolerance_mm",
    Family.LESIONS: "lesion_iou",
    Family.REGIONS: "regions_between",
}

Verdict = Literal["first", "second", "no difference shown", "too few cases"]


class Compared(Record):
    """One metric of one class in two sets of predictions.

    Attributes:
        class_name: Or `ALL_CLASSES`, for the mean of the class means.
        metric: Its name.
        first: Mean of the first, over the cases in which both have a value; of errors about zero, their sizes.
        second: Mean of the second.
        difference: Second minus first; `None` where fewer than two cases have both values.
        p_adjusted: Its p-value after Holm's correction for the number of classes; that of all classes is not corrected.
        num_only_first: Cases in which only the first has a value, such as a distance to an object that the second
            missed; they are not compared.
        num_only_second: Likewise.
        better: Which of the two is better.
    """

    class_name: str
    metric: str
    first: float | None
    second: float | None
    difference: PairedDifference | None
    p_adjusted: float | None
    num_only_first: int
    num_only_second: int
    better: Verdict


class Comparison(Record):
    """Two sets of predictions of the same cases.

    Attributes:
        schema_version: Of this record.
        num_cases: In both.
        left_out: Cases in one of them only.
        rows: By metric; where there are several classes, all of them together come first.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    num_cases: int
    left_out: tuple[str, ...]
    rows: tuple[Compared, ...]


@dataclass(frozen=True)
class _Table:
    """One metric of all classes in both predictions, `(num_cases, num_classes)`, NaN where there is no value."""

    metric: str
    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]


def compare_summaries(
    first: Summary,
    second: Summary,
    metrics: Sequence[str],
    *,
    names: tuple[str, str] = ("the first", "the second"),
    missing: Literal["error", "ignore"] = "error",
) -> Comparison:
    """Compare two sets of scores of the same cases against the same references.

    Args:
        first: Scores of the one.
        second: Scores of the other.
        metrics: Which to compare; those that describe no prediction are left out.
        names: What the two are called in errors.
        missing: What to do about cases that only one of them has: refuse, or leave them out.

    Raises:
        RequestError: A metric was not measured in both, or not in the same way; or there is no common class.
        DataError: Cases are in one only, or have other references; all of them at once.
    """
    cases = _common_cases(first, second, names, missing)
    classes = [name for name in first.class_means if name in second.class_means]
    if not classes:
        raise RequestError(
            f"{names[0]} has the classes {', '.join(first.class_means)}, {names[1]} has "
            f"{', '.join(second.class_means)}. Compare predictions of the same classes."
        )
    chosen = [name for name in metrics if METRICS[name].better is not Better.NEITHER]
    _require_measured_alike(first, second, chosen, names)
    rows = [row for name in chosen for row in _compare(_table(name, cases, classes), classes)]
    everything = {case.case for summary in (first, second) for case in summary.cases}
    left_out = sorted(everything - {of_first.case for of_first, _ in cases})
    return Comparison(num_cases=len(cases), left_out=tuple(left_out), rows=tuple(rows))


def _common_cases(
    first: Summary, second: Summary, names: tuple[str, str], missing: str
) -> list[tuple[CaseScores, CaseScores]]:
    """The scores of each case in both.

    Raises:
        DataError: Cases do not go together.
    """
    of_first, of_second = ({case.case: case for case in summary.cases} for summary in (first, second))
    common = [(case, of_second[name]) for name, case in of_first.items() if name in of_second]
    problems = [problem for pair in common for problem in _other_reference(*pair)]
    if missing == "error" or not common:
        remedy = "score it there too, or leave it out with --missing ignore"
        problems += [
            Problem(case=name, file=has[name].prediction, what=f"{other} does not have this case", remedy=remedy)
            for has, lacks, other in ((of_first, of_second, names[1]), (of_second, of_first, names[0]))
            for name in has
            if name not in lacks
        ]
    if problems:
        raise DataError(f"{names[0]} and {names[1]}", sorted(problems, key=lambda problem: problem.case))
    return common


def _other_reference(first: CaseScores, second: CaseScores) -> Iterator[Problem]:
    """The first class, if any, of which the two references of a case have another number of voxels."""
    for name, score in first.classes.items():
        other = second.classes.get(name)
        if other is not None and other.num_reference != score.num_reference:
            yield Problem(
                case=first.case,
                file=second.reference,
                what=f"{name} has {other.num_reference} voxels, but {score.num_reference} in {first.reference}",
                remedy="score both predictions against the same references",
            )
            return


def _require_measured_alike(first: Summary, second: Summary, metrics: Sequence[str], names: tuple[str, str]) -> None:
    for summary, name in ((first, names[0]), (second, names[1])):
        lacking = [metric for metric in metrics if metric not in measured_metrics(summary)]
        if lacking:
            raise RequestError(
                f"{name} holds no {', '.join(lacking)}. Score it anew: autounet evaluate REFERENCES PREDICTIONS "
                f"--metrics {' '.join(metrics)}"
            )
    for family, field in _WAYS.items():
        ways = [getattr(summary.choice, field) for summary in (first, second)]
        if ways[0] != ways[1] and any(METRICS[metric].family is family for metric in metrics):
            told = [f"{way:g}" if isinstance(way, float) else way for way in ways]
            option = field.replace("_", "-")
            raise RequestError(
                f"{names[0]} was scored with --{option} {told[0]}, {names[1]} with {told[1]}. Score one of them anew."
            )


def measured_metrics(summary: Summary) -> tuple[str, ...]:
    """The metrics of which at least one case was measured."""
    known = {name for case in summary.cases for score in case.classes.values() for name in score.values}
    return tuple(name for name in METRICS if name in known)


def _table(metric: str, cases: Sequence[tuple[CaseScores, CaseScores]], classes: Sequence[str]) -> _Table:
    values = [
        [[case.classes[name].values.get(metric) if name in case.classes else None for name in classes] for case in pair]
        for pair in cases
    ]
    table = np.array(values, dtype=np.float64).reshape(len(cases), 2, len(classes))
    if METRICS[metric].better is Better.ZERO:
        table = np.abs(table)
    return _Table(metric, table[:, 0], table[:, 1])


def _compare(table: _Table, classes: Sequence[str]) -> Iterator[Compared]:
    """All classes together, unless there is but one, then each."""
    each = [[index] for index in range(len(classes))]
    together = [list(range(len(classes)))] if len(classes) > 1 else []
    groups = [*together, *each]
    differences = paired_differences(table.second, table.first, groups)
    p_values = [difference.p_value if difference else None for difference in differences]
    adjusted = [*p_values[: len(together)], *_holm(p_values[len(together) :])]
    known = np.isfinite(table.first), np.isfinite(table.second)
    both = known[0] & known[1]
    for name, columns, difference, p_adjusted in zip(
        [*([ALL_CLASSES] * len(together)), *classes], groups, differences, adjusted, strict=True
    ):
        means = [
            mean_of_known([mean_of_known(values[both[:, column], column].tolist()) for column in columns])
            for values in (table.first, table.second)
        ]
        yield Compared(
            class_name=name,
            metric=table.metric,
            first=means[0],
            second=means[1],
            difference=difference,
            p_adjusted=p_adjusted,
            num_only_first=int((known[0] & ~known[1])[:, columns].any(axis=1).sum()),
            num_only_second=int((known[1] & ~known[0])[:, columns].any(axis=1).sum()),
            better=_verdict(table.metric, difference, p_adjusted),
        )


def _verdict(metric: str, difference: PairedDifference | None, p_adjusted: float | None) -> Verdict:
    if difference is None or p_adjusted is None:
        return "too few cases"
    if p_adjusted > _SIGNIFICANCE:
        return "no difference shown"
    return "second" if (difference.difference > 0) == (METRICS[metric].better is Better.HIGHER) else "first"


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values such that chance alone brings any of them below 0.05 in one of twenty comparisons.

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = sorted((p_value, index) for index, p_value in enumerate(p_values) if p_value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p_value, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_value))
        adjusted[index] = largest
    return adjusted


def in_words(row: Compared) -> str:
    """What the figures of a row mean, as a sentence; the first predictions are called A, the second B."""
    start = f"{row.class_name}, {METRICS[row.metric].title}: "
    difference = row.difference
    if difference is None or row.p_adjusted is None:
        return f"{start}fewer than two cases have a value in both; nothing can be said."
    if difference.num_higher + difference.num_lower == 0:
        return f"{start}the same in all {difference.num_pairs} cases."
    figures = (
        f"B - A = {difference.difference:+.3g}, with {difference.confidence:.0%} confidence {difference.low:+.3g} to "
        f"{difference.high:+.3g}, p = {row.p_adjusted:.2g}; of {difference.num_pairs} cases higher in "
        f"{difference.num_higher}, lower in {difference.num_lower}"
    )
    alone = row.num_only_first + row.num_only_second
    left = f" {alone} more have a value in one of the two only." if alone else ""
    found = {"first": "A is better", "second": "B is better"}.get(row.better, row.better)
    return f"{start}{found} ({figures}).{left}"


def conclusion(comparison: Comparison) -> str:
    """All of it in one or two sentences."""
    shown = [row for row in comparison.rows if row.better in ("first", "second")]
    if not shown:
        same = all(
            row.difference is None or row.difference.num_higher + row.difference.num_lower == 0
            for row in comparison.rows
        )
        if same:
            return "A and B have the same scores."
        return (
            "No difference shown: chance alone would bring differences like these. The intervals say how large one "
            "could still be; more cases narrow them."
        )
    better = [
        f"{letter} in "
        + ", ".join(f"{METRICS[row.metric].title} of {row.class_name}" for row in shown if row.better == side)
        for letter, side in (("A", "first"), ("B", "second"))
        if any(row.better == side for row in shown)
    ]
    return f"A and B differ by more than chance. Better is {', and '.join(better)}."
