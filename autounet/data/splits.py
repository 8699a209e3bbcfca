"""Folds of cross-validation, the same as nnU-Net's, in its file format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autounet.errors import RequestError
from autounet.records import Record, nearest, read_json, write_text_atomically

_SEED = 12345  # nnU-Net's, so that folds agree with published results


class Split(Record):
    """The cases of one fold."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


def make_splits(case_names: Sequence[str], num_folds: int = 5) -> tuple[Split, ...]:
    """Cut the cases into folds, each the validation set once.

    Equals scikit-learn's `KFold(num_folds, shuffle=True, random_state=12345)` over the sorted names, which is what
    nnU-Net uses (`utilities/crossval_split.py`); that package takes a second to import.

    Args:
        case_names: All training cases.
        num_folds: How many folds; as many as cases where there are fewer of those.

    Raises:
        RequestError: There are fewer than two cases.
    """
    names = sorted(case_names)
    if len(names) < 2:
        raise RequestError(
            f"{len(names)} case{'s' * (len(names) != 1)} cannot be split into training and validation. "
            "Add cases, or train on all of them with fold 'all'."
        )
    order = np.arange(len(names))
    np.random.RandomState(_SEED).shuffle(order)
    splits = []
    for part in np.array_split(order, min(num_folds, len(names))):
        held_out = set(part.tolist())
        splits.append(
            Split(
                train=tuple(name for index, name in enumerate(names) if index not in held_out),
                validation=tuple(name for index, name in enumerate(names) if index in held_out),
            )
        )
    return tuple(splits)


def load_or_make_splits(path: Path, case_names: Sequence[str]) -> tuple[Split, ...]:
    """Read `splits_final.json`, `[{"train": [...], "val": [...]}, ...]`; make and write it where it is missing.

    Raises:
        RequestError: The file is not of that form, or names cases that are not in the dataset.
    """
    if path.exists():
        return _load(path, case_names)
    splits = make_splits(case_names)
    content = [{"train": list(split.train), "val": list(split.validation)} for split in splits]
    write_text_atomically(path, json.dumps(content, indent=4) + "\n")
    return splits


def _load(path: Path, case_names: Sequence[str]) -> tuple[Split, ...]:
    content: Any = read_json(path)
    if not isinstance(content, list) or not content:
        raise RequestError(
            f'{path} must hold a list of {{"train": [...], "val": [...]}}. Delete it to have it made anew.'
        )
    splits = []
    for index, entry in enumerate(content):
        if not isinstance(entry, dict) or set(entry) != {"train", "val"}:
            raise RequestError(f"{path}: fold {index} must have the keys 'train' and 'val', and no others")
        parsed = {"train": entry["train"], "validation": entry["val"]}
        splits.append(Split.parse(parsed, source=f"{path}, fold {index},"))
    known = sorted(case_names)
    for index, split in enumerate(splits):
        unknown = sorted({*split.train, *split.validation} - set(known))
        if unknown:
            raise RequestError(
                f"{path}: fold {index} names {len(unknown)} cases that the dataset does not have, for example "
                f"'{unknown[0]}'.{nearest(unknown[0], known)} Correct the file, or delete it to have it made anew."
            )
        if not split.train:
            raise RequestError(f"{path}: fold {index} has no training case. Correct the file, or delete it.")
    return tuple(splits)
