"""Broken datasets: exit 2, every problem in one table with case, file, value and remedy, and nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autounet.data.dataset import find_cases
from autounet.data.phantoms import write_phantom_dataset
from autounet.demo import demo
from autounet.errors import AutounetError, DataError
from autounet.pipeline import plan_and_preprocess
from autounet.workspace import Workspace

DATASET = "Dataset005_Phantoms"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A sound raw dataset of three cases."""
    folder = tmp_path / "raw" / DATASET
    write_phantom_dataset(folder, num_training=3, num_test=0)
    return folder


def image_file(raw: Path, case: int) -> Path:
    return raw / "imagesTr" / f"phantom_{case:03d}_0000.nii.gz"


def label_file(raw: Path, case: int) -> Path:
    return raw / "labelsTr" / f"phantom_{case:03d}.nii.gz"


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], spacing: float = 1.0) -> None:
    """Change the voxels of a NIfTI file, and stretch its spacing."""
    image = nib.load(path)
    data, affine = np.asarray(image.dataobj), image.affine @ np.diag([spacing, spacing, spacing, 1])
    nib.save(nib.Nifti1Image(change(data), affine), path)


def set_nan(data: np.ndarray) -> np.ndarray:
    data = data.astype(np.float32)
    data[3, 4, 5] = np.nan
    return data


def break_description(raw: Path, **changes: object) -> None:
    path = raw / "dataset.json"
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


BREAKAGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing label": (lambda raw: label_file(raw, 1).unlink(), ("phantom_001", "no label")),
    "undeclared value": (
        lambda raw: rewrite(label_file(raw, 1), lambda data: np.where(data == 2, 9, data).astype(np.uint8)),
        ("phantom_001", "9"),
    ),
    "other shape": (
        lambda raw: rewrite(label_file(raw, 2), lambda data: data[:-1]),
        ("phantom_002", "shape"),
    ),
    "other spacing": (lambda raw: rewrite(label_file(raw, 2), lambda data: data, 2.0), ("phantom_002", "mm")),
    "NaN": (lambda raw: rewrite(image_file(raw, 0), set_nan), ("phantom_000", "NaN")),
    "truncated": (
        lambda raw: image_file(raw, 0).write_bytes(image_file(raw, 0).read_bytes()[:1000]),
        ("phantom_000",),
    ),
    "zero bytes": (lambda raw: label_file(raw, 0).write_bytes(b""), ("phantom_000",)),
    "not an image": (lambda raw: image_file(raw, 0).write_text("hello"), ("phantom_000",)),
    "unknown ending": (lambda raw: break_description(raw, file_ending=".xyz"), (".xyz", ".nii.gz")),
    "empty folder": (
        lambda raw: shutil.rmtree(raw / "imagesTr"),
        ("imagesTr",),
    ),
    "no dataset.json": (lambda raw: (raw / "dataset.json").unlink(), ("dataset.json", "does not exist")),
    "not JSON": (lambda raw: (raw / "dataset.json").write_text("{labels:"), ("dataset.json", "not valid JSON")),
    "no labels key": (lambda raw: break_description(raw, labels=None), ("labels",)),
    "wrong count": (lambda raw: break_description(raw, numTraining=7), ("numTraining", "7", "3")),
    "two channels declared": (
        lambda raw: break_description(raw, channel_names={"0": "MR", "1": "T2"}),
        ("phantom_000", "channel"),
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_dataset_is_refused_with_its_problem_and_nothing_is_written(
    raw: Path, tmp_path: Path, name: str
) -> None:
    damage, said = BREAKAGES[name]
    damage(raw)
    with pytest.raises(AutounetError) as caught:
        plan_and_preprocess(Workspace.at(tmp_path), "5", jobs=1)
    assert caught.value.exit_code == 2
    for word in said:
        assert word in str(caught.value)
    if isinstance(caught.value, DataError):
        assert all(problem.remedy for problem in caught.value.problems)
    assert not (tmp_path / "preprocessed").exists()


def test_all_problems_come_at_once(raw: Path, tmp_path: Path) -> None:
    for name in ("NaN", "missing label", "other shape"):
        BREAKAGES[name][0](raw)
    with pytest.raises(DataError) as caught:
        plan_and_preprocess(Workspace.at(tmp_path), "5", jobs=1)
    assert {problem.case for problem in caught.value.problems} >= {"phantom_000", "phantom_001", "phantom_002"}


def test_a_plan_that_was_edited_is_kept_when_planning_again(raw: Path, tmp_path: Path) -> None:
    planned = plan_and_preprocess(Workspace.at(tmp_path), "5", configurations=["3d_fullres"], jobs=1)
    path = planned.folder / "plan_default.json"
    made = path.read_text()
    plan_and_preprocess(Workspace.at(tmp_path), "5", configurations=["3d_fullres"], jobs=1)
    assert not (planned.folder / "plan_default.previous.json").exists()
    edits = {"previous": made.replace('"batch_size": 2', '"batch_size": 3'), "previous-2": made[:100]}
    for name, edited in edits.items():
        assert edited != made
        path.write_text(edited)
        plan_and_preprocess(Workspace.at(tmp_path), "5", configurations=["3d_fullres"], jobs=1)
        assert path.read_text() == made
        assert (planned.folder / f"plan_default.{name}.json").read_text() == edited


def test_what_was_prepared_before_survives_a_dataset_that_breaks_later(raw: Path, tmp_path: Path) -> None:
    planned = plan_and_preprocess(Workspace.at(tmp_path), "5", configurations=["3d_fullres"], jobs=1)
    before = {path: path.read_bytes() for path in planned.folder.rglob("*") if path.is_file()}
    BREAKAGES["truncated"][0](raw)
    with pytest.raises(DataError):
        plan_and_preprocess(Workspace.at(tmp_path), "5", jobs=1)
    assert {path: path.read_bytes() for path in planned.folder.rglob("*") if path.is_file()} == before


def test_the_demo_touches_no_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(AutounetError, match="not empty"):
        demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_predictions_of_an_empty_folder_or_another_format_are_refused(raw: Path, tmp_path: Path) -> None:
    for name in ("empty", "photographs"):
        (tmp_path / name).mkdir()
    (tmp_path / "photographs" / "cat_0000.jpg").write_bytes(b"x")
    for name, said in (("empty", "no file ends in .nii.gz"), ("photographs", ".jpg"), ("missing", "does not exist")):
        with pytest.raises(DataError, match=said):
            find_cases(tmp_path / name, ".nii.gz", 1)
