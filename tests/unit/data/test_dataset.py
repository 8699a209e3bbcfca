"""Descriptions and cases of raw datasets; files are empty here, only their names matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autounet.data.dataset import RawDataset, find_cases
from autounet.data.description import DatasetDescription
from autounet.errors import DataError, RequestError

DESCRIPTION: dict[str, Any] = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "tumour": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
FILES = ("imagesTr/a_0000", "imagesTr/a_0001", "imagesTr/b_0000", "imagesTr/b_0001", "labelsTr/a", "labelsTr/b")


def dataset(tmp_path: Path, files: tuple[str, ...] = FILES, **changes: Any) -> Path:
    folder = tmp_path / "Dataset001_Test"
    description = {key: value for key, value in (DESCRIPTION | changes).items() if value is not None}
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for file in files:
        (folder / (f"{file}.nii.gz" if "." not in file else file)).touch()
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def problems_of(folder: Path) -> list[tuple[str, str, str]]:
    with pytest.raises(DataError) as caught:
        RawDataset.load(folder)
    return [(problem.case, problem.file, problem.what) for problem in caught.value.problems]


def test_description(tmp_path: Path) -> None:
    description = DatasetDescription.load(dataset(tmp_path, licence="CC0", anything={"else": 1}))
    assert description.name == "Dataset001_Test"
    assert description.channel_names == ("T1", "T2")
    assert description.labels.class_names == ("tumour",)
    assert (description.file_ending, description.num_training) == (".nii.gz", 2)


def test_channels_are_sorted_as_numbers_and_modality_is_accepted(tmp_path: Path) -> None:
    names = {str(index): f"band {index}" for index in reversed(range(11))}
    description = DatasetDescription.load(dataset(tmp_path, channel_names=None, modality=names, numTraining=None))
    assert description.channel_names == tuple(f"band {index}" for index in range(11))
    assert description.num_training is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_names": None}, "channel_names"),
        ({"channel_names": {"1": "CT"}}, "keys of 'channel_names' must be 0"),
        ({"labels": None}, "'labels'"),
        ({"labels": {"0": "background", "1": "tumour"}}, "other way round"),
        ({"labels": {"background": 0, "tumour": 1.5}}, "label 'tumour' must be an integer"),
        ({"labels": {"background": 0}}, "no foreground class"),
        ({"labels": {"background": 0, "tumour": 70000}}, "between 0 and 32767"),
        ({"regions_class_order": 1}, "regions_class_order"),
        ({"file_ending": None}, "'file_ending' is missing"),
        ({"file_ending": "nii.gz"}, r"Known: .*\.nii\.gz"),
        ({"file_ending": ".czi"}, r"unknown file ending '\.czi'"),
        ({"numTraining": "two"}, "'numTraining' must be an integer"),
    ],
)
def test_bad_descriptions_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        DatasetDescription.load(dataset(tmp_path, **changes))


def test_cases(tmp_path: Path) -> None:
    folder = dataset(tmp_path, (*FILES, "imagesTr/._a_0000", "imagesTr/a.json"))
    first, second = RawDataset.load(folder).cases
    assert (first.name, second.name) == ("a", "b")
    assert first.images == (folder / "imagesTr/a_0000.nii.gz", folder / "imagesTr/a_0001.nii.gz")
    assert first.label == folder / "labelsTr/a.nii.gz"


def test_one_file_may_hold_all_channels(tmp_path: Path) -> None:
    files = ("imagesTr/a_0000", "imagesTr/b_0000", "labelsTr/a", "labelsTr/b")
    assert len(RawDataset.load(dataset(tmp_path, files)).cases[0].images) == 1


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    files = (
        *("imagesTr/a_0000", "imagesTr/b_0000", "imagesTr/b_0001", "imagesTr/b_0002", "imagesTr/c", "imagesTr/d.nii"),
        *("labelsTr/a", "labelsTr/e"),
    )
    other = " (file_ending is .nii.gz; imagesTr also holds 1 x .nii)"
    assert problems_of(dataset(tmp_path, files, numTraining=3)) == [
        ("c", "imagesTr/c.nii.gz", "the name lacks the channel number"),
        ("a", "imagesTr/a_0001.nii.gz", "the file of channel 1 is missing" + other),
        ("b", "imagesTr/b_0002.nii.gz", "channel 2 is one too many for 2 declared channels"),
        ("b", "labelsTr/b.nii.gz", "the case has no label"),
        ("e", "labelsTr/e.nii.gz", "the label has no image" + other),
        ("-", "dataset.json", "'numTraining' is 3, but 2 cases were found"),
    ]


def test_missing_folders(tmp_path: Path) -> None:
    folder = dataset(tmp_path, ())
    (folder / "imagesTr").rmdir()
    (folder / "labelsTr").rmdir()
    assert [file for _, file, _ in problems_of(folder)] == ["imagesTr", "labelsTr"]


def test_listed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.nii.gz").touch()
    entry = {"images": ["$ELSEWHERE/x.nii.gz", "imagesTr/a_0001.nii.gz"], "label": "labelsTr/a.nii.gz"}
    folder = dataset(tmp_path, dataset={"a": entry}, numTraining=1)
    (case,) = RawDataset.load(folder).cases
    assert case.images == (tmp_path / "elsewhere" / "x.nii.gz", folder / "imagesTr/a_0001.nii.gz")
    (tmp_path / "elsewhere" / "x.nii.gz").unlink()
    assert problems_of(folder) == [("a", str(case.images[0]), "is listed in dataset.json but does not exist")]


def test_listing_without_files_is_refused(tmp_path: Path) -> None:
    folder = dataset(tmp_path, dataset={"a": ["x.nii.gz"], "b": {"images": []}}, numTraining=0)
    assert [what[:9] for _, _, what in problems_of(folder)] == ["the entry", "the entry"]


def test_find_cases(tmp_path: Path) -> None:
    for name in ("a_0000.png", "a_0001.png", "b_0000.png", "b_0001.png", "notes.txt"):
        (tmp_path / name).touch()
    found = find_cases(tmp_path, ".png", 2)
    assert [(case.name, len(case.images), case.label) for case in found] == [("a", 2, None), ("b", 2, None)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"no file ends in \.png -> add images named case_0000\.png"),
        (("a_0000.tif",), r"file_ending is \.png; in also holds 1 x \.tif"),
        (("a.png",), r"rename it to a_0000\.png"),
        (("a_0000.png", "b_0000.png", "b_0001.png"), r"in/a_0001\.png: the file of channel 1 is missing"),
    ],
)
def test_find_cases_tells_what_is_wrong(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    with pytest.raises(DataError, match=message):
        find_cases(folder, ".png", 2)


def test_find_cases_in_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        find_cases(tmp_path / "nowhere", ".png", 1)


def test_folders_of_dicom_slices_are_cases_and_their_labels_nifti(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset001_A"
    for name in ("one_0000", "two_0000", "three_0000.dcm"):
        (folder / "imagesTr" / name).mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for name in ("one", "two", "three"):
        (folder / "labelsTr" / f"{name}.nii.gz").touch()
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".dcm"}
    (folder / "dataset.json").write_text(json.dumps(content))
    dataset, problems = RawDataset.scan(folder)
    assert not problems
    assert [case.name for case in dataset.cases] == ["one", "three", "two"]
    assert dataset.cases[0].label == folder / "labelsTr" / "one.nii.gz"
    assert [case.name for case in find_cases(folder / "imagesTr", ".dcm", 1)] == ["one", "three", "two"]


def test_labels_of_jpeg_images_are_png(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset001_A"
    for name in ("imagesTr/a_0000.jpg", "labelsTr/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    content = {"channel_names": {"0": "R"}, "labels": {"background": 0, "a": 1}, "file_ending": ".jpg"}
    (folder / "dataset.json").write_text(json.dumps(content))
    assert RawDataset.load(folder).cases[0].label == folder / "labelsTr" / "a.png"
