"""Scoring a folder of predictions against a folder of references, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.data.description import DatasetDescription
from autounet.data.io import READERS, FileError, known_ending, label_ending, read_label
from autounet.data.io.base import geometry_difference
from autounet.errors import DataError, Problem, RequestError
from autounet.evaluation.overlap import Confusion, confusion, score_confusion
from autounet.evaluation.summary import CaseScores, Summary, summarize
from autounet.labels import BACKGROUND, LabelClass, LabelSchema
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Reporter


@dataclass(frozen=True)
class _Pair:
    case: str
    reference: Path
    prediction: Path


@dataclass(frozen=True)
class _Counted:
    """What came of one pair: its confusion matrix, or what is wrong with it."""

    pair: _Pair
    pairs: Confusion | None
    problem: Problem | None


def evaluate_folders(
    reference_dir: Path,
    prediction_dir: Path,
    labels: LabelSchema | None = None,
    *,
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
        jobs: Worker processes for large folders; small ones are scored in this process.
        reporter: Shows the progress.

    Returns:
        Scores by case and class, and their means.

    Raises:
        RequestError: A folder does not exist, or the file ending cannot be told.
        DataError: Files without a partner, unreadable ones, ones of different shape or geometry, or values that
            the schema does not declare; all of them at once.
    """
    for folder in (reference_dir, prediction_dir):
        if not folder.is_dir():
            raise RequestError(f"{folder} is no folder. Name the folder that holds the label files.")
    description = _find_description(reference_dir, prediction_dir)
    ending = label_ending(description.file_ending) if description is not None else _common_ending(reference_dir)
    schema = labels if labels is not None or description is None else description.labels
    pairs, problems = _pair_files(reference_dir, prediction_dir, ending)
    counted = _count_all(pairs, jobs=jobs, reporter=reporter)
    problems += [item.problem for item in counted if item.problem is not None]
    found = {item.pair: item.pairs for item in counted if item.pairs is not None}
    if schema is not None:
        problems += [problem for pair, counts in found.items() for problem in _undeclared(pair, counts, schema)]
    if problems:
        raise DataError(f"{prediction_dir} against {reference_dir}", sorted(problems, key=lambda item: item.case))
    schema = schema or _schema_of_values(list(found.values()), reference_dir)
    return summarize(_scores(pair, counts, schema, description) for pair, counts in found.items())


def _scores(pair: _Pair, counts: Confusion, schema: LabelSchema, description: DatasetDescription | None) -> CaseScores:
    """The scores of a pair, of the classes that the `dataset.json` says were annotated in it."""
    annotated = None
    # Under a schema of the caller's own, names may mean something else.
    if description is not None and set(schema.class_names) <= set(description.labels.class_names):
        annotated = description.annotated_in(pair.case)
    return CaseScores(
        case=pair.case,
        reference=str(pair.reference),
        prediction=str(pair.prediction),
        classes=score_confusion(counts, schema, annotated),
        not_annotated=schema.classes_but(annotated),
    )


def _find_description(reference_dir: Path, prediction_dir: Path) -> DatasetDescription | None:
    """The `dataset.json` that goes with the references, or that a prediction left beside its masks."""
    for folder in (reference_dir, reference_dir.absolute().parent, prediction_dir):
        if (folder / "dataset.json").is_file():
            return DatasetDescription.load(folder)
    return None


def _common_ending(folder: Path) -> str:
    """The one known ending among the files of a folder."""
    names = _visible_files(folder)
    endings = {ending for ending in map(known_ending, names) if ending is not None}
    if len(endings) == 1:
        return endings.pop()
    found = f"label files of several endings ({', '.join(sorted(endings))})" if endings else "no label file"
    raise RequestError(
        f"{folder} holds {found}, and no dataset.json is in it, above it, or with the predictions. "
        "Name a folder of files of one ending, or put a dataset.json there. "
        f"Known endings: {', '.join(sorted(READERS))}."
    )


def _visible_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _pair_files(reference_dir: Path, prediction_dir: Path, ending: str) -> tuple[list[_Pair], list[Problem]]:
    """Pairs of files of the same name, and what has no partner."""
    references, predictions = (
        {name for name in _visible_files(folder) if name.endswith(ending)} for folder in (reference_dir, prediction_dir)
    )
    for folder, names in ((reference_dir, references), (prediction_dir, predictions)):
        if not names:
            # The files without a partner would only bury this.
            others = sorted({"".join(Path(name).suffixes) or name for name in _visible_files(folder)})
            held = f"; it holds {', '.join(others[:5])}" if others else "; it is empty"
            remedy = "name the folder of the label files, all of the ending of the references"
            raise DataError(
                f"{prediction_dir} against {reference_dir}",
                [Problem(case="-", file=str(folder), what=f"no file ends in {ending}{held}", remedy=remedy)],
            )
    pairs = [
        _Pair(case=name.removesuffix(ending), reference=reference_dir / name, prediction=prediction_dir / name)
        for name in sorted(references & predictions)
    ]
    no_prediction = f"{prediction_dir} has no prediction for this reference"
    no_reference = f"{reference_dir} has no reference for this prediction"
    alone = (
        (reference_dir, references - predictions, no_prediction, "predict the case, or move its reference"),
        (prediction_dir, predictions - references, no_reference, "add the reference, or move the prediction"),
    )
    problems = [
        Problem(name.removesuffix(ending), str(folder / name), what, f"{remedy} to another folder")
        for folder, names, what, remedy in alone
        for name in sorted(names)
    ]
    return pairs, problems


def _count_all(pairs: Sequence[_Pair], *, jobs: int, reporter: Reporter) -> list[_Counted]:
    """Count every pair; in this process where that is sooner done than starting others."""
    jobs = worthwhile_jobs(jobs, (path for pair in pairs for path in (pair.reference, pair.prediction)))
    return list(map_ordered(_count, pairs, jobs=jobs, reporter=reporter, description="score"))


def _count(pair: _Pair) -> _Counted:
    """Read and count one pair; what is wrong with the files becomes a problem for the table."""
    path = pair.reference
    try:
        reference, reference_geometry = read_label(path)
        path = pair.prediction
        prediction, prediction_geometry = read_label(path)
    except FileError as error:
        return _Counted(pair, None, Problem(case=pair.case, file=str(path), what=error.what, remedy=error.remedy))
    if reference.shape != prediction.shape:
        what = f"shape {prediction.shape} (z, y, x), but the reference has {reference.shape}"
    else:
        z, y, x = reference.shape
        difference = geometry_difference(reference_geometry, prediction_geometry, (z, y, x))
        if difference is None:
            return _Counted(pair, confusion(reference, prediction), None)
        what = f"reference and prediction do not lie at the same place: {difference}"
    remedy = "write the prediction on the grid of the image that the reference was drawn on"
    return _Counted(pair, None, Problem(case=pair.case, file=str(path), what=what, remedy=remedy))


def _undeclared(pair: _Pair, counts: Confusion, schema: LabelSchema) -> list[Problem]:
    """Values that the schema does not know; masks of 0 and 255 would otherwise score a silent 0."""
    sides = ((pair.reference, counts.reference_values), (pair.prediction, counts.predicted_values))
    return [
        Problem(
            case=pair.case,
            file=str(path),
            what=f"holds undeclared values {sorted(set(values) - set(schema.declared_values))[:10]}",
            remedy=f"use the declared values {list(schema.declared_values)} only",
        )
        for path, values in sides
        if not set(values) <= set(schema.declared_values)
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
