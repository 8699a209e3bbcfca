"""The mended copy: what is repaired, what is left out, and that the original stays as it was."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autounet.data.dataset import RawDataset
from autounet.data.doctor.check import check_dataset, free_name
from autounet.data.doctor.checkup import examine
from autounet.data.doctor.repair import repair_into
from autounet.data.io import read_image, read_label
from autounet.errors import RequestError
from autounet.workspace import Workspace

Write = Callable[..., RawDataset]
GENERATOR = np.random.default_rng(5)
LABEL = np.zeros((4, 6, 20), np.uint8)
LABEL[1:3, 2:4, 2:6], LABEL[1:3, 2:4, 14:18] = 1, 2


def images(count: int, num_channels: int = 1) -> list[np.ndarray]:
    offsets = np.arange(num_channels)[:, None, None, None] * 1000
    return [GENERATOR.normal(100, 10, (num_channels, *LABEL.shape)) + offsets for _ in range(count)]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def repaired(dataset: RawDataset, target: Path, *, suspected: bool = False) -> list[tuple[str, str]]:
    """Case and what was done; the original is watched."""
    before = contents(dataset.folder)
    done = repair_into(target, examine(dataset.folder, jobs=1), suspected=suspected)
    assert contents(dataset.folder) == before
    with (target / "repairs.csv").open(encoding="utf-8", newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == [entry.case for entry in done]
    copy = RawDataset.load(target)
    assert copy.description.num_training == len(copy.cases)
    return [(entry.case, entry.what) for entry in done]


def test_every_repair_and_nothing_else(write_dataset: Write, tmp_path: Path) -> None:
    arrays = images(4)
    arrays[1][0, 0, 0, :3] = np.nan
    dataset = write_dataset(
        {f"c{index}": (array, LABEL) for index, array in enumerate(arrays)} | {"d": (arrays[0], LABEL)}
    )
    affine = np.eye(4)
    affine[0, 3] = 0.5
    nib.save(nib.Nifti1Image(LABEL.T, affine), dataset.folder / "labelsTr" / "c2.nii")
    nib.save(nib.Nifti1Image((LABEL * 0.99).T.astype(np.float32), np.eye(4)), dataset.folder / "labelsTr" / "c3.nii")
    target = tmp_path / "copy"
    assert sorted(repaired(dataset, target)) == [
        ("c1", "voxels that are no numbers set to 0"),
        ("c2", "label placed where the image is"),
        ("c3", "label values rounded"),
        ("d", "duplicate left out"),
    ]
    filled = read_image([target / "imagesTr" / "c1_0000.nii"]).array
    np.testing.assert_array_equal(filled, np.nan_to_num(arrays[1].astype(np.float32)))
    for name in ("c2", "c3"):
        label, place = read_label(target / "labelsTr" / f"{name}.nii")
        np.testing.assert_array_equal(label, LABEL)
        np.testing.assert_array_equal(place.matrix, np.eye(4))
    untouched = "imagesTr/c0_0000.nii"
    assert (target / untouched).read_bytes() == (dataset.folder / untouched).read_bytes()
    assert examine(target, jobs=1).findings == ()


def test_hopeless_cases_are_left_out_and_the_count_is_corrected(write_dataset: Write, tmp_path: Path) -> None:
    dataset = write_dataset({f"c{index}": (array, LABEL) for index, array in enumerate(images(3))})
    (dataset.folder / "imagesTr" / "c1_0000.nii").write_bytes(b"torn")
    content = json.loads((dataset.folder / "dataset.json").read_text()) | {"numTraining": 9, "licence": "CC0"}
    (dataset.folder / "dataset.json").write_text(json.dumps(content))
    done = repaired(dataset, tmp_path / "copy")
    assert done == [("c1", "case left out"), ("-", "numTraining corrected")]
    assert json.loads((tmp_path / "copy" / "dataset.json").read_text())["licence"] == "CC0"


def test_suspected_sides_and_channels_are_mended_only_when_asked(write_dataset: Write, tmp_path: Path) -> None:
    arrays = images(7, num_channels=2)
    swapped = np.where(LABEL == 0, 0, 3 - LABEL).astype(np.uint8)
    cases = {f"c{index}": (array, LABEL) for index, array in enumerate(arrays[:5])}
    dataset = write_dataset(cases | {"sides": (arrays[5], swapped), "order": (arrays[6][::-1], LABEL)})
    content = json.loads((dataset.folder / "dataset.json").read_text())
    content["labels"] = {"background": 0, "k_left": 1, "k_right": 2}
    (dataset.folder / "dataset.json").write_text(json.dumps(content))
    assert repaired(dataset, tmp_path / "not_asked") == []
    assert sorted(repaired(dataset, tmp_path / "asked", suspected=True)) == [
        ("order", "channels put in the others' order"),
        ("sides", "left and right label swapped"),
    ]
    np.testing.assert_array_equal(read_label(tmp_path / "asked" / "labelsTr" / "sides.nii")[0], LABEL)
    files = [tmp_path / "asked" / "imagesTr" / f"order_{index:04d}.nii" for index in range(2)]
    np.testing.assert_array_equal(read_image(files).array, arrays[6].astype(np.float32))
    assert examine(tmp_path / "asked", jobs=1).findings == ()


def test_a_label_on_another_grid_of_the_same_box_is_resampled(write_dataset: Write, tmp_path: Path) -> None:
    dataset = write_dataset({f"c{index}": (array, LABEL) for index, array in enumerate(images(2))})
    coarse = np.diag([2.0, 2, 2, 1]) + 0.5 * np.array([[0, 0, 0, 1]] * 3 + [[0, 0, 0, 0]])
    nib.save(nib.Nifti1Image(LABEL[::2, ::2, ::2].T, coarse), dataset.folder / "labelsTr" / "c0.nii")
    mirrored = np.diag([-1.0, 1, 1, 1])
    mirrored[0, 3] = 19
    nib.save(nib.Nifti1Image(LABEL[:, :, ::-1].T, mirrored), dataset.folder / "labelsTr" / "c1.nii")
    assert repaired(dataset, tmp_path / "copy") == [
        (name, "label resampled to the image's grid") for name in ("c0", "c1")
    ]
    expected = LABEL[::2, ::2, ::2].repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(read_label(tmp_path / "copy" / "labelsTr" / "c0.nii")[0], expected)
    np.testing.assert_array_equal(read_label(tmp_path / "copy" / "labelsTr" / "c1.nii")[0], LABEL)


def test_nothing_is_left_behind_where_no_copy_can_be_made(write_dataset: Write, tmp_path: Path) -> None:
    dataset = write_dataset({"c0": (images(1)[0], LABEL)})
    (dataset.folder / "imagesTr" / "c0_0000.nii").write_bytes(b"torn")
    diagnosis = examine(dataset.folder, jobs=1)
    with pytest.raises(RequestError, match="no case"):
        repair_into(tmp_path / "copy", diagnosis, suspected=False)
    (tmp_path / "there").mkdir()
    with pytest.raises(RequestError, match="exists"):
        repair_into(tmp_path / "there", diagnosis, suspected=False)
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "there"}


def test_a_dataset_that_is_hopeless_as_a_whole_is_not_copied(write_dataset: Write, tmp_path: Path) -> None:
    dataset = write_dataset({f"c{index}": (array, 0 * LABEL) for index, array in enumerate(images(2))})
    with pytest.raises(RequestError, match="none of 2 cases"):
        repair_into(tmp_path / "copy", examine(dataset.folder, jobs=1), suspected=False)


def test_the_copy_gets_a_free_number(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path)
    for folder in (workspace.raw / "Dataset004_A", workspace.results / "Dataset005_B"):
        folder.mkdir(parents=True)
    assert free_name(workspace, "Dataset004_A") == "Dataset006_A_fixed"
    (workspace.raw / "Dataset999_Z").mkdir()
    assert free_name(workspace, "Dataset999_Z") == "Dataset001_Z_fixed"


def test_options_that_need_fix(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--fix"):
        check_dataset(Workspace.at(tmp_path), "Dataset001_A", fix=False, output=None, suspected=True, jobs=1)
