"""Labels beside predictions of them, read from files and measured, in several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.errors import DataError, Problem
from autounet.evaluation.disagreement import measure_disagreement
from autounet.evaluation.pairs import Pair, read_pair
from autounet.evaluation.suspicion import JudgedCase
from autounet.labels import LabelSchema
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import Reporter

_REMEDY = "the label changed since it was predicted: remove the prediction, and it is made anew"


@dataclass(frozen=True)
class LabelledCase:
    """A training case with a prediction of it.

    Attributes:
        case: Its name.
        reference: The label's file.
        prediction: The prediction's file.
        fold: That predicted it.
        labels: What the values mean.
        annotated: Classes that were annotated in it; `None` for all.
    """

    case: str
    reference: Path
    prediction: Path
    fold: str
    labels: LabelSchema
    annotated: tuple[str, ...] | None = None


def judge_cases(
    cases: Sequence[LabelledCase], dataset: str, *, jobs: int, reporter: Reporter
) -> tuple[JudgedCase, ...]:
    """Measure how the labels of cases disagree with predictions of them.

    Args:
        cases: What to compare.
        dataset: Its name, for errors.
        jobs: Worker processes for large files; small ones are read in this process.
        reporter: Shows the progress.

    Raises:
        DataError: Files that cannot be read, or do not lie on one grid; all of them at once.
    """
    jobs = worthwhile_jobs(jobs, (path for case in cases for path in (case.reference, case.prediction)))
    judged = list(map_ordered(_judge, cases, jobs=jobs, reporter=reporter, description="compare"))
    problems = [result for result in judged if isinstance(result, Problem)]
    if problems:
        raise DataError(dataset, problems)
    return tuple(result for result in judged if isinstance(result, JudgedCase))


def _judge(case: LabelledCase) -> JudgedCase | Problem:
    """Compare one case; what is wrong with its files becomes a problem for the table."""
    read = read_pair(Pair(case.case, case.reference, case.prediction), _REMEDY)
    if isinstance(read, Problem):
        return read
    reference, prediction, geometry = read
    return JudgedCase(
        case=case.case,
        reference=str(case.reference),
        prediction=str(case.prediction),
        fold=case.fold,
        geometry=geometry,
        classes=measure_disagreement(reference, prediction, case.labels, geometry.spacing_mm, case.annotated),
    )
