"""Scores of many cases: their means, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from autounet.errors import RequestError
from autounet.evaluation.overlap import ClassScore
from autounet.records import SCHEMA_VERSION, Record, atomic_path


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
    """

    dice: float | None
    iou: float | None
    num_scored: int
    num_empty: int
    num_missed: int
    num_spurious: int
    worst_case: str | None
    num_not_annotated: int = 0


class Summary(Record):
    """The scores of a set of cases.

    Attributes:
        schema_version: Of this record.
        num_cases: How many cases there are.
        foreground_dice: Mean over classes of the class means; classes without any value are left out.
        foreground_iou: Likewise.
        class_means: Class name to its means.
        cases: The cases, by name.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    num_cases: int
    foreground_dice: float | None
    foreground_iou: float | None
    class_means: dict[str, ClassMean]
    cases: tuple[CaseScores, ...]


def summarize(cases: Iterable[CaseScores]) -> Summary:
    """Average the cases' scores, class by class; the cases are put in the order of their names."""
    ordered = tuple(sorted(cases, key=lambda case: case.case))
    # Cases that lack no class come first, for they have them in the order of the schema.
    whole_first = sorted(ordered, key=lambda case: len(case.not_annotated))
    names = dict.fromkeys(name for case in whole_first for name in (*case.classes, *case.not_annotated))
    means = {name: _class_mean(name, ordered) for name in names}
    return Summary(
        num_cases=len(ordered),
        foreground_dice=mean_of_known([mean.dice for mean in means.values()]),
        foreground_iou=mean_of_known([mean.iou for mean in means.values()]),
        class_means=means,
        cases=ordered,
    )


def write_summary(summary: Summary, json_path: Path) -> Path:
    """Write the summary as JSON, and beside it a CSV file with one row a case and class.

    Scores that do not exist are `null` in JSON and empty in CSV.

    Returns:
        The CSV file.

    Raises:
        RequestError: The path does not end in `.json`.
    """
    import pandas as pd  # takes half a second

    if json_path.suffix != ".json":
        raise RequestError(f"scores are written to a .json file, got {json_path}. Choose a name such as scores.json.")
    summary.write(json_path)
    rows = [
        {"case": case.case, "class": name, **score.model_dump()}
        for case in summary.cases
        for name, score in case.classes.items()
    ]
    csv_path = json_path.with_suffix(".csv")
    with atomic_path(csv_path) as partial:
        pd.DataFrame(rows, columns=["case", "class", *ClassScore.model_fields]).to_csv(partial, index=False)
    return csv_path


def _class_mean(name: str, cases: Sequence[CaseScores]) -> ClassMean:
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
    )


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that exist; `None` if none does."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
