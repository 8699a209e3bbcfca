"""Folds against scikit-learn, and nnU-Net's file format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.model_selection import KFold

from autounet.data.splits import load_or_make_splits, make_splits
from autounet.errors import RequestError


@pytest.mark.parametrize("num_cases", [2, 3, 5, 7, 24, 101])
def test_folds_are_those_of_scikit_learn(num_cases: int) -> None:
    names = [f"case_{index:03d}" for index in range(num_cases)]
    oracle = KFold(min(5, num_cases), shuffle=True, random_state=12345).split(names)
    expected = [([names[i] for i in train], [names[i] for i in held_out]) for train, held_out in oracle]
    found = [(list(split.train), list(split.validation)) for split in make_splits(names[::-1])]
    assert found == expected


def test_one_case_cannot_be_split() -> None:
    with pytest.raises(RequestError, match="fold 'all'"):
        make_splits(["a"])


def test_file_is_made_once_and_then_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    made = load_or_make_splits(path, list("abcdef"))
    content = json.loads(path.read_text())
    assert content[0] == {"train": list(made[0].train), "val": list(made[0].validation)}
    path.write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}]))
    (split,) = load_or_make_splits(path, list("abcdef"))
    assert (split.train, split.validation) == (("a", "b"), ("c",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "must hold a list"),
        ('[{"train": ["a"]}]', "'train' and 'val'"),
        ('[{"train": "a", "val": []}]', "fold 0"),
        ('[{"train": ["a", "case_1x"], "val": []}]', "Did you mean 'case_1'"),
        ('[{"train": [], "val": ["a"]}]', "no training case"),
    ],
)
def test_bad_files_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=message):
        load_or_make_splits(path, ["a", "case_1"])
