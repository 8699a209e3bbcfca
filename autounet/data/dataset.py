"""A raw dataset in nnU-Net's layout: its cases and their files.

Layout: `DatasetXXX_Name/{dataset.json, imagesTr, labelsTr}`, images `{case}_{0000}{ending}`, labels `{case}{ending}`
(nnU-Net's `documentation/dataset_format.md`).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autounet.data.description import DatasetDescription, read_dataset_json
from autounet.data.io import DICOM_ENDING, is_there, known_ending, label_ending
from autounet.errors import DataError, Problem, RequestError, Severity
from autounet.records import Record, nearest

_CHANNEL_DIGITS = 4


class RawCase(Record):
    """The files of one case.

    Attributes:
        name: The case's identifier.
        images: One file per channel, or a single file that holds all channels.
        label: The reference; `None` for prediction.
        annotated: Names of the classes that were annotated in it; `None` for all.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None
    annotated: tuple[str, ...] | None = None

    @property
    def files(self) -> tuple[Path | None, ...]:
        """Images and label."""
        return (*self.images, self.label)


class RawDataset(Record):
    """A dataset whose files are all there; what is in them has not been looked at."""

    folder: Path
    description: DatasetDescription
    cases: tuple[RawCase, ...]

    @classmethod
    def load(cls, folder: Path) -> RawDataset:
        """Find the training cases of a dataset folder whose files must all be there.

        Raises:
            RequestError: There is no usable `dataset.json`.
            DataError: Files are missing or misnamed; all such problems at once.
        """
        dataset, problems = cls.scan(folder)
        if problems:
            raise DataError(dataset.description.name, problems)
        return dataset

    @classmethod
    def scan(cls, folder: Path) -> tuple[RawDataset, list[Problem]]:
        """Find the training cases of a dataset folder, from imagesTr and labelsTr or the key `dataset`.

        Returns:
            The cases that have all their files, and what is missing or misnamed.

        Raises:
            RequestError: There is no usable `dataset.json`.
        """
        description = DatasetDescription.load(folder)
        listing = read_dataset_json(folder / "dataset.json").get("dataset")
        # nnU-Net v1 had a list of another meaning under other keys; only a mapping from case to files counts.
        if isinstance(listing, dict):
            cases, problems = _listed_cases(folder, listing)
        else:
            cases, problems = _training_cases(folder, description)
            problems += _dead_links(cases)
        declared = description.num_training
        if declared is not None and declared != len(cases) and not (problems and not cases):
            problems.append(
                Problem(
                    case="-",
                    file="dataset.json",
                    what=f"'numTraining' is {declared}, but {len(cases)} cases were found",
                    remedy=f"set numTraining to {len(cases)}, or add the missing cases",
                    severity=Severity.REPAIRABLE,
                )
            )
        problems += _unknown_annotated(folder, description, {case.name for case in cases})
        whole = tuple(
            case.model_copy(update={"annotated": description.annotated_in(case.name)})
            for case in cases
            if all(path is not None and is_there(path) for path in case.files)
        )
        return cls(folder=folder, description=description, cases=whole), problems


def find_cases(folder: Path, file_ending: str, num_channels: int) -> tuple[RawCase, ...]:
    """The cases of a folder of images, sorted by name, without labels.

    Args:
        folder: Holds `{case}_{0000}{ending}` files.
        file_ending: Only files of this ending count.
        num_channels: Files a case must have, unless it has one that holds all channels.

    Raises:
        DataError: The folder is missing or holds no such images, or channels are missing; all problems at once.
    """
    cases, problems = _scan(folder, file_ending, num_channels)
    if problems:
        raise DataError(str(folder), problems)
    return tuple(cases)


def _scan(folder: Path, file_ending: str, num_channels: int) -> tuple[list[RawCase], list[Problem]]:
    """Cases by the files' names; a case with missing channels is counted and complained of."""
    if not folder.is_dir():
        return [], [Problem("-", folder.name, f"the folder {folder} does not exist", "create it, or correct the path")]
    files = _files_by_ending(folder, file_ending)
    pattern = re.compile(rf"(.+)_(\d{{{_CHANNEL_DIGITS}}})")
    channels: dict[str, dict[int, Path]] = {}
    problems = []
    for path in files:
        stem = path.name.removesuffix(file_ending)
        match = pattern.fullmatch(stem)
        if match:
            channels.setdefault(match[1], {})[int(match[2])] = path
        else:
            problems.append(
                Problem(
                    case=stem,
                    file=short_path(path),
                    what="the name lacks the channel number",
                    remedy=f"rename it to {stem}_0000{file_ending} if it is the first channel of case {stem}",
                )
            )
    if not files:
        what = f"no file ends in {file_ending}{_other_endings(folder, file_ending)}"
        problems.append(Problem("-", folder.name, what, f"add images named case_0000{file_ending}"))
    # One file may hold all channels, as RGB images do; whether it does is seen when it is read.
    one_file_each = all(set(found) == {0} for found in channels.values())
    for name, found in channels.items():
        if not one_file_each:
            problems += _channel_problems(folder, name, found, file_ending, num_channels)
    cases = [
        RawCase(name=name, images=tuple(found[index] for index in sorted(found)))
        for name, found in sorted(channels.items())
    ]
    return cases, problems


def _channel_problems(
    folder: Path, name: str, found: dict[int, Path], file_ending: str, num_channels: int
) -> list[Problem]:
    problems = [
        Problem(
            case=name,
            file=f"{folder.name}/{name}_{index:0{_CHANNEL_DIGITS}d}{file_ending}",
            what=f"the file of channel {index} is missing{_other_endings(folder, file_ending)}",
            remedy="add the file, or remove the case",
        )
        for index in range(num_channels)
        if index not in found
    ]
    problems += [
        Problem(
            case=name,
            file=short_path(path),
            what=f"channel {index} is one too many for {num_channels} declared channel{'s' * (num_channels != 1)}",
            remedy="remove the file, or add the channel to channel_names in dataset.json",
        )
        for index, path in found.items()
        if index >= num_channels
    ]
    return problems


def _training_cases(folder: Path, description: DatasetDescription) -> tuple[list[RawCase], list[Problem]]:
    """The cases of imagesTr, each with its label in labelsTr."""
    images, problems = _scan(folder / "imagesTr", description.file_ending, description.num_channels)
    ending = label_ending(description.file_ending)
    label_folder = folder / "labelsTr"
    if not label_folder.is_dir():
        missing = Problem("-", "labelsTr", f"the folder {label_folder} does not exist", "add the labels of the cases")
        return images, [*problems, missing]
    labels = {path.name[: -len(ending)]: path for path in _files_by_ending(label_folder, ending)}
    cases = [case.model_copy(update={"label": labels.get(case.name)}) for case in images]
    for case in cases:
        if case.label is None:
            what = f"the case has no label{_other_endings(label_folder, ending)}"
            remedy = "add the file, or remove the case's images"
            problems.append(Problem(case.name, f"labelsTr/{case.name}{ending}", what, remedy))
    for name in sorted(set(labels) - {case.name for case in cases}):
        what = f"the label has no image{_other_endings(folder / 'imagesTr', description.file_ending)}"
        remedy = f"add imagesTr/{name}_0000{description.file_ending}, or remove the label"
        problems.append(Problem(name, short_path(labels[name]), what, remedy))
    return cases, problems


def _dead_links(cases: Sequence[RawCase]) -> list[Problem]:
    """Files whose names are there, but which lead nowhere, in a circle, or to a folder."""
    remedy = "correct the link, or put the file itself there"
    return [
        Problem(case.name, short_path(path), "is no file, or a link that leads to none", remedy)
        for case in cases
        for path in case.files
        if path is not None and not is_there(path)
    ]


def _unknown_annotated(folder: Path, description: DatasetDescription, names: set[str]) -> list[Problem]:
    """Cases under 'annotated' that are neither training nor test cases."""
    unknown = sorted(set(description.annotated) - names)
    ending = label_ending(description.file_ending)
    tests = folder / "labelsTs"
    return [
        Problem(
            case=name,
            file="dataset.json",
            what=f"'annotated' lists '{name}', which is no case.{nearest(name, sorted(names))}",
            remedy="correct the name, or remove the entry",
        )
        for name in unknown
        if not (tests / f"{name}{ending}").is_file()
    ]


def _listed_cases(folder: Path, listing: dict[str, Any]) -> tuple[list[RawCase], list[Problem]]:
    """The cases of the key `dataset`: `{case: {"images": [...], "label": "..."}}`, relative to the folder."""
    cases, problems = [], []
    for name, entry in sorted(listing.items()):
        try:
            images = tuple(_listed_path(folder, text) for text in entry["images"])
            label = _listed_path(folder, entry["label"])
        except (KeyError, TypeError):
            remedy = 'write {"images": [file of each channel], "label": file}'
            problems.append(Problem(name, "dataset.json", f"the entry {entry!r} under 'dataset' is not valid", remedy))
            continue
        problems += [
            Problem(name, str(path), "is listed in dataset.json but does not exist", "add the file, or remove the case")
            for path in (*images, label)
            if not is_there(path)
        ]
        cases.append(RawCase(name=name, images=images, label=label))
    if not listing:
        problems.append(Problem("-", "dataset.json", "'dataset' lists no case", "list the cases, or remove the key"))
    return cases, problems


def _listed_path(folder: Path, text: str) -> Path:
    # The format allows environment variables inside these entries; nothing else in the library reads the environment.
    return folder / os.path.expandvars(text)


def _files_by_ending(folder: Path, ending: str) -> list[Path]:
    """Files of that ending, sorted; hidden ones (among them macOS's `._` twins) do not count.

    Folders of DICOM slices, whose names have no ending, count as `.dcm`.
    """
    return sorted(
        path
        for path in _listed(folder)
        if not path.name.startswith(".")
        and (
            path.name.endswith(ending) or (ending == DICOM_ENDING and known_ending(path.name) is None and path.is_dir())
        )
    )


def _listed(folder: Path) -> list[Path]:
    """What is in a folder.

    Raises:
        RequestError: The folder may not be read.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise RequestError(f"{folder} cannot be listed ({error.strerror}). Check its permissions.") from None


def _other_endings(folder: Path, ending: str) -> str:
    """A clause on the files that do not count, or an empty string."""
    if not folder.is_dir():
        return ""
    others = Counter(
        "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix or "no ending"
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(ending)
    )
    if not others:
        return ""
    kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(others.items()))
    return f" (file_ending is {ending}; {folder.name} also holds {kinds})"


def short_path(path: Path) -> str:
    """File and folder, enough to find a file of a dataset by."""
    return f"{path.parent.name}/{path.name}"
