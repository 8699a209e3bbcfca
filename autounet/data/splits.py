"""Folds of cross-validation, by default the same as nnU-Net's, in its file format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autounet.errors import RequestError
from autounet.records import Record, nearest, read_json, write_text_atomically

SPLITS_FILE = "splits_final.json"
# Beside it: how folds were made that are not simply nnU-Net's.
SOURCE_FILE = "splits_source.json"
_SEED = 12345  # nnU-Net's, so that folds agree with published results
_NUM_FOLDS = 5


class Split(Record):
    """The cases of one fold."""

    train: tuple[str, ...]
    validation: tuple[str, ...]

    @property
    def training_digest(self) -> str:
        """Tells one set of training cases from another without naming a case."""
        return hashlib.sha256("\n".join(sorted(set(self.train))).encode()).hexdigest()[:16]


def make_splits(
    case_names: Iterable[str], num_folds: int = _NUM_FOLDS, together: Sequence[Sequence[str]] = ()
) -> tuple[Split, ...]:
    """Cut the cases into folds, each the validation set once.

    Equals scikit-learn's `KFold(num_folds, shuffle=True, random_state=12345)` over the sorted names, which is what
    nnU-Net uses (`utilities/crossval_split.py`); that package takes a second to import.

    Args:
        case_names: All training cases.
        num_folds: How many folds; as many as cases where there are fewer of those.
        together: Sets of cases that must share a fold; all move to the fold of the first by name. A fold that this
            leaves empty is dropped.

    Raises:
        RequestError: There are fewer than two cases, or all of them must stay together.
    """
    names = sorted(case_names)
    if len(names) < 2:
        raise RequestError(
            f"{len(names)} case{'s' * (len(names) != 1)} cannot be split into training and validation. "
            "Add cases, or train on all of them with fold 'all'."
        )
    order = np.arange(len(names))
    np.random.RandomState(_SEED).shuffle(order)
    parts = np.array_split(order, min(num_folds, len(names)))
    fold_of = {names[index]: fold for fold, part in enumerate(parts) for index in part.tolist()}
    for bound in together:
        fold_of |= dict.fromkeys(bound, fold_of[min(bound)])
    return _splits(fold_of)


def make_even_splits(
    group_of: Mapping[str, str], traits: Mapping[str, Iterable[str]], num_folds: int = _NUM_FOLDS
) -> tuple[Split, ...]:
    """Cut the cases into folds so that a group stays in one fold and traits are spread evenly.

    Greedy: groups are dealt out one by one, those with the largest share of anything (cases, or cases of a rare
    trait) first, each to the fold that has least of what the group brings. That is the fold where the sum of squares
    of the folds' shares, over cases and traits, grows least. A seeded shuffle decides between equal groups.

    Args:
        group_of: Every case's group.
        traits: Every case's traits: the classes it holds, the site it comes from.
        num_folds: How many folds; as many as groups where there are fewer of those.

    Raises:
        RequestError: There are fewer than two groups.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(group_of):
        members.setdefault(group_of[name], []).append(name)
    if len(members) < 2:
        raise RequestError(
            f"all {len(group_of)} cases are in one group ({next(iter(members), '-')}), which cannot be split. "
            "Group by something finer, or train on all of them with fold 'all'."
        )
    groups = sorted(members)
    shares = _shares([members[group] for group in groups], traits)
    order = np.arange(len(groups))
    np.random.RandomState(_SEED).shuffle(order)
    order = order[np.argsort(-np.round(shares.sum(axis=1), 9)[order], kind="stable")]
    loads = np.zeros((min(num_folds, len(groups)), shares.shape[1]))
    fold_of: dict[str, int] = {}
    for dealt, index in enumerate(order.tolist()):
        growth = np.round(loads @ shares[index], 12)  # rounded, so that ties are ties on every machine
        empty = loads[:, 0] == 0
        if len(groups) - dealt <= empty.sum():
            growth[~empty] = np.inf
        fold = int(growth.argmin())
        loads[fold] += shares[index]
        fold_of |= dict.fromkeys(members[groups[index]], fold)
    return _splits(fold_of)


def _shares(groups: Sequence[Sequence[str]], traits: Mapping[str, Iterable[str]]) -> npt.NDArray[np.float64]:
    """Which part of all cases, and of the cases of each trait, each group holds: `(num_groups, 1 + num_traits)`."""
    known = {trait: column for column, trait in enumerate(sorted({t for own in traits.values() for t in own}), 1)}
    counts = np.zeros((len(groups), 1 + len(known)))
    for row, names in enumerate(groups):
        counts[row, 0] = len(names)
        for name in names:
            for trait in set(traits.get(name, ())):
                counts[row, known[trait]] += 1
    return np.asarray(counts / counts.sum(axis=0))


def _splits(fold_of: Mapping[str, int]) -> tuple[Split, ...]:
    """The folds that have a case, in order."""
    folds = sorted(set(fold_of.values()))
    if len(folds) < 2:
        raise RequestError("all cases must stay together, so they cannot be split. Train on all of them, fold 'all'.")
    names = sorted(fold_of)
    return tuple(
        Split(
            train=tuple(name for name in names if fold_of[name] != fold),
            validation=tuple(name for name in names if fold_of[name] == fold),
        )
        for fold in folds
    )


def load_or_make_splits(path: Path, case_names: Sequence[str]) -> tuple[Split, ...]:
    """Read `splits_final.json`; make nnU-Net's folds and write them where it is missing.

    Raises:
        RequestError: The file is not of that form, or names cases that are not in the dataset; or it is missing, and
            was not simply nnU-Net's.
    """
    if path.exists():
        return load_splits(path, case_names)
    if path.with_name(SOURCE_FILE).exists():
        raise RequestError(f"{path} is gone, and its cases were grouped. Have it made anew with: autounet plan")
    splits = make_splits(case_names)
    write_splits(path, splits)
    return splits


def write_splits(path: Path, splits: Sequence[Split]) -> None:
    """Write folds as nnU-Net does: `[{"train": [...], "val": [...]}, ...]`."""
    content = [{"train": list(split.train), "val": list(split.validation)} for split in splits]
    write_text_atomically(path, json.dumps(content, indent=4) + "\n")


def load_splits(path: Path, case_names: Iterable[str]) -> tuple[Split, ...]:
    """Read the folds of a dataset.

    Raises:
        RequestError: The file is not of that form, or names cases that are not in the dataset.
    """
    splits = read_splits(path)
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
    return splits


def read_splits(path: Path) -> tuple[Split, ...]:
    """Read folds, whatever dataset they are of.

    Raises:
        RequestError: The file is not of that form.
    """
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
    return tuple(splits)
