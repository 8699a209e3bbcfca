"""Folders of the Medical Segmentation Decathlon: `TaskXX_Name/{dataset.json, imagesTr, labelsTr, imagesTs}`.

Its files hold all channels (a fourth axis of the NIfTI), which the readers take as they are, so they are linked, not
rewritten. Its `dataset.json` has `modality` for the channels and `labels` from value to name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from autounet.data.dataset import short_path
from autounet.data.description import read_dataset_json
from autounet.data.draft import Draft
from autounet.data.sources import SourceCase
from autounet.errors import Problem, RequestError
from autounet.labels import BACKGROUND, LabelSchema

FILE_ENDING = ".nii.gz"
_TASK = re.compile(r"Task(\d+)_(.+)")


def task_name(folder: Path) -> tuple[int | None, str]:
    """Number and name of a task, by its folder."""
    match = _TASK.fullmatch(folder.absolute().name)
    return (int(match[1]), match[2]) if match else (None, folder.absolute().name)


def understand_msd(task: Path, folder: Path) -> Draft:
    """Read a task's `dataset.json` and find its files.

    Args:
        task: The task's folder.
        folder: Where the dataset will be.

    Raises:
        RequestError: There is no `dataset.json` of the Decathlon's form.
    """
    source = task / "dataset.json"
    content = read_dataset_json(source)
    if "channel_names" in content and "file_ending" in content:
        raise RequestError(f"{task} is a dataset in nnU-Net's layout already: put it or a link to it into raw/")
    names = _channel_names(content, source)
    labels = _labels(content, source)
    training, problems = _training(task, content)
    tests = content.get("test")
    texts = [text for text in tests if isinstance(text, str)] if isinstance(tests, list) else []
    paths = [task / text for text in texts] or sorted((task / "imagesTs").glob(f"*{FILE_ENDING}"))
    test_cases = tuple(SourceCase(_stem(path), (path,), None) for path in paths if _counts(path) and path.is_file())
    return Draft(
        folder=folder,
        cases=training,
        test_cases=test_cases,
        channel_names=names,
        file_ending=FILE_ENDING,
        labels=labels,
        value_cases={},
        left_out=tuple(problems),
    )


def _training(task: Path, content: dict[str, Any]) -> tuple[tuple[SourceCase, ...], list[Problem]]:
    """Cases of the key `training`, or of the folders where it is missing."""
    listed = content.get("training")
    if isinstance(listed, list) and listed:
        try:
            pairs = [(task / str(entry["image"]), task / str(entry["label"])) for entry in listed]
        except (KeyError, TypeError):
            raise RequestError(
                f'{task / "dataset.json"}: \'training\' must be a list of {{"image": ..., "label": ...}}'
            ) from None
    else:
        images = sorted((task / "imagesTr").glob(f"*{FILE_ENDING}"))
        pairs = [(image, task / "labelsTr" / image.name) for image in images]
    cases, problems = [], []
    for image, label in pairs:
        if not _counts(image):
            continue
        missing = [path for path in (image, label) if not path.is_file()]
        remedy = "unpack the task again, or leave the case out with --skip-unmatched"
        problems += [Problem(_stem(image), short_path(path), "does not exist", remedy) for path in missing]
        if not missing:
            cases.append(SourceCase(_stem(image), (image,), label))
    return tuple(sorted(cases, key=lambda case: case.name)), problems


def _channel_names(content: dict[str, Any], source: Path) -> tuple[str, ...]:
    modality = content.get("modality")
    if not isinstance(modality, dict) or not modality or not all(str(key).isdigit() for key in modality):
        raise RequestError(f'{source}: \'modality\' must look like {{"0": "MRI"}}, got {modality!r}')
    return tuple(str(modality[key]) for key in sorted(modality, key=int))


def _labels(content: dict[str, Any], source: Path) -> LabelSchema:
    told = content.get("labels")
    if not isinstance(told, dict) or not all(str(key).isdigit() for key in told):
        raise RequestError(f'{source}: \'labels\' must look like {{"0": "background", "1": "liver"}}, got {told!r}')
    values: dict[str, int | list[int]] = {"background": BACKGROUND}
    for key in sorted(told, key=int):
        if int(key) != BACKGROUND:
            name = str(told[key])
            values[name if name not in values else f"{name} {key}"] = int(key)
    if len(values) == 1:
        raise RequestError(f"{source}: 'labels' names nothing but background")
    return LabelSchema.from_dataset_json(values, None, str(source))


def _counts(path: Path) -> bool:
    """Not so the `._` twins that macOS left in the Decathlon's archives."""
    return not path.name.startswith(".")


def _stem(path: Path) -> str:
    return path.name.removesuffix(FILE_ENDING)
