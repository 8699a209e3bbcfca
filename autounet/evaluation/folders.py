"""Scoring a folder of predictions against a folder of references, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from autounet.data.description import DatasetDescription
from autounet.errors import DataError, Problem, RequestError, some_of
from autounet.evaluation.case import OBJECTS, class_metrics, object_metrics
from autounet.evaluation.metrics import OVERLAP_ALONE, MetricChoice, Values
from autounet.evaluation.overlap import Confusion, confusion, score_confusion
from autounet.evaluation.pairs import Pair, pair_folders, read_pair
from autounet.evaluation.summary import CaseScores, Summary, summarize
from autounet.labels import BACKGROUND, BACKGROUND_NAME, LabelClass, LabelSchema
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Reporter
from autounet.records import nearest

Missing = Literal["error", "ignore"]

# How many times as long as reading and counting a pair of files, the other metrics take.
_EFFORT_OF_METRICS = 30


@dataclass(frozen=True)
class _Task:
    """What to measure in a pair.

    Attributes:
        choice: Metrics beyond overlap.
        labels: What values mean; `None` while that is unknown, and for objects.
        annotated: The classes that were annotated in the case; `None` for all.
        objects: The files hold numbers of objects, not classes.
    """

    pair: Pair
    choice: MetricChoice
    labels: LabelSchema | None
    annotated: tuple[str, ...] | None
    objects: bool


@dataclass(frozen=True)
class _Measured:
    """What came of a pair: its confusion matrix and metrics, or what is wrong with it."""

    task: _Task
    counts: Confusion | None = None
    metrics: dict[str, Values] = field(default_factory=dict)
    problem: Problem | None = None


def evaluate_folders(
    reference_dir: Path,
    prediction_dir: Path,
    labels: LabelSchema | None = None,
    *,
    choice: MetricChoice = OVERLAP_ALONE,
    objects: bool = False,
    missing: Missing = "error",
    jobs: int = 1,
    reporter: Reporter = SILENT,
) -> Summary:
    """Score every prediction against the reference of the same file name.

    The file ending is that of a `dataset.json` in the reference folder, the folder above it or the prediction
    folder; without one, the one known ending that the reference folder holds.

    Args:
        reference_dir: Folder of label maps, for example `labelsTr`.
        prediction_dir: Folder of predicted label maps.
        labels: What the values mean; by default as that `dataset.json` says, and without one, every value other
            than 0 that occurs in a file is a class of its own, named `class 1` and so on.
        choice: What to measure beyond overlap.
        objects: The files are instance maps: every value other than 0 is one object.
        missing: What to do about files without a partner: refuse, or leave them out and say so in the summary.
        jobs: Worker processes for large folders; small ones are scored in this process.
        reporter: Shows the progress.

    Returns:
        Scores by case and class, and their means.

    Raises:
        RequestError: A folder does not exist, the file ending cannot be told, or the class between regions is unknown.
        DataError: Files without a partner, unreadable ones, ones of different shape or geometry, or values that
            the schema does not declare; all of them at once.
    """
    pairing = pair_folders(reference_dir, prediction_dir)
    title = f"{prediction_dir} against {reference_dir}"
    problems = list(pairing.alone) if missing == "error" or not pairing.pairs else []
    schema, description = _schema(labels, pairing.description, objects)
    if schema is not None:
        _require_boundary(schema, choice)
    tasks = [
        _Task(pair, choice, schema, None if description is None else description.annotated_in(pair.case), objects)
        for pair in pairing.pairs
    ]
    measured = _measure_all(tasks, jobs=jobs, reporter=reporter)
    problems += [problem for item in measured for problem in _problems(item)]
    if problems:
        raise DataError(title, sorted(problems, key=lambda problem: problem.case))
    if schema is None:
        schema = _schema_of_values([item.counts for item in measured if item.counts is not None], reference_dir)
        _require_boundary(schema, choice)
        if choice.families:
            measured = _measure_all([replace(task, labels=schema) for task in tasks], jobs=jobs, reporter=reporter)
    left_out = [problem.file for problem in pairing.alone]
    return summarize((_scores(item, schema) for item in measured), choice, left_out)


def _schema(
    labels: LabelSchema | None, description: DatasetDescription | None, objects: bool
) -> tuple[LabelSchema | None, DatasetDescription | None]:
    """What values mean, and the description if it says something of these classes."""
    if objects:
        return OBJECTS, None
    if labels is None or description is None:
        return (labels, None) if description is None else (description.labels, description)
    # Under a schema of the caller's own, names may mean something else.
    return labels, description if set(labels.class_names) <= set(description.labels.class_names) else None


def _require_boundary(schema: LabelSchema, choice: MetricChoice) -> None:
    """Refuse what separates no regions, for there is no such class."""
    name, known = choice.regions_between, [BACKGROUND_NAME, *schema.class_names]
    if name is not None and name not in known:
        raise RequestError(
            f"--regions-between {name}: no such class.{nearest(name, known)} There are {', '.join(known)}."
        )


def _scores(measured: _Measured, schema: LabelSchema) -> CaseScores:
    """The scores of a pair, of the classes that were annotated in it."""
    task = measured.task
    assert measured.counts is not None
    overlap = score_confusion(measured.counts, schema, task.annotated)
    return CaseScores(
        case=task.pair.case,
        reference=str(task.pair.reference),
        prediction=str(task.pair.prediction),
        classes={
            name: score.model_copy(update={"metrics": measured.metrics.get(name, {})})
            for name, score in overlap.items()
        },
        not_annotated=schema.classes_but(task.annotated),
    )


def _measure_all(tasks: Sequence[_Task], *, jobs: int, reporter: Reporter) -> list[_Measured]:
    """Measure every pair; in this process where that is sooner done than starting others."""
    files = (path for task in tasks for path in (task.pair.reference, task.pair.prediction))
    effort = _EFFORT_OF_METRICS if any(task.choice.families for task in tasks) else 1
    jobs = worthwhile_jobs(jobs, files, effort)
    return list(map_ordered(_measure, tasks, jobs=jobs, reporter=reporter, description="score"))


def _measure(task: _Task) -> _Measured:
    """Read and measure one pair; what is wrong with the files becomes a problem for the table."""
    read = read_pair(task.pair)
    if isinstance(read, Problem):
        return _Measured(task, problem=read)
    reference, prediction, geometry = read
    if task.objects:
        metrics = {OBJECTS.classes[0].name: object_metrics(reference, prediction, task.choice)}
        return _Measured(task, confusion((reference > 0).view(np.uint8), (prediction > 0).view(np.uint8)), metrics)
    counts = confusion(reference, prediction)
    if task.labels is None:
        return _Measured(task, counts)
    return _Measured(
        task,
        counts,
        class_metrics(reference, prediction, geometry.spacing_mm, task.labels, task.choice, task.annotated),
    )


def _problems(measured: _Measured) -> list[Problem]:
    """What is wrong with a pair: its files, or values that the schema does not know.

    Masks of 0 and 255 would otherwise score a silent 0.
    """
    if measured.problem is not None:
        return [measured.problem]
    task, counts = measured.task, measured.counts
    if task.labels is None or counts is None:
        return []
    declared = task.labels.declared_values
    sides = ((task.pair.reference, counts.reference_values), (task.pair.prediction, counts.predicted_values))
    return [
        Problem(
            case=task.pair.case,
            file=str(path),
            what=f"holds undeclared values {some_of(sorted(set(values) - set(declared)), 10)}",
            remedy=f"use the declared values {list(declared)} only; of numbered objects, score with --instances",
        )
        for path, values in sides
        if not set(values) <= set(declared)
    ]


def _schema_of_values(all_counts: Sequence[Confusion], folder: Path) -> LabelSchema:
    """Every value that occurs in a reference or a prediction as a class of its own."""
    values = {int(value) for counts in all_counts for value in counts.values} - {BACKGROUND}
    if not values:
        raise RequestError(
            f"all label files of {folder} and all predictions are empty, so there is no class to score. "
            "Put a dataset.json that names the classes beside the references."
        )
    return LabelSchema(classes=tuple(LabelClass(name=f"class {value}", values=(value,)) for value in sorted(values)))
