"""A dataset that is to be made: what was understood of its files, and putting them in place."""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.data.companions import companions_of
from autounet.data.dataset import short_path
from autounet.data.description import write_dataset_json
from autounet.data.doctor.writing import WRITABLE, write_image
from autounet.data.io import FileError, known_ending, label_ending, read_image, read_label, write_label
from autounet.data.sources import SourceCase
from autounet.errors import DataError, Problem, RequestError
from autounet.labels import LabelSchema
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Reporter
from autounet.records import nearest, whole_folder
from autounet.workspace import Workspace, dataset_number

_FULL_NAME = re.compile(r"Dataset(\d{3})_(.+)")
_MAX_ID = 999
_APART = ".mhd"  # a header, with the voxels in another file
_PHOTOGRAPHIC = (".bmp", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Draft:
    """What was understood.

    Attributes:
        folder: Where the dataset will be.
        cases: Training cases, sorted by name.
        test_cases: Images without labels.
        channel_names: Of the channels, however many files they are in.
        file_ending: Of the images.
        labels: What label values mean; `None` where there are problems with them.
        value_cases: How many label files hold each value; empty where they were not looked at.
        left_out: Files that found no place; with `problems`, nothing is written.
        problems: What must be mended first.
        remarks: What the user should look at.
    """

    folder: Path
    cases: tuple[SourceCase, ...]
    test_cases: tuple[SourceCase, ...]
    channel_names: tuple[str, ...]
    file_ending: str
    labels: LabelSchema | None
    value_cases: dict[int, int]
    left_out: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def understood(self) -> str:
        """One sentence: `I understood: 131 cases, 1 channel, labels 0..2`."""
        values = sorted(self.value_cases) or ([] if self.labels is None else list(self.labels.declared_values))
        consecutive = len(values) > 1 and values == list(range(values[0], values[-1] + 1))
        told = f"{values[0]}..{values[-1]}" if consecutive else ", ".join(map(str, values)) or "none"
        channels = len(self.channel_names)
        test = f" and {len(self.test_cases)} for testing" if self.test_cases else ""
        return (
            f"I understood: {len(self.cases)} case{'s' * (len(self.cases) != 1)}{test}, "
            f"{channels} channel{'s' * (channels != 1)}, labels {told}"
        )


def dataset_folder(workspace: Workspace, name: str, number: int | None) -> Path:
    """Where a new dataset goes: `raw/Dataset005_Name`, by default under the first free number.

    Raises:
        RequestError: The number is taken or out of range, or the name has nothing that a folder can be called.
    """
    match = _FULL_NAME.fullmatch(name)
    if match is not None:
        number, name = (int(match[1]) if number is None else number), match[2]
    plain = re.sub(r"[^\w\-]+", "_", name).strip("_")
    if not plain:
        raise RequestError(f"--name '{name}' has no letter or digit. Write for example --name Liver.")
    there = {dataset_number(known): known for known in workspace.dataset_names()}
    if number is None:
        number = next((free for free in range(1, _MAX_ID + 1) if free not in there), _MAX_ID + 1)
    if not 0 <= number <= _MAX_ID:
        raise RequestError(f"--id {number}: datasets are numbered 0 to {_MAX_ID}")
    if number in there:
        raise RequestError(f"--id {number} is taken by {there[number]} in {workspace.raw.parent}. Give another number.")
    return workspace.raw / f"Dataset{number:03d}_{plain}"


def require_whole(draft: Draft, *, skip_unmatched: bool) -> None:
    """Nothing may stand in the way of writing the dataset.

    Raises:
        DataError: There are problems, or files without a place that may not be left out; all of them.
    """
    problems = draft.problems if skip_unmatched else (*draft.left_out, *draft.problems)
    if problems:
        raise DataError(f"{draft.folder.name} (nothing was written)", problems)
    if not draft.cases:
        raise RequestError("no case is left, nothing was written")


def write_draft(draft: Draft, *, copy: bool, jobs: int = 1, reporter: Reporter = SILENT) -> None:
    """Put the files in nnU-Net's layout, all or nothing.

    Files are linked (hard, else symbolic links) unless `copy` is asked for or no link is possible. Images of another
    format than the dataset's, and label files of one that does not go with it, are written anew.

    Raises:
        DataError: Files cannot be written anew; all of them, and nothing was written.
    """
    assert draft.labels is not None
    with whole_folder(draft.folder) as partial:
        tasks = [(case, "Tr") for case in draft.cases] + [(case, "Ts") for case in draft.test_cases]
        place = functools.partial(_place_case, root=partial, file_ending=draft.file_ending, copy=copy)
        # Links take no time; it is what is written anew that is worth several processes.
        jobs = worthwhile_jobs(jobs, written_anew((*draft.cases, *draft.test_cases), draft.file_ending))
        placed = map_ordered(place, tasks, jobs=jobs, reporter=reporter, description="write")
        problems = [problem for found in placed for problem in found]
        if problems:
            raise DataError(f"{draft.folder.name} (nothing was written)", problems)
        write_dataset_json(
            partial,
            labels=draft.labels,
            channel_names=draft.channel_names,
            file_ending=draft.file_ending,
            num_training=len(draft.cases),
        )


def _place_case(task: tuple[SourceCase, str], root: Path, file_ending: str, copy: bool) -> list[Problem]:
    case, part = task
    try:
        place_images(root / f"images{part}", case, file_ending, copy=copy)
        if case.label is not None:
            place_label(root / f"labels{part}", case, file_ending, copy=copy)
    except FileError as error:
        return [Problem(case.name, short_path(error.path), error.what, error.remedy)]
    return []


def place_images(folder: Path, case: SourceCase, file_ending: str, *, copy: bool) -> None:
    """Link or copy the images of a case into a folder, under its name; write those of another format anew.

    Raises:
        FileError: An image cannot be read, or cannot be written in that format.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(case.images):
        name = f"{case.name}_{index:04d}"
        if _goes_as_it_is(image, file_ending):
            # A folder of DICOM slices is called as a file would be, but has no ending.
            ending = "" if image.is_dir() and known_ending(image.name) is None else file_ending
            _place(image, folder, name, ending, copy=copy)
            continue
        found = read_image([image])
        try:
            write_image(folder / f"{name}{file_ending}", found.array, found.geometry)
        except FileError as error:
            raise FileError(image, error.what, error.remedy) from None


def _goes_as_it_is(image: Path, file_ending: str) -> bool:
    """Whether a link under another name will do; an .mhd file names the file of its voxels."""
    return _ending_of(image) == file_ending and file_ending != _APART


def place_label(folder: Path, case: SourceCase, file_ending: str, *, copy: bool) -> None:
    """Link or copy the label of a case, or write it anew where its format does not go with the images'."""
    assert case.label is not None
    ending = label_ending(file_ending)
    if _goes_as_it_is(case.label, ending):
        _place(case.label, folder, case.name, ending, copy=copy)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_label(folder / f"{case.name}{ending}", *read_label(case.label))


def _place(source: Path, folder: Path, stem: str, ending: str, *, copy: bool) -> None:
    """Link or copy a file, and the JSON with its voxel size if one lies beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    _link(source.resolve(), folder / f"{stem}{ending}", copy=copy)
    for companion in companions_of(source)[:1]:
        _link(companion.resolve(), folder / f"{stem}{companion.suffix}", copy=copy)


def _link(source: Path, target: Path, *, copy: bool) -> None:
    if not copy:
        makers = [target.symlink_to] if source.is_dir() else [target.hardlink_to, target.symlink_to]
        for make in makers:
            try:
                make(source)
            except OSError:  # another file system, or one without links
                continue
            return
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def unusable(cases: Sequence[SourceCase]) -> list[Problem]:
    """Image files whose formats do not go together, or cannot be linked, unless all are written in one format."""
    endings = [(case.name, image, _ending_of(image)) for case in cases for image in case.images]
    usual = usual_ending(cases)
    counted = Counter(ending for _, _, ending in endings)
    target = usual if usual in WRITABLE else ".png" if usual in _PHOTOGRAPHIC else ".nii.gz"
    remedy = f"add --convert-to {target}, which writes the images of other formats anew"
    problems = [
        Problem(
            name,
            os.fspath(image),
            f"ends in {ending}, but {counted[usual]} other images end in {usual}; a dataset has one format",
            remedy,
        )
        for name, image, ending in endings
        if ending != usual
    ]
    if usual == _APART:
        what = "an .mhd file names the file of its voxels, which a link under another name would lose"
        problems.append(Problem("-", os.fspath(endings[0][1]), what, "add --convert-to .mha"))
    return problems


def require_writable(ending: str) -> None:
    """Refuse a format in which no images are written.

    Raises:
        RequestError: It is none of those.
    """
    if ending not in WRITABLE:
        hint = nearest(ending, list(WRITABLE))
        raise RequestError(f"--convert-to {ending}: images are written in one of {', '.join(WRITABLE)}.{hint}")


def _ending_of(path: Path) -> str:
    return known_ending(path.name) or (".dcm" if path.is_dir() else path.suffix)


def usual_ending(cases: Sequence[SourceCase]) -> str:
    """The ending of most image files."""
    endings = [_ending_of(image) for case in cases for image in case.images]
    return max(sorted(set(endings)), key=endings.count, default="")


def written_anew(cases: Iterable[SourceCase], ending: str) -> list[Path]:
    """The images that are not linked but written anew in that format."""
    return [image for case in cases for image in case.images if not _goes_as_it_is(image, ending)]
