"""Folds against scikit-learn, groups and traits in them, and nnU-Net's file format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

from autounet.data.splits import SOURCE_FILE, Split, load_or_make_splits, make_even_splits, make_splits
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


def test_cases_that_must_share_a_fold_move_and_all_others_stay() -> None:
    names = [f"case_{index:02d}" for index in range(20)]
    plain = make_splits(names)
    bound = (plain[1].validation[0], plain[3].validation[0], plain[4].validation[0])
    moved = make_splits(names, together=[bound])
    target = next(index for index, split in enumerate(plain) if min(bound) in split.validation)
    for index, (before, after) in enumerate(zip(plain, moved, strict=True)):
        assert set(after.validation) - set(bound) == set(before.validation) - set(bound)
        assert (set(bound) <= set(after.validation)) == (index == target)
    # Three cases, two of them bound: two folds are left.
    assert len(make_splits(["a", "b", "c"], together=[("a", "b")])) == 2
    with pytest.raises(RequestError, match="must stay together"):
        make_splits(["a", "b"], together=[("a", "b")])


def require_sound(splits: tuple[Split, ...], group_of: dict[str, str]) -> None:
    """Every case is validated on once, and no group is on both sides of a fold."""
    assert sorted(name for split in splits for name in split.validation) == sorted(group_of)
    for split in splits:
        assert sorted((*split.train, *split.validation)) == sorted(group_of)
        assert not {group_of[name] for name in split.train} & {group_of[name] for name in split.validation}


@pytest.mark.parametrize("seed", range(6))
def test_groups_stay_together_and_classes_and_sites_spread_evenly(seed: int) -> None:
    generator = np.random.default_rng(seed)
    names = [f"case_{index:03d}" for index in range(120)]
    group_of = {name: f"patient_{generator.integers(45)}" for name in names}
    site_of_group = {
        group: f"site {generator.choice(3, p=[0.7, 0.2, 0.1])}" for group in sorted(set(group_of.values()))
    }
    traits = {
        name: [site_of_group[group_of[name]]]
        + [f"class {c}" for c, p in enumerate((0.9, 0.3, 0.1)) if generator.random() < p]
        for name in names
    }
    splits = make_even_splits(group_of, traits)
    assert splits == make_even_splits(dict(reversed(group_of.items())), traits)
    require_sound(splits, group_of)
    assert len(splits) == 5
    dealt = {name: fold for fold, split in enumerate(splits) for name in split.validation}
    groups = sorted(set(group_of.values()))
    by_chance = []
    for _ in range(100):
        fold_of_group = dict(zip(groups, generator.permutation(len(groups)) % 5, strict=True))
        by_chance.append(unevenness({name: fold_of_group[group] for name, group in group_of.items()}, traits))
    assert unevenness(dealt, traits) < min(by_chance)


def unevenness(fold_of: dict[str, int], traits: dict[str, list[str]]) -> float:
    """Mean over cases and traits of the standard deviation over folds, relative to the mean."""
    spreads = []
    for trait in ("any", *sorted({trait for own in traits.values() for trait in own})):
        hits = [fold for name, fold in fold_of.items() if trait in ("any", *traits[name])]
        counts = np.bincount(hits, minlength=5)
        spreads.append(counts.std() / counts.mean())
    return float(np.mean(spreads))


def test_a_rare_class_reaches_every_fold() -> None:
    names = [f"case_{index:02d}" for index in range(30)]
    traits = {name: ["class tumour"] if index < 5 else [] for index, name in enumerate(names)}
    splits = make_even_splits({name: name for name in names}, traits)
    assert [sum(name in names[:5] for name in split.validation) for split in splits] == [1] * 5
    assert [len(split.validation) for split in splits] == [6] * 5
    # nnU-Net's folds leave some fold without it.
    assert 0 in [sum(name in names[:5] for name in split.validation) for split in make_splits(names)]


def test_few_groups_give_few_folds() -> None:
    group_of = {"a1": "a", "a2": "a", "b1": "b", "c1": "c", "c2": "c"}
    splits = make_even_splits(group_of, {})
    require_sound(splits, group_of)
    assert sorted(split.validation for split in splits) == [("a1", "a2"), ("b1",), ("c1", "c2")]
    with pytest.raises(RequestError, match=r"all 2 cases are in one group \(a\)"):
        make_even_splits({"a1": "a", "a2": "a"}, {})


def test_every_fold_gets_a_case_whatever_the_traits() -> None:
    # All traits are in one group; its size and traits must not starve the other folds.
    group_of = {f"big_{index}": "big" for index in range(40)} | {f"small_{index}": f"s{index}" for index in range(4)}
    splits = make_even_splits(group_of, {name: ["class x"] for name in group_of if name.startswith("big")})
    require_sound(splits, group_of)
    assert sorted(len(split.validation) for split in splits) == [1, 1, 1, 1, 40]


def test_file_is_made_once_and_then_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    made = load_or_make_splits(path, list("abcdef"))
    content = json.loads(path.read_text())
    assert content[0] == {"train": list(made[0].train), "val": list(made[0].validation)}
    path.write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}]))
    (split,) = load_or_make_splits(path, list("abcdef"))
    assert (split.train, split.validation) == (("a", "b"), ("c",))


def test_grouped_folds_that_were_deleted_are_not_silently_plain(tmp_path: Path) -> None:
    (tmp_path / SOURCE_FILE).write_text("{}")
    with pytest.raises(RequestError, match="autounet plan"):
        load_or_make_splits(tmp_path / "splits_final.json", list("abcdef"))


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
