"""Which classes were annotated in which case: lists, tables, what is wrong with them, and where it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autounet.data.dataset import RawCase, RawDataset
from autounet.data.description import DatasetDescription, write_dataset_json
from autounet.data.doctor.checkup import examine
from autounet.data.doctor.repair import repair_into
from autounet.data.integrity import annotation_problems
from autounet.errors import DataError, RequestError
from autounet.fingerprint import case_traits, known_fingerprint, take_fingerprint
from autounet.labels import LabelSchema

LABELS: dict[str, int | list[int]] = {"background": 0, "liver": 1, "spleen": 2}
Write = Callable[..., RawDataset]


def described(folder: Path, annotated: Any, **more: Any) -> DatasetDescription:
    content = {"channel_names": {"0": "CT"}, "labels": LABELS, "file_ending": ".nii", "annotated": annotated}
    (folder / "dataset.json").write_text(json.dumps(content | more))
    return DatasetDescription.load(folder)


def test_lists_are_put_in_the_order_of_the_classes(tmp_path: Path) -> None:
    found = described(tmp_path, {"a": ["liver"], "b": ["spleen", "liver"]})
    assert found.annotated == {"a": ("liver",), "b": ("liver", "spleen")}
    assert [found.annotated_in(case) for case in "abc"] == [("liver",), None, None]
    assert [found.is_annotated(case, "spleen") for case in "abc"] == [False, True, True]


@pytest.mark.parametrize(
    "table",
    [
        "case,annotated\na,liver\nb,spleen; liver\n",
        "\ufeffcase,note,annotated\na,x;y;z;w,liver\nb,,spleen;liver\n",
        "case,liver,spleen\na,1,0\nb,1,1\n",
        "case;spleen;liver\na;0;1\nb;1;1\n",
        "case\tannotated\na\tliver\nb\tliver;spleen\n",
    ],
)
def test_a_table_says_the_same(tmp_path: Path, table: str) -> None:
    (tmp_path / "annotated.csv").write_text(table, encoding="utf-8")
    assert described(tmp_path, "annotated.csv").annotated == {"a": ("liver",), "b": ("liver", "spleen")}


@pytest.mark.parametrize(
    ("annotated", "message"),
    [
        ({"a": ["livr"]}, "case 'a' lists 'livr' as annotated, which is no class. Did you mean 'liver'"),
        ({"a": []}, "case 'a' has no annotated class"),
        ({"a": "liver"}, "'annotated' of case 'a' must be a list of classes, got 'liver'"),
        (["a"], "'annotated' must look like"),
        ("nowhere.csv", "nowhere.csv, named by 'annotated' in dataset.json, cannot be read"),
    ],
)
def test_what_is_wrong_in_the_description_is_named(tmp_path: Path, annotated: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        described(tmp_path, annotated)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "it has no row"),
        ("name,annotated\na,liver\n", "it has name, annotated"),
        ("case\na\n", "it has case"),
        ("case,annotated\na,liver\na,spleen\n", "case 'a' has two rows"),
        ("case,liver,splen\na,1,0\n", "column 'splen' is no class of dataset.json. Did you mean 'spleen'"),
        ("case,liver\na,1\n", "no column for the class 'spleen'"),
        ("case,liver,spleen\na,yes,0\n", "case 'a', class 'liver' must be 0 or 1, got 'yes'"),
        ("case,liver,spleen\na,1\n", "class 'spleen' must be 0 or 1, got ''"),
        ("case,liver,spleen\na,0,0\n", "case 'a' has no annotated class"),
    ],
)
def test_what_is_wrong_in_the_table_is_named(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "annotated.csv").write_text(table)
    with pytest.raises(RequestError, match=message):
        described(tmp_path, "annotated.csv")


def test_it_is_written_as_it_is_read(tmp_path: Path) -> None:
    labels = LabelSchema.from_dataset_json(LABELS, None, "test")
    write_dataset_json(tmp_path, labels=labels, channel_names=["CT"], file_ending=".nii", annotated={"a": ("spleen",)})
    assert DatasetDescription.load(tmp_path).annotated == {"a": ("spleen",)}


def test_values_of_classes_that_were_not_annotated() -> None:
    labels = LabelSchema.from_dataset_json({"background": 0, "a": 7, "b": 3}, None, "test")
    assert labels.values_not_of(["a"]) == (3,)
    assert labels.class_indices(["b", "a"]) == (0, 1)
    assert labels.classes_but(["a"]) == ("b",)
    assert labels.classes_but(None) == ()
    regions = LabelSchema.from_dataset_json({"background": 0, "whole": [1, 2], "core": 2}, [1, 2], "test")
    # The core has to be drawn with 2, whether or not the whole is annotated; 1 says nothing of the core.
    assert regions.values_not_of(["core"]) == (1,)
    assert regions.values_not_of(["whole"]) == ()


def test_voxels_of_a_class_that_was_not_annotated_are_a_problem(tmp_path: Path) -> None:
    description = described(tmp_path, {"a": ["liver"]})
    case = RawCase(name="a", images=(Path("imagesTr/a_0000.nii"),), label=Path("labelsTr/a.nii"), annotated=("liver",))
    assert annotation_problems(case, Path("labelsTr/a.nii"), {0: 5, 1: 3}, description) == []
    (problem,) = annotation_problems(case, Path("labelsTr/a.nii"), {0: 5, 1: 3, 2: 4}, description)
    assert (problem.case, problem.file) == ("a", "labelsTr/a.nii")
    assert problem.what == "holds spleen (2, 4 voxels), but 'annotated' lists only liver for the case"
    assert problem.remedy.startswith("list the class under 'annotated'")


@pytest.fixture
def raw(write_dataset: Write) -> Path:
    """Three cases: liver and spleen drawn in `a` and `c`, only the liver in `b`."""
    generator = np.random.default_rng(0)
    label = np.zeros((4, 6, 8), np.uint8)
    label[1:3, 1:3, 1:3], label[1:3, 3:5, 4:7] = 1, 2
    labels = {"a": label, "b": np.where(label == 2, 0, label), "c": label}
    dataset = write_dataset({name: (generator.uniform(1, 9, (1, 4, 6, 8)), entry) for name, entry in labels.items()})
    return dataset.folder


def describe_again(folder: Path, annotated: Any) -> RawDataset:
    content = json.loads((folder / "dataset.json").read_text())
    names = [name for name in content["labels"] if name != "background"]
    annotated = {case: [names[index] for index in indices] for case, indices in annotated.items()}
    (folder / "dataset.json").write_text(json.dumps(content | {"annotated": annotated}))
    return RawDataset.load(folder)


def test_cases_know_what_was_annotated_and_the_fingerprint_leaves_the_rest_out(raw: Path) -> None:
    dataset = describe_again(raw, {"b": [0], "c": [0, 1]})
    first, second = dataset.description.labels.class_names[:2]
    assert [case.annotated for case in dataset.cases] == [None, (first,), None]
    fingerprint = take_fingerprint(dataset, jobs=1)
    assert fingerprint.cases[0].num_voxels == {first: 8, second: 12}
    assert fingerprint.cases[1].num_voxels == {first: 8}
    assert list(fingerprint.cases[1].component_sizes) == [first]
    assert case_traits(fingerprint)[1].classes == (first,)


def test_another_annotation_is_another_dataset_to_measure(raw: Path, tmp_path: Path) -> None:
    dataset, path = RawDataset.load(raw), tmp_path / "fingerprint.json"
    take_fingerprint(dataset, jobs=1).write(path)
    assert known_fingerprint(path, dataset) is not None
    assert known_fingerprint(path, describe_again(raw, {"b": [0]})) is None


def test_drawn_voxels_are_found_by_planning_and_by_the_doctor(raw: Path) -> None:
    dataset = describe_again(raw, {"a": [0]})
    with pytest.raises(DataError, match="'annotated' lists only"):
        take_fingerprint(dataset, jobs=1)
    found = [entry.problem.what for entry in examine(raw, jobs=1).findings if entry.problem.case == "a"]
    assert any("'annotated' lists only" in what for what in found)


def test_unknown_cases_are_named_and_test_cases_are_not(raw: Path) -> None:
    with pytest.raises(DataError) as caught:
        describe_again(raw, {"bb": [0]})
    (problem,) = caught.value.problems
    assert (problem.case, problem.file) == ("bb", "dataset.json")
    assert problem.what == "'annotated' lists 'bb', which is no case. Did you mean 'b'?"
    (raw / "labelsTs").mkdir()
    ending = RawDataset.scan(raw)[0].description.file_ending
    (raw / "labelsTs" / f"bb{ending}").touch()
    assert len(RawDataset.load(raw).cases) == 3


def test_a_repaired_copy_keeps_what_a_table_said(raw: Path, tmp_path: Path) -> None:
    content = json.loads((raw / "dataset.json").read_text())
    names = [name for name in content["labels"] if name != "background"]
    (raw / "annotated.csv").write_text(f"case,annotated\nb,{names[0]}\n")
    (raw / "dataset.json").write_text(json.dumps(content | {"annotated": "annotated.csv"}))
    repair_into(tmp_path / "copy", examine(raw, jobs=1), suspected=False)
    assert RawDataset.load(tmp_path / "copy").description.annotated == {"b": (names[0],)}
