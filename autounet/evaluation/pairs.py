"""Which prediction belongs to which reference, and what the label values of both mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autounet.data.description import DatasetDescription
from autounet.data.io import READERS, FileError, known_ending, label_ending, read_label
from autounet.data.io.base import geometry_difference
from autounet.errors import DataError, Problem, RequestError, some_of
from autounet.geometry import Array, Geometry


@dataclass(frozen=True)
class Pair:
    """Two files of one name."""

    case: str
    reference: Path
    prediction: Path


@dataclass(frozen=True)
class Pairing:
    """The files of two folders.

    Attributes:
        pairs: By case.
        alone: What has no partner, as problems.
        description: The `dataset.json` that goes with the references, or that a prediction left beside its masks.
    """

    pairs: tuple[Pair, ...]
    alone: tuple[Problem, ...]
    description: DatasetDescription | None


def pair_folders(reference_dir: Path, prediction_dir: Path) -> Pairing:
    """Find the prediction of every reference, by the name of its file.

    The file ending is that of a `dataset.json` in the reference folder, the folder above it or the prediction
    folder; without one, the one known ending that the reference folder holds.

    Raises:
        RequestError: A folder does not exist, or the file ending cannot be told.
        DataError: A folder holds no such file.
    """
    for folder in (reference_dir, prediction_dir):
        if not folder.is_dir():
            raise RequestError(f"{folder} is no folder. Name the folder that holds the label files.")
    description = _find_description(reference_dir, prediction_dir)
    ending = label_ending(description.file_ending) if description is not None else _common_ending(reference_dir)
    references, predictions = (_names(folder, ending) for folder in (reference_dir, prediction_dir))
    pairs = tuple(
        Pair(case=name.removesuffix(ending), reference=reference_dir / name, prediction=prediction_dir / name)
        for name in sorted(references & predictions)
    )
    alone = _without_partner(reference_dir, references, prediction_dir, predictions, ending)
    return Pairing(pairs, tuple(alone), description)


def read_pair(
    pair: Pair, remedy: str = "write the prediction on the grid of the image that the reference was drawn on"
) -> tuple[Array, Array, Geometry] | Problem:
    """Both label maps `(Z, Y, X)` and where the reference lies, or why they cannot be compared.

    Args:
        pair: The files.
        remedy: What to do where they lie on different grids.
    """
    path = pair.reference
    try:
        reference, geometry = read_label(path)
        path = pair.prediction
        prediction, its_geometry = read_label(path)
    except FileError as error:
        return Problem(case=pair.case, file=str(path), what=error.what, remedy=error.remedy)
    if reference.shape != prediction.shape:
        what = f"shape {prediction.shape} (z, y, x), but the reference has {reference.shape}"
    else:
        z, y, x = reference.shape
        difference = geometry_difference(geometry, its_geometry, (z, y, x))
        if difference is None:
            return reference, prediction, geometry
        what = f"reference and prediction do not lie at the same place: {difference}"
    return Problem(case=pair.case, file=str(path), what=what, remedy=remedy)


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


def _names(folder: Path, ending: str) -> set[str]:
    """The label files of a folder.

    Raises:
        DataError: There is none; the files without a partner would only bury this.
    """
    names = {name for name in _visible_files(folder) if name.endswith(ending)}
    if not names:
        others = sorted({"".join(Path(name).suffixes) or name for name in _visible_files(folder)})
        held = f"; it holds {some_of(others, 5)}" if others else "; it is empty"
        remedy = "name the folder of the label files, all of the ending of the references"
        raise DataError(
            str(folder), [Problem(case="-", file=str(folder), what=f"no file ends in {ending}{held}", remedy=remedy)]
        )
    return names


def _without_partner(
    reference_dir: Path, references: set[str], prediction_dir: Path, predictions: set[str], ending: str
) -> list[Problem]:
    no_prediction = f"{prediction_dir} has no prediction for this reference"
    no_reference = f"{reference_dir} has no reference for this prediction"
    alone = (
        (reference_dir, references - predictions, no_prediction, "predict the case"),
        (prediction_dir, predictions - references, no_reference, "add the reference"),
    )
    return [
        Problem(name.removesuffix(ending), str(folder / name), what, f"{remedy}, or leave it out with --missing ignore")
        for folder, names, what, remedy in alone
        for name in sorted(names)
    ]
