"""Problems of single cases: each is named with its case, file and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from autounet.data.dataset import RawCase
from autounet.data.description import DatasetDescription
from autounet.data.integrity import case_problems, check_case, value_counts
from autounet.data.io import Image, write_label
from autounet.geometry import Geometry
from autounet.labels import LabelSchema

LABELS = LabelSchema.from_dataset_json({"background": 0, "a": 1, "b": 2}, None, "test")
PLACE = Geometry.from_spacing((3.0, 1.0, 1.0))


def description(num_channels: int = 1) -> DatasetDescription:
    names = tuple(f"c{index}" for index in range(num_channels))
    return DatasetDescription(name="D", channel_names=names, labels=LABELS, file_ending=".nii")


def problems(
    image: np.ndarray, label: np.ndarray, label_place: Geometry = PLACE, num_channels: int = 1
) -> list[tuple[str, str]]:
    files = tuple(Path(f"imagesTr/x_{index:04d}.nii") for index in range(image.shape[0]))
    case = RawCase(name="x", images=files, label=Path("labelsTr/x.nii"))
    found = case_problems(
        case, Image(image.astype(np.float32), PLACE), label, label_place, value_counts(label), description(num_channels)
    )
    assert all(problem.case == "x" and problem.remedy for problem in found)
    return [(problem.file, problem.what) for problem in found]


def test_good_cases_have_none() -> None:
    label = np.zeros((2, 3, 4), np.uint8)
    assert problems(np.zeros((1, 2, 3, 4)), label) == []
    moved = PLACE.model_copy(update={"affine": ((1, 0, 0, 0.9), *PLACE.affine[1:])})
    assert problems(np.zeros((1, 2, 3, 4)), label, moved) == []


def test_number_of_channels() -> None:
    (found,) = problems(np.zeros((2, 1, 3, 4)), np.zeros((1, 3, 4), np.uint8), num_channels=3)
    assert found == ("imagesTr/x_0000.nii", "2 channels found, 3 declared (c0, c1, c2)")


def test_not_finite() -> None:
    image = np.zeros((2, 1, 3, 4))
    image[1, 0, 0, :2] = np.nan
    image[1, 0, 1, 0] = -np.inf
    (found,) = problems(image, np.zeros((1, 3, 4), np.uint8), num_channels=2)
    assert found == ("imagesTr/x_0001.nii", "channel 1 has 2 NaN and 1 infinite voxels of 12")


def test_shape() -> None:
    (found,) = problems(np.zeros((1, 2, 3, 4)), np.zeros((2, 3, 5), np.uint8))
    assert found == ("labelsTr/x.nii", "the label's shape (2, 3, 5) differs from the image's, (2, 3, 4) (z, y, x)")


def test_place() -> None:
    label = np.zeros((2, 3, 4), np.uint8)
    ((file, what),) = problems(np.zeros((1, 2, 3, 4)), label, Geometry.from_spacing((4.0, 1.0, 1.0)))
    assert file == "labelsTr/x.nii"
    assert what == "does not lie where x_0000.nii does: the voxel sizes differ: (3, 1, 1) and (4, 1, 1) mm (z, y, x)"
    moved = PLACE.model_copy(update={"affine": ((1, 0, 0, 25), *PLACE.affine[1:])})
    ((_, what),) = problems(np.zeros((1, 2, 3, 4)), label, moved)
    assert what.endswith("the same corner lies 25 mm apart (a voxel measures 1 mm)")


def test_undeclared_values() -> None:
    label = np.array([[[0, 1, 2, 3], [3, 255, 0, 0]]])
    (found,) = problems(np.zeros((1, 1, 2, 4)), label)
    assert found == ("labelsTr/x.nii", "undeclared label values 3 (2 voxels), 255 (1 voxels)")


@pytest.mark.parametrize("highest", [3, 16, 17, 300, 70000])
@pytest.mark.parametrize("lowest", [0, -5])
def test_values_are_counted_as_by_unique(lowest: int, highest: int) -> None:
    label = np.random.default_rng(0).integers(lowest, highest + 1, (3, 40, 50))
    values, counts = np.unique(label, return_counts=True)
    assert value_counts(label) == dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_files_that_cannot_be_read_are_problems_too(tmp_path: Path) -> None:
    case = RawCase(name="x", images=(tmp_path / "x_0000.nii",), label=tmp_path / "x.nii")
    (tmp_path / "x_0000.nii").write_bytes(b"")
    write_label(tmp_path / "x.nii", np.full((2, 3, 4), 7), PLACE)
    checked = check_case(case, description())
    assert checked.image is None
    assert [problem.what[:21] for problem in checked.problems] == ["the file is empty, it", "undeclared label valu"]
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), 0.5, np.float32), np.eye(4)), tmp_path / "x.nii")
    checked = check_case(case, description())
    assert [problem.file for problem in checked.problems] == [
        f"{tmp_path.name}/x_0000.nii",
        f"{tmp_path.name}/x.nii",
    ]


def test_a_case_without_label_is_a_problem(tmp_path: Path) -> None:
    write_label(tmp_path / "x_0000.nii", np.zeros((2, 3, 4)), PLACE)
    checked: Any = check_case(RawCase(name="x", images=(tmp_path / "x_0000.nii",)), description())
    assert [problem.what for problem in checked.problems] == ["the case has no label"]


def test_a_whole_case(tmp_path: Path) -> None:
    write_label(tmp_path / "x_0000.nii", np.ones((2, 3, 4)), PLACE)
    write_label(tmp_path / "x.nii", np.full((2, 3, 4), 2), PLACE)
    checked = check_case(RawCase(name="x", images=(tmp_path / "x_0000.nii",), label=tmp_path / "x.nii"), description())
    assert checked.problems == ()
    assert checked.counts == {2: 24}
