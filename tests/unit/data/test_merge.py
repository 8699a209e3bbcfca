"""Datasets with different classes as one: values, names of cases, what was annotated, and what cannot be merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autounet.data.dataset import RawDataset
from autounet.data.doctor.writing import write_image
from autounet.data.io import read_image, read_label, write_label
from autounet.data.merge import Merge, understand_merge, write_merge
from autounet.errors import DataError, RequestError
from autounet.geometry import Geometry

PLACE = Geometry.from_spacing((3.0, 2.0, 1.0))


def dataset(
    root: Path,
    name: str,
    labels: dict[str, Any],
    cases: dict[str, list[int]],
    *,
    ending: str = ".nii.gz",
    channels: tuple[str, ...] = ("CT",),
    **more: Any,
) -> RawDataset:
    """Write cases whose label maps hold the values given, one a slice; images are noise of their own."""
    folder = root / name
    for index, (case, values) in enumerate(cases.items()):
        label = np.zeros((len(values), 3, 4), np.uint16)
        label[:, 1, 1:3] = np.array(values)[:, None]
        for number in range(len(channels)):
            noise = np.random.default_rng((index, number)).normal(size=(1, *label.shape)).astype(np.float32)
            path = folder / "imagesTr" / f"{case}_{number:04d}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, noise, PLACE)
        (folder / "labelsTr").mkdir(exist_ok=True)
        write_label(folder / "labelsTr" / f"{case}{ending}", label, PLACE)
    content = {
        "channel_names": {str(index): channel for index, channel in enumerate(channels)},
        "labels": {"background": 0, **labels},
        "numTraining": len(cases),
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(content | more))
    return RawDataset.load(folder)


def merged(root: Path, *sources: RawDataset, copy: bool = False) -> tuple[Merge, RawDataset]:
    merge = understand_merge(sources, root / "Dataset009_All")
    write_merge(merge, copy=copy)
    return merge, RawDataset.load(merge.folder)


def values_of(case: Path) -> list[int]:
    return [int(value) for value in read_label(case)[0].max(axis=(1, 2))]


def test_classes_are_united_by_name_and_values_follow(tmp_path: Path) -> None:
    first = dataset(tmp_path, "Dataset001_One", {"liver": 1, "spleen": 2}, {"a": [1, 2, 0], "b": [2, 2, 1]})
    second = dataset(tmp_path, "Dataset002_Two", {"tumour": 300, "liver": 7}, {"c": [300, 7]})
    merge, found = merged(tmp_path, first, second)
    labels = found.description.labels
    assert [(entry.name, entry.values) for entry in labels.classes] == [
        ("liver", (1,)),
        ("spleen", (2,)),
        ("tumour", (3,)),
    ]
    assert found.description.annotated == {
        "a": ("liver", "spleen"),
        "b": ("liver", "spleen"),
        "c": ("liver", "tumour"),
    }
    assert [case.name for case in found.cases] == ["a", "b", "c"]
    assert [values_of(case.label) for case in found.cases if case.label] == [[1, 2, 0], [2, 2, 1], [3, 1]]
    assert found.description.num_training == 3
    for case, source in zip(found.cases, [*first.cases, *second.cases], strict=True):
        image, before = read_image(case.images), read_image(source.images)
        assert np.array_equal(image.array, before.array)
        assert case.label is not None
        assert read_label(case.label)[1] == image.geometry == before.geometry
    assert merge.remarks == ()


@pytest.mark.parametrize("copy", [False, True])
def test_images_are_linked_or_copied(tmp_path: Path, copy: bool) -> None:
    first = dataset(tmp_path, "Dataset001_One", {"liver": 1}, {"a": [1]})
    second = dataset(tmp_path, "Dataset002_Two", {"spleen": 1}, {"b": [1]})
    _, found = merged(tmp_path, first, second, copy=copy)
    for case, source in zip(found.cases, [*first.cases, *second.cases], strict=True):
        assert case.images[0].samefile(source.images[0]) != copy
    assert values_of(second.cases[0].label or Path()) == [1]  # as it was
    assert values_of(found.cases[1].label or Path()) == [2]


def test_cases_of_one_name_get_their_dataset_in_front(tmp_path: Path) -> None:
    first = dataset(tmp_path, "Dataset001_One", {"liver": 1}, {"a": [1], "b": [1]})
    second = dataset(tmp_path, "Dataset002_Two", {"liver": 1}, {"a": [1]})
    _, found = merged(tmp_path, first, second)
    assert [case.name for case in found.cases] == ["One_a", "One_b", "Two_a"]
    third = dataset(tmp_path, "Dataset003_One", {"liver": 1}, {"a": [1]})
    names = [case.name for case in understand_merge([first, third], tmp_path / "x").cases]
    assert names == ["Dataset001_One_a", "Dataset001_One_b", "Dataset003_One_a"]


def test_annotation_of_the_sources_and_the_ignore_label_are_kept(tmp_path: Path) -> None:
    first = dataset(
        tmp_path, "Dataset001_One", {"liver": 1, "spleen": 2}, {"a": [1], "b": [1, 2]}, annotated={"a": ["liver"]}
    )
    second = dataset(tmp_path, "Dataset002_Two", {"spleen": 1, "ignore": 2}, {"c": [1, 2]})
    _, found = merged(tmp_path, first, second)
    assert found.description.annotated == {"a": ("liver",), "b": ("liver", "spleen"), "c": ("spleen",)}
    assert [case.annotated for case in found.cases] == [("liver",), None, ("spleen",)]
    assert found.description.labels.ignore_value == 3
    assert values_of(found.cases[2].label or Path()) == [2, 3]


def test_another_format_is_written_anew(tmp_path: Path) -> None:
    first = dataset(tmp_path, "Dataset001_One", {"liver": 1}, {"a": [1]}, channels=("T1", "T2"))
    second = dataset(tmp_path, "Dataset002_Two", {"liver": 1}, {"b": [1, 0]}, ending=".mha", channels=("T1", "T2"))
    _, found = merged(tmp_path, first, second)
    assert [path.name for path in found.cases[1].images] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    image, before = read_image(found.cases[1].images), read_image(second.cases[0].images)
    assert np.array_equal(image.array, before.array)
    assert image.geometry.spacing_mm == pytest.approx(before.geometry.spacing_mm)
    assert values_of(found.cases[1].label or Path()) == [1, 0]


def test_regions_are_merged_only_where_they_are_the_same(tmp_path: Path) -> None:
    regions = {"whole": [1, 2], "core": 2}
    first = dataset(tmp_path, "Dataset001_One", regions, {"a": [1, 2]}, regions_class_order=[1, 2])
    second = dataset(tmp_path, "Dataset002_Two", regions, {"b": [2, 1]}, regions_class_order=[1, 2])
    _, found = merged(tmp_path, first, second)
    assert found.description.labels == first.description.labels
    third = dataset(tmp_path, "Dataset003_Three", {"whole": 1}, {"c": [1]})
    with pytest.raises(RequestError, match="regions can be merged only where"):
        understand_merge([first, third], tmp_path / "x")


def test_what_cannot_be_merged_is_told(tmp_path: Path) -> None:
    first = dataset(tmp_path, "Dataset001_One", {"liver": 1}, {"a": [1]})
    second = dataset(tmp_path, "Dataset002_Two", {"liver": 1}, {"b": [1]}, channels=("MR",))
    with pytest.raises(RequestError, match="Dataset001_One has CT, Dataset002_Two has MR"):
        understand_merge([first, second], tmp_path / "x")
    for sources in ([first], [first, first]):
        with pytest.raises(RequestError, match="at least two datasets"):
            understand_merge(sources, tmp_path / "x")


def test_classes_that_differ_in_spelling_are_remarked(tmp_path: Path) -> None:
    first = dataset(tmp_path, "Dataset001_One", {"Left_Kidney": 1}, {"a": [1]})
    second = dataset(tmp_path, "Dataset002_Two", {"left kidney": 1}, {"b": [1]})
    (remark,) = understand_merge([first, second], tmp_path / "x").remarks
    assert remark.startswith("The classes 'Left_Kidney' and 'left kidney' are kept apart.")


def test_wrong_values_are_told_all_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    first = dataset(tmp_path, "Dataset001_One", {"liver": 1}, {"a": [5], "b": [1]})
    second = dataset(tmp_path, "Dataset002_Two", {"spleen": 1}, {"c": [9]})
    (second.cases[0].images[0]).write_bytes(b"no image")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError) as caught:
        merged(tmp_path, first, second)
    assert [problem.case for problem in caught.value.problems] == ["a", "c"]
    assert sorted(tmp_path.iterdir()) == before
