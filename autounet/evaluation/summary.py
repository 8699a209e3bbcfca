"""Scores of many cases: their means, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from autounet.errors import RequestError
from autounet.evaluation.bootstrap import Interval, mean_intervals
from autounet.evaluation.metrics import METRICS, OVERLAP_ALONE, MetricChoice
from autounet.evaluation.overlap import ClassScore
from autounet.records import SCHEMA_VERSION, Record, atomic_path

ALL_CLASSES = "(all classes)"
"""Stands for the mean of the class means, in tables."""

_COUNTS = ("num_empty", "num_missed", "num_spurious", "num_not_annotated")


class CaseScores(Record):
    """The scores of one case.

    Attributes:
        case: Its name.
        reference: The reference's file, or an empty string if there is none.
        prediction: The prediction's file, or an empty string if there is none.
        classes: Class name to score.
        not_annotated: Classes that the reference says nothing of; they have no score here.
    """

    case: str
    reference: str
    prediction: str
    classes: dict[str, ClassScore]
    not_annotated: tuple[str, ...] = ()


class MetricMean(Record):
    """One metric over the cases that have a value of it.

    Attributes:
        mean: `None` if no case has a value.
        median: Likewise; of several classes there is none.
        low: Lower end of the mean's interval, which holds the mean of all such cases in 95 of 100 evaluations
            (bootstrap over cases); `None` where fewer than two cases have a value.
        high: Upper end.
        num_cases: Cases that have a value.
    """

    mean: float | None
    median: float | None
    low: float | None
    high: float | None
    num_cases: int


class ClassMean(Record):
    """One class over all cases.

    Attributes:
        dice: Mean over the cases that have a value; `None` if none has.
        iou: Likewise.
        num_scored: Cases that have a value.
        num_empty: Cases in which neither reference nor prediction shows the class; left out of the means.
        num_missed: Of the scored ones, cases whose reference shows the class and whose prediction does not.
        num_spurious: Of the scored ones, cases whose prediction shows the class and whose reference does not.
        worst_case: Case of the lowest Dice; `None` if no case has a value.
        num_not_annotated: Cases whose reference says nothing of the class; they are in none of the other counts.
        metrics: Every metric that was measured, by name.
    """

    dice: float | None
    iou: float | None
    num_scored: int
    num_empty: int
    num_missed: int
    num_spurious: int
    worst_case: str | None
    num_not_annotated: int = 0
    metrics: dict[str, MetricMean] = Field(default_factory=dict)


class Summary(Record):
    """The scores of a set of cases.

    Attributes:
        schema_version: Of this record.
        num_cases: How many cases there are.
        foreground_dice: Mean over classes of the class means; classes without any value are left out.
        foreground_iou: Likewise.
        class_means: Class name to its means.
        cases: The cases, by name.
        foreground: Every metric as the mean of the class means.
        choice: What was measured beyond overlap, and how.
        left_out: Files that had no partner and were ignored, as was asked for.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    num_cases: int
    foreground_dice: float | None
    foreground_iou: float | None
    class_means: dict[str, ClassMean]
    cases: tuple[CaseScores, ...]
    foreground: dict[str, MetricMean] = Field(default_factory=dict)
    choice: MetricChoice = OVERLAP_ALONE
    left_out: tuple[str, ...] = ()


def summarize(
    cases: Iterable[CaseScores], choice: MetricChoice = OVERLAP_ALONE, left_out: Sequence[str] = ()
) -> Summary:
    """Average the cases' scores, class by class; the cases are put in the order of their names.

    Args:
        cases: With their scores.
        choice: What was measured beyond overlap.
        left_out: Files that were ignored.
    """
    ordered = tuple(sorted(cases, key=lambda case: case.case))
    # Cases that lack no class come first, for they have them in the order of the schema.
    whole_first = sorted(ordered, key=lambda case: len(case.not_annotated))
    names = dict.fromkeys(name for case in whole_first for name in (*case.classes, *case.not_annotated))
    figures = _metric_means(ordered, list(names))
    means = {name: _class_mean(name, ordered, figures[name]) for name in names}
    return Summary(
        num_cases=len(ordered),
        foreground_dice=mean_of_known([mean.dice for mean in means.values()]),
        foreground_iou=mean_of_known([mean.iou for mean in means.values()]),
        class_means=means,
        cases=ordered,
        foreground=figures[ALL_CLASSES],
        choice=choice,
        left_out=tuple(left_out),
    )


def write_summary(summary: Summary, json_path: Path) -> Path:
    """Write the summary as JSON, and beside it two CSV files: a row a case and class, and a row a class and metric.

    Scores that do not exist are `null` in JSON and empty in CSV.

    Returns:
        The CSV file of the cases; that of the classes ends in `_summary.csv`.

    Raises:
        RequestError: The path does not end in `.json`.
    """
    if json_path.suffix != ".json":
        raise RequestError(f"scores are written to a .json file, got {json_path}. Choose a name such as scores.json.")
    summary.write(json_path)
    of_cases = [
        {"case": case.case, "class": name, **score.model_dump(exclude={"metrics"}), **score.metrics}
        for case in summary.cases
        for name, score in case.classes.items()
    ]
    of_classes = [
        {"class": name, "metric": metric, **figures.model_dump(), **counts}
        for name, metrics, counts in _by_class(summary)
        for metric, figures in metrics.items()
    ]
    csv_path = json_path.with_suffix(".csv")
    known = [field for field in ClassScore.model_fields if field != "metrics"]
    _write_table(of_cases, ["case", "class", *known, *summary.foreground], csv_path)
    columns = ["class", "metric", *MetricMean.model_fields, *_COUNTS]
    _write_table(of_classes, columns, json_path.with_name(f"{json_path.stem}_summary.csv"))
    return csv_path


def _by_class(summary: Summary) -> list[tuple[str, dict[str, MetricMean], dict[str, object]]]:
    """Name, metrics and counts of each class, and of all."""
    classes = [
        (name, mean.metrics, mean.model_dump(include=set(_COUNTS))) for name, mean in summary.class_means.items()
    ]
    return [*classes, (ALL_CLASSES, summary.foreground, dict.fromkeys(_COUNTS, ""))]


def _write_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str], path: Path) -> None:
    import pandas as pd  # takes half a second

    with atomic_path(path) as partial:
        pd.DataFrame(rows, columns=list(dict.fromkeys(columns))).to_csv(partial, index=False)


def _metric_means(cases: Sequence[CaseScores], classes: Sequence[str]) -> dict[str, dict[str, MetricMean]]:
    """By class and metric, and for all classes together under `ALL_CLASSES`."""
    values = [[case.classes[name].values if name in case.classes else {} for name in classes] for case in cases]
    measured = {metric for of_case in values for of_class in of_case for metric in of_class}
    metrics = [metric for metric in METRICS if metric in measured]
    places = [(name, metric) for name in classes for metric in metrics]
    table = np.array(
        [[of_class.get(metric) for of_class in of_case for metric in metrics] for of_case in values], dtype=np.float64
    ).reshape(len(cases), len(places))
    foreground = [[index for index, place in enumerate(places) if place[1] == metric] for metric in metrics]
    groups = [*([index] for index in range(len(places))), *foreground]
    means: dict[str, dict[str, MetricMean]] = {name: {} for name in (*classes, ALL_CLASSES)}
    for (name, metric), columns, interval in zip(
        [*places, *((ALL_CLASSES, metric) for metric in metrics)], groups, mean_intervals(table, groups), strict=True
    ):
        means[name][metric] = _metric_mean(table[:, columns], interval)
    return means


def _metric_mean(table: npt.NDArray[np.float64], interval: Interval | None) -> MetricMean:
    """Of scores `(num_cases, num_classes)`, NaN where there is none."""
    columns = [column[np.isfinite(column)].tolist() for column in table.T]
    return MetricMean(
        mean=mean_of_known([mean_of_known(column) for column in columns]),
        median=float(np.median(columns[0])) if len(columns) == 1 and columns[0] else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        num_cases=int(np.isfinite(table).any(axis=1).sum()),
    )


def _class_mean(name: str, cases: Sequence[CaseScores], metrics: dict[str, MetricMean]) -> ClassMean:
    scores = [(case.case, case.classes[name]) for case in cases if name in case.classes]
    ranked = [(score.dice, case) for case, score in scores if score.dice is not None]
    return ClassMean(
        dice=mean_of_known([score.dice for _, score in scores]),
        iou=mean_of_known([score.iou for _, score in scores]),
        num_scored=len(ranked),
        num_empty=len(scores) - len(ranked),
        num_missed=sum(score.num_reference > 0 and score.num_predicted == 0 for _, score in scores),
        num_spurious=sum(score.num_predicted > 0 and score.num_reference == 0 for _, score in scores),
        worst_case=min(ranked)[1] if ranked else None,
        num_not_annotated=sum(name in case.not_annotated for case in cases),
        metrics=metrics,
    )


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that exist; `None` if none does."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
