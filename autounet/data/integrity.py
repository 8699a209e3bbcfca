"""Whether the files of a case can be trained on: every problem named with case, file, value and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autounet.data.dataset import RawCase, short_path
from autounet.data.description import DatasetDescription
from autounet.data.io import Image, read_image, read_label
from autounet.data.io.base import FileError, geometry_difference
from autounet.errors import Problem, RequestError, some_of
from autounet.geometry import Array, Geometry

# Counted in pieces, because counting makes 64-bit copies of what it counts.
_COUNTED_AT_ONCE = 1 << 20
_MAX_COUNTED_VALUE = 65535
_MAX_COMPARED_VALUE = 16
_MAX_VALUES_SHOWN = 8


@dataclass(frozen=True)
class CheckedCase:
    """A case as read, and what is wrong with it; image and label are both there where nothing is wrong.

    Attributes:
        case: Its files.
        image: As read; `None` where a file cannot be read.
        label: `(Z, Y, X)`; `None` likewise.
        counts: Voxels of each value of the label.
        problems: What is wrong.
    """

    case: RawCase
    image: Image | None
    label: npt.NDArray[np.integer[Any]] | None
    counts: dict[int, int]
    problems: tuple[Problem, ...]


def check_case(case: RawCase, description: DatasetDescription) -> CheckedCase:
    """Read a training case and look for problems; errors of reading are problems too."""
    image: Image | None = None
    label: npt.NDArray[np.integer[Any]] | None = None
    counts: dict[int, int] = {}
    problems: list[Problem] = []
    try:
        image = read_image(case.images, description.num_channels)
    except RequestError as error:
        problems.append(reading_problem(case, error, case.images[0]))
    if case.label is None:
        problems.append(Problem(case.name, short_path(case.images[0]), "the case has no label", "add its label file"))
        return CheckedCase(case, image, label, counts, tuple(problems))
    try:
        label, label_geometry = read_label(case.label)
    except RequestError as error:
        problems.append(reading_problem(case, error, case.label))
    else:
        counts = value_counts(label)
        problems += (
            label_problems(case, case.label, counts, description)
            if image is None
            else case_problems(case, image, label, label_geometry, counts, description)
        )
    return CheckedCase(case, image, label, counts, tuple(problems))


def case_problems(
    case: RawCase,
    image: Image,
    label: Array,
    label_geometry: Geometry,
    counts: dict[int, int],
    description: DatasetDescription,
) -> list[Problem]:
    """What is wrong with a training case.

    Looked for: the number of channels, NaN and infinite voxels, different shapes, voxel sizes or places of image and
    label, and label values that `dataset.json` does not declare. An image of one constant value is harmless.

    Args:
        case: Names the files.
        image: As read from them.
        label: `(Z, Y, X)` integers.
        label_geometry: Of the label file.
        counts: Voxels of each value of the label.
        description: What is expected.
    """
    path = case.label if case.label is not None else case.images[0]
    return [
        *_image_problems(case, image, description),
        *_place_problems(case, path, image, label, label_geometry),
        *label_problems(case, path, counts, description),
    ]


def value_counts(label: Array) -> dict[int, int]:
    """How many voxels of a label map have each value, ascending; values that do not occur are left out."""
    low, high = int(label.min()), int(label.max())
    if low < 0 or high > _MAX_COUNTED_VALUE:
        values, totals = np.unique(label, return_counts=True)
        return dict(zip(values.tolist(), totals.tolist(), strict=True))
    if high <= _MAX_COMPARED_VALUE:
        # Comparing bytes takes a small fraction of the time of counting them in bins.
        counts = {value: int(np.count_nonzero(label == value)) for value in range(high + 1)}
        return {value: count for value, count in counts.items() if count}
    flat = label.reshape(-1)
    totals = np.zeros(high + 1, dtype=np.int64)
    for start in range(0, flat.size, _COUNTED_AT_ONCE):
        totals += np.bincount(flat[start : start + _COUNTED_AT_ONCE], minlength=high + 1)
    present = np.flatnonzero(totals)
    return dict(zip(present.tolist(), totals[present].tolist(), strict=True))


def _image_problems(case: RawCase, image: Image, description: DatasetDescription) -> list[Problem]:
    return [*channel_problems(case, image, description), *_finite_problems(case, image)]


def _place_problems(case: RawCase, path: Path, image: Image, label: Array, label_geometry: Geometry) -> list[Problem]:
    """Whether the label file at `path` covers the voxels of the image."""
    if label.shape != image.shape:
        what = f"the label's shape {label.shape} differs from the image's, {image.shape} (z, y, x)"
        remedy = f"bring it to the grid of {case.images[0].name}, with nearest neighbour"
        return [Problem(case.name, short_path(path), what, remedy)]
    difference = geometry_difference(image.geometry, label_geometry, image.shape)
    if difference is None:
        return []
    what = f"does not lie where {case.images[0].name} does: {difference}"
    remedy = "resample the label to the image, or copy the image's header to it if the voxels do match"
    return [Problem(case.name, short_path(path), what, remedy)]


def channel_problems(case: RawCase, image: Image, description: DatasetDescription) -> list[Problem]:
    """Whether an image has as many channels as `dataset.json` declares."""
    num_channels = image.array.shape[0]
    if num_channels == description.num_channels:
        return []
    names = ", ".join(description.channel_names)
    what = f"{num_channels} channel{'s' * (num_channels != 1)} found, {description.num_channels} declared ({names})"
    remedy = f"add files _0000 to _{description.num_channels - 1:04d}, or correct channel_names in dataset.json"
    return [Problem(case.name, short_path(case.images[0]), what, remedy)]


def _finite_problems(case: RawCase, image: Image) -> list[Problem]:
    problems = []
    for index, channel in enumerate(image.array):
        # NaN passes through minimum and maximum: no mask of the whole volume is needed to see that all is well.
        with np.errstate(invalid="ignore"):
            if np.isfinite(channel.min()) and np.isfinite(channel.max()):
                continue
        num_nan, num_infinite = int(np.isnan(channel).sum()), int(np.isinf(channel).sum())
        path = case.images[index] if len(case.images) == image.array.shape[0] else case.images[0]
        what = f"channel {index} has {num_nan} NaN and {num_infinite} infinite voxels of {channel.size}"
        remedy = "replace them, for example by the value of air or 0"
        problems.append(Problem(case.name, short_path(path), what, remedy))
    return problems


def label_problems(case: RawCase, path: Path, counts: dict[int, int], description: DatasetDescription) -> list[Problem]:
    """What is wrong with the values of a label file."""
    return [
        *value_problems(case, path, counts, description),
        *annotation_problems(case, path, counts, description),
    ]


def value_problems(case: RawCase, path: Path, counts: dict[int, int], description: DatasetDescription) -> list[Problem]:
    """Whether a label file holds only values that `dataset.json` declares."""
    declared = description.labels.declared_values
    undeclared = {value: count for value, count in counts.items() if value not in declared}
    if not undeclared:
        return []
    values = some_of([f"{value} ({count} voxels)" for value, count in undeclared.items()], _MAX_VALUES_SHOWN)
    what = f"undeclared label value{'s' * (len(undeclared) != 1)} {values}"
    remedy = f"renumber to the declared {_listed(declared)}, or declare them under 'labels' in dataset.json"
    return [Problem(case.name, short_path(path), what, remedy)]


def reading_problem(case: RawCase, error: RequestError, path: Path) -> Problem:
    """A file that cannot be read, as a problem of its case."""
    if isinstance(error, FileError):
        return Problem(case.name, short_path(error.path), error.what, error.remedy)
    return Problem(case.name, short_path(path), str(error), "correct the file")


def annotation_problems(
    case: RawCase, path: Path, counts: dict[int, int], description: DatasetDescription
) -> list[Problem]:
    """Whether a label file holds classes that are said not to be annotated in the case."""
    if case.annotated is None:
        return []
    labels = description.labels
    found = {value: counts[value] for value in labels.values_not_of(case.annotated) if counts.get(value)}
    if not found:
        return []
    names = {value: next(entry.name for entry in labels.classes if value in entry.values) for value in found}
    shown = ", ".join(f"{names[value]} ({value}, {count} voxels)" for value, count in found.items())
    what = f"holds {shown}, but 'annotated' lists only {', '.join(case.annotated)} for the case"
    remedy = "list the class under 'annotated' if all of it is drawn; otherwise set these voxels to 0"
    return [Problem(case.name, short_path(path), what, remedy)]


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) if len(values) <= _MAX_VALUES_SHOWN else f"{values[0]} to {values[-1]}"
