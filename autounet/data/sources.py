"""The images and labels of a dataset to be made: from two folders, from one, or from a table of paths."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.data.dataset import short_path
from autounet.data.io import DICOM_ENDING, FOLDER_ENDINGS, is_there, known_ending
from autounet.data.matching import LABEL_WORDS, FoundFile, MatchedCase, is_label_name, match_files
from autounet.errors import Problem, RequestError

_LABEL_COLUMNS = ("label", "mask", "seg", "segmentation")
_IMAGE_COLUMN = re.compile(r"image(?:_(.*)|(\d+))?", re.IGNORECASE)
_CHANNEL_SUFFIX = re.compile(r"_\d{4}$")
_DICOM_MAGIC_AT, _DICOM_MAGIC = 128, b"DICM"


@dataclass(frozen=True)
class SourceCase:
    """A case as it lies somewhere.

    Attributes:
        name: What it will be called.
        images: One file per channel, or one with all of them; folders of DICOM slices too.
        label: Its label; `None` for a test case.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None


@dataclass(frozen=True)
class Gathered:
    """What was found.

    Attributes:
        cases: Cases with all their files, sorted by name.
        channels: What tells the image files of a case apart, in order; one empty text where there is one file.
        problems: Files that belong to no case, and cases that lack files.
    """

    cases: tuple[SourceCase, ...]
    channels: tuple[str, ...]
    problems: tuple[Problem, ...]


def gather_folders(images: Path, labels: Path | None) -> Gathered:
    """Work out the cases of two folders, or of one folder in which the names of the label files say what they are.

    Raises:
        RequestError: A folder is missing, or holds no images or no labels.
    """
    if labels is None or labels.resolve() == images.resolve():
        found = found_files(images)
        label_files = [file for file in found if is_label_name(file.stem)]
        if not label_files:
            label_files = [file for file in found if any(map(is_label_name, Path(file.stem).parts))]
        if not label_files:
            if (images / "dataset.json").is_file():
                raise RequestError(
                    f"{images} has a dataset.json: put it into raw/ if it is in nnU-Net's layout, or, of the Medical "
                    f"Segmentation Decathlon, run: autounet dataset convert_msd {images}"
                )
            raise RequestError(
                f"no file in {images} is called a label (by a word such as {', '.join(sorted(LABEL_WORDS)[:4])}). "
                "Name the folder of the labels as the second argument, or give a CSV of paths."
            )
        taken = {file.path for file in label_files}
        image_files = [file for file in found if file.path not in taken]
    else:
        image_files, label_files = found_files(images, but=labels), found_files(labels, but=images)
    for folder, files in ((images, image_files), (labels or images, label_files)):
        if not files:
            raise RequestError(f"{folder} holds no file of a known format. Name the folder with the files themselves.")
    matching = match_files(image_files, label_files)
    channels = _ordered(list(matching.cases[0].images)) if matching.cases else ()
    cases, problems = [], list(matching.problems)
    names: dict[str, Path] = {}
    for case in matching.cases:
        name = _name_of(case)
        if names.setdefault(name, case.label.path) != case.label.path:
            what = f"would be called {name} as {short_path(names[name])} is"
            problems.append(Problem(name, short_path(case.label.path), what, "rename it, or give a CSV of paths"))
            continue
        paths = tuple(case.images[channel].path for channel in channels)
        cases.append(SourceCase(name, paths, case.label.path))
    return Gathered(tuple(sorted(cases, key=lambda case: case.name)), channels, tuple(problems))


def gather_table(table: Path) -> Gathered:
    """Read a CSV with the columns `label`, `image` or `image_0`, `image_1`, ... (or `image_T1`, ...), perhaps `case`.

    Paths are absolute, or relative to the table.

    Raises:
        RequestError: The table cannot be read, or lacks columns.
    """
    rows = _rows_of(table)
    columns = {name.lower(): name for name in rows[0]}
    label_column = next((columns[name] for name in _LABEL_COLUMNS if name in columns), None)
    matches = {name: match for name in rows[0] if (match := _IMAGE_COLUMN.fullmatch(name))}
    image_columns = {match[1] or match[2] or "": name for name, match in matches.items()}
    if label_column is None or not image_columns:
        raise RequestError(
            f"{table} must have the columns label and image (or image_0, image_1, ...), it has {', '.join(rows[0])}"
        )
    numbered = all(channel.isdigit() for channel in image_columns)
    channels = _ordered(list(image_columns)) if numbered else tuple(image_columns)
    images = [[table.parent / row[image_columns[channel]] for channel in channels] for row in rows]
    labels = [table.parent / row[label_column] for row in rows]
    names = [row.get(columns.get("case", ""), "") for row in rows]
    if not all(names) or len(set(names)) < len(names):
        names = _names([paths[0] for paths in images], labels)
    cases, problems = [], []
    for name, paths, label in zip(names, images, labels, strict=True):
        # An empty cell would be the table's own folder.
        missing = [path for path in (*paths, label) if path == table.parent or not is_there(path)]
        remedy = f"correct the path in {table.name}; paths are relative to that file's folder"
        problems += [Problem(name, str(path), "does not exist", remedy) for path in missing]
        if not missing:
            cases.append(SourceCase(name.replace("/", "_"), tuple(paths), label))
    return Gathered(tuple(sorted(cases, key=lambda case: case.name)), channels, tuple(problems))


def _rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a table, separated by what separates the names of its columns."""
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
        head = lines[0] if lines else ""
        read = list(csv.DictReader(lines, delimiter=max(",;\t", key=head.count)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{table} cannot be read: {error}") from None
    rows = [{str(key).strip(): str(value or "").strip() for key, value in row.items() if key} for row in read]
    if not rows:
        raise RequestError(f"{table} has no row. Write the columns image,label and a row for every case.")
    return rows


def found_files(folder: Path, but: Path | None = None) -> list[FoundFile]:
    """Files of known formats in a folder and its subfolders, sorted; a folder of DICOM slices counts as one.

    Args:
        folder: Where to look. Hidden files, among them macOS's `._` twins, do not count.
        but: A subfolder to leave out.

    Raises:
        RequestError: There is no such folder.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder. Name the folder of the files, or a CSV of paths.")
    left_out = but.resolve() if but is not None else None
    found: list[FoundFile] = []
    for place, subfolders, names in os.walk(folder):
        here = Path(place)
        visible = sorted(name for name in names if not name.startswith("."))
        if here != folder and _is_series(here, visible):
            subfolders.clear()
            found.append(FoundFile(here, here.relative_to(folder).as_posix(), DICOM_ENDING))
            continue
        images = [name for name in subfolders if known_ending(name) in FOLDER_ENDINGS and known_ending(name) != ".dcm"]
        keep = [name for name in subfolders if name not in images and not name.startswith(".")]
        subfolders[:] = sorted(name for name in keep if (here / name).resolve() != left_out)
        for name in [*visible, *images]:
            ending = known_ending(name)
            if ending is not None:
                stem = (here / name).relative_to(folder).as_posix()[: -len(ending)]
                found.append(FoundFile(here / name, stem, ending))
    return sorted(found, key=lambda file: file.stem)


def _is_series(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder's files are DICOM slices, whose names may have no ending."""
    if not names or any(known_ending(name) not in (None, DICOM_ENDING) for name in names):
        return False
    if any(name.lower().endswith(DICOM_ENDING) for name in names):
        return True
    try:
        with (folder / names[0]).open("rb") as file:
            file.seek(_DICOM_MAGIC_AT)
            return file.read(len(_DICOM_MAGIC)) == _DICOM_MAGIC
    except OSError:
        return False


def _ordered(channels: Sequence[str]) -> tuple[str, ...]:
    """Channels by number where they are numbered, else by name."""
    if all(channel.isdigit() for channel in channels):
        return tuple(sorted(channels, key=int))
    return tuple(sorted(channels))


def _name_of(case: MatchedCase) -> str:
    """The case's name, as its label's file spells it."""
    spelled = re.search(r"[_\-. /]*".join(map(re.escape, case.key)), case.label.stem)
    return (spelled[0] if spelled else "_".join(case.key)).replace("/", "_")


def _names(images: Sequence[Path], labels: Sequence[Path]) -> list[str]:
    """Names of the cases of a table without any: by the labels' files, the images' files, or their folders."""

    def stem(path: Path) -> str:
        return path.name[: -len(known_ending(path.name) or "")] or path.name

    def plain(path: Path) -> str:
        words = _CHANNEL_SUFFIX.sub("", stem(path)).split("_")
        return "_".join(word for word in words if word.lower() not in LABEL_WORDS)

    ways: list[tuple[Sequence[Path], Callable[[Path], str]]] = [
        (labels, plain),
        (labels, stem),
        (images, plain),
        (images, stem),
        (labels, lambda path: path.parent.name),
        (images, lambda path: path.parent.name),
    ]
    for paths, way in ways:
        names = [way(path) for path in paths]
        if all(names) and len(set(names)) == len(names):
            return names
    return [f"case_{index:03d}" for index in range(len(images))]
