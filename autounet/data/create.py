"""Understand images and labels that lie somewhere, as a dataset that can be planned for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.data.dataset import short_path
from autounet.data.draft import Draft, require_writable, unusable, usual_ending, written_anew
from autounet.data.integrity import value_counts
from autounet.data.io import FileError, read_image, read_label
from autounet.data.sources import Gathered, SourceCase, gather_folders, gather_table
from autounet.data.unlabelled import gather_test_images
from autounet.errors import Problem, RequestError
from autounet.labels import BACKGROUND, LabelSchema
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Reporter

_TABLE_ENDINGS = (".csv", ".tsv")
# More values than this are no classes: intensities, or instances numbered through.
_MAX_VALUES = 256
# Air in Hounsfield units lies at -1000; no other modality has values so low.
_BELOW_ALL_BUT_CT = -500.0
_COLOURS = {1: ("grey",), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}
_PHOTOGRAPHIC = (".png", ".bmp", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Naming:
    """What the user calls things.

    Attributes:
        channels: Names of the channels, in order; by default from the files' names.
        labels: Names of the label values above 0, ascending; or `NAME=VALUE`.
    """

    channels: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Scanned:
    case: str
    values: tuple[int, ...]
    problem: Problem | None = None


def understand(
    images: Path,
    labels: Path | None,
    folder: Path,
    naming: Naming | None = None,
    *,
    test_images: Path | None = None,
    convert_to: str | None = None,
    jobs: int = 1,
    reporter: Reporter = SILENT,
) -> Draft:
    """Work out cases, channels and label values.

    Every label file is read for its values, and one image for its channels; all else is checked when planning.

    Args:
        images: Folder of images, or a CSV of paths.
        labels: Folder of labels; `None` for a CSV, or where they lie in the folder of the images.
        folder: Where the dataset will be.
        naming: What the user calls things.
        test_images: Folder of images without labels.
        convert_to: Ending of the format that images of any other are to be written in.
        jobs: Worker processes at most.
        reporter: Shows the progress.

    Raises:
        RequestError: The sources cannot be read, or the names given do not fit them.
    """
    naming = naming or Naming()
    if convert_to is not None:
        require_writable(convert_to)
    is_table = images.suffix.lower() in _TABLE_ENDINGS
    if is_table and labels is not None:
        raise RequestError(f"{images} is a table with a column for the labels; leave out {labels}")
    gathered = gather_table(images) if is_table else gather_folders(images, labels)
    tests = gather_test_images(test_images, gathered.channels) if test_images is not None else Gathered((), (), ())
    paths = [case.label for case in gathered.cases if case.label is not None]
    jobs = worthwhile_jobs(jobs, (path for path in paths if path.is_file()))
    scanned = list(map_ordered(_scan, gathered.cases, jobs=jobs, reporter=reporter, description="read labels"))
    counted = Counter(value for scan in scanned for value in scan.values)
    value_cases = {value: counted[value] for value in sorted(counted)}
    problems = [scan.problem for scan in scanned if scan.problem is not None]
    problems += _value_problems(gathered, value_cases)
    schema = None
    if not problems and gathered.cases:
        values = name_values(sorted(value_cases), naming.labels)
        schema = LabelSchema.from_dataset_json({"background": BACKGROUND, **values}, None, "the label files")
    channels, remarks, channel_problems = _channels(gathered, naming)
    problems += unusable((*gathered.cases, *tests.cases)) if convert_to is None else []
    problems += channel_problems
    return Draft(
        folder=folder,
        cases=gathered.cases,
        test_cases=tests.cases,
        channel_names=channels,
        file_ending=convert_to or usual_ending(gathered.cases),
        labels=schema,
        value_cases=value_cases,
        left_out=(*gathered.problems, *tests.problems),
        problems=tuple(problems),
        remarks=(*remarks, *_conversions(gathered, tests, convert_to)),
    )


def _conversions(gathered: Gathered, tests: Gathered, ending: str | None) -> list[str]:
    """What is said of images that are written anew."""
    if ending is None:
        return []
    number = len(written_anew((*gathered.cases, *tests.cases), ending))
    return [f"{number} image file{'s' * (number != 1)} of another format will be written anew as {ending}"]


def name_values(found: Sequence[int], names: Sequence[str]) -> dict[str, int | list[int]]:
    """A name for every label value above 0.

    Args:
        found: Values in the files, ascending.
        names: As many names, or `NAME=VALUE`; none for `class_1` and so on.

    Raises:
        RequestError: There are more or fewer names than values, or values without a name.
    """
    values = [value for value in found if value != BACKGROUND]
    listed = ", ".join(map(str, values))
    if not names:
        return {("foreground" if len(values) == 1 else f"class_{value}"): value for value in values}
    pairs = [name.rpartition("=") for name in names]
    if all(equals and value.isdigit() for _, equals, value in pairs):
        named: dict[str, int | list[int]] = {name: int(value) for name, _, value in pairs}
        nameless = sorted(set(values) - {int(value) for _, _, value in pairs})
        if nameless:
            raise RequestError(f"--label names no value {', '.join(map(str, nameless))}, which the label files hold")
        named.pop("background", None)
        return named
    if len(names) != len(values):
        raise RequestError(
            f"--label gives {len(names)} names, but the label files hold {len(values)} values besides 0: {listed}. "
            "Give a name for each in that order, or NAME=VALUE."
        )
    if len(set(names)) < len(names) or "background" in names:
        raise RequestError(f"--label {' '.join(names)}: every value above 0 needs a name of its own; background is 0")
    return dict(zip(names, values, strict=True))


def _scan(case: SourceCase) -> _Scanned:
    """The values of a case's label file."""
    assert case.label is not None
    try:
        label, _ = read_label(case.label)
    except FileError as error:
        return _Scanned(case.name, (), Problem(case.name, short_path(error.path), error.what, error.remedy))
    except RequestError as error:
        return _Scanned(case.name, (), Problem(case.name, short_path(case.label), str(error), "correct the file"))
    return _Scanned(case.name, tuple(value_counts(label)))


def _value_problems(gathered: Gathered, value_cases: dict[int, int]) -> list[Problem]:
    if not gathered.cases or not value_cases:
        return []
    values = sorted(value_cases)
    if values == [BACKGROUND]:
        what = "no label file has a value above 0"
        return [Problem("-", "labels", what, "check that these are the labels, and that they were exported")]
    if len(values) > _MAX_VALUES:
        what = f"the label files hold {len(values)} values from {values[0]} to {values[-1]}"
        return [Problem("-", "labels", what, "these may be images, or numbered objects; save one value per class")]
    if values[0] < 0:
        return [Problem("-", "labels", f"there is the label value {values[0]}", "renumber, values start at 0")]
    return []


def _channels(gathered: Gathered, naming: Naming) -> tuple[tuple[str, ...], tuple[str, ...], list[Problem]]:
    """Names of the channels, what to remark on them, and whether the first image can be read."""
    if not gathered.cases:
        return naming.channels, (), []
    first = gathered.cases[0]
    try:
        image = read_image(first.images)
    except RequestError as error:
        file, what = short_path(first.images[0]), str(error)
        return naming.channels, (), [Problem(first.name, file, what, "correct the file")]
    count = image.array.shape[0]
    if naming.channels and len(naming.channels) != count:
        raise RequestError(
            f"--channel gives {len(naming.channels)} names, but {first.name} has {count} channel{'s' * (count != 1)}"
            f" ({', '.join(path.name for path in first.images)}). Give {count}, or none."
        )
    names = naming.channels or _channel_names(gathered.channels, count, usual_ending(gathered.cases))
    remarks = []
    if not naming.channels and "CT" not in names and float(image.array.min()) < _BELOW_ALL_BUT_CT:
        remarks.append(
            "The images look like CT in Hounsfield units. To have them normalised as CT, name the channel: --channel CT"
        )
    return names, tuple(remarks), []


def _channel_names(told: Sequence[str], count: int, ending: str) -> tuple[str, ...]:
    """Names for channels, from what tells the files apart."""
    if len(told) == count and all(re.search(r"[^\W\d_]", name) for name in told):
        return tuple("CT" if name.lower() == "ct" else name for name in told)
    if len(told) == 1 and ending in _PHOTOGRAPHIC and count in _COLOURS:
        return _COLOURS[count]
    return ("image",) if count == 1 else tuple(f"channel_{index}" for index in range(count))
