"""A small sound dataset to break, and what every broken one must meet.

Each broken dataset goes through `check` and through `plan_and_preprocess`, in this process: refused with exit code 2,
or let pass where the fault is harmless; within seconds, with the file and the remedy named, without a traceback, and
with nothing written but the doctor's table.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from autounet import pipeline
from autounet.errors import AutounetError, DataError
from autounet.workspace import Workspace

NAME = "Dataset007_Broken"
SHAPE = (14, 12, 10)  # x, y, z
NUM_CASES = 4
MAX_SECONDS = 5.0


@dataclass(frozen=True)
class Raw:
    """A raw dataset to break."""

    folder: Path

    def image(self, case: int = 0, channel: int = 0) -> Path:
        return self.folder / "imagesTr" / f"case_{case}_{channel:04d}.nii"

    def label(self, case: int = 0) -> Path:
        return self.folder / "labelsTr" / f"case_{case}.nii"

    @property
    def description(self) -> Path:
        return self.folder / "dataset.json"

    def describe(self, **changes: Any) -> None:
        """Change keys of dataset.json; `None` removes one."""
        content = json.loads(self.description.read_text(encoding="utf-8")) | changes
        content = {key: value for key, value in content.items() if value is not None}
        self.description.write_text(json.dumps(content), encoding="utf-8")


Damage = Callable[[Raw], object]
Meets = Callable[..., None]


def _write_sound(folder: Path) -> None:
    generator = np.random.default_rng(7)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    raw = Raw(folder)
    for case in range(NUM_CASES):
        label = np.zeros(SHAPE, np.uint8)
        label[3:6, 3:8, 2:8], label[8:11, 3:8, 2:8] = 1, 2
        image = generator.normal(100 + 100 * label, 20).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), raw.image(case))
        nib.save(nib.Nifti1Image(label, np.eye(4)), raw.label(case))
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1, "tumour": 2},
        "numTraining": NUM_CASES,
        "file_ending": ".nii",
    }
    raw.description.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that is copied and broken."""
    folder = tmp_path_factory.mktemp("sound") / NAME
    _write_sound(folder)
    return folder


@pytest.fixture
def raw(sound: Path, tmp_path: Path) -> Raw:
    """A sound dataset in a workspace of its own."""
    return Raw(Path(shutil.copytree(sound, tmp_path / "raw" / NAME)))


@pytest.fixture
def refused(raw: Raw, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Meets:
    """Asserts that a damaged dataset is refused by both verbs, with these words in what they say."""

    def meet(damage: Damage, *said: str) -> None:
        damage(raw)
        before = _files(raw.folder)
        start = time.perf_counter()
        found = _checked(tmp_path)
        with pytest.raises(AutounetError) as caught:
            pipeline.plan_and_preprocess(Workspace.at(tmp_path), "7", jobs=1)
        assert time.perf_counter() - start < 2 * MAX_SECONDS
        assert caught.value.exit_code == 2
        if isinstance(caught.value, DataError):
            assert all(problem.file and problem.remedy for problem in caught.value.problems)
        for text in (found, str(caught.value)):
            for word in said:
                assert word in text
        _assert_nothing_written(raw, tmp_path, before)
        assert capfd.readouterr().err == ""

    return meet


@pytest.fixture
def warned(raw: Raw, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Meets:
    """Asserts that a dataset with a flaw passes `check` and planning, with these words in the doctor's table."""

    def meet(damage: Damage, *said: str) -> None:
        damage(raw)
        before = _files(raw.folder)
        start = time.perf_counter()
        done = pipeline.check(Workspace.at(tmp_path), "7", jobs=1)
        assert time.perf_counter() - start < MAX_SECONDS
        assert done.exit_code == 0
        for word in said:
            assert word in done.table.read_text(encoding="utf-8")
        _assert_nothing_written(raw, tmp_path, before)
        planned = pipeline.plan_and_preprocess(Workspace.at(tmp_path), "7", configurations=["3d_fullres"], jobs=1)
        assert len(planned.fingerprint.cases) == len(done.diagnosis.dataset.cases)
        assert _files(raw.folder) == before
        assert capfd.readouterr().err == ""

    return meet


@pytest.fixture
def suspected(raw: Raw, tmp_path: Path) -> Meets:
    """Asserts that the doctor refuses a dataset that can be trained on, but should not be."""

    def meet(damage: Damage, *said: str) -> None:
        damage(raw)
        before = _files(raw.folder)
        found = _checked(tmp_path)
        for word in said:
            assert word in found
        _assert_nothing_written(raw, tmp_path, before)

    return meet


def _checked(root: Path) -> str:
    """What `check` says of a dataset that it must refuse."""
    try:
        done = pipeline.check(Workspace.at(root), "7", jobs=1)
    except AutounetError as error:
        assert error.exit_code == 2
        return str(error)
    assert done.exit_code == 2
    with done.table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row["file"] and row["remedy"] and row["class"] for row in rows)
    return done.table.read_text(encoding="utf-8")


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every name in a folder, with size and time of change."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def _assert_nothing_written(raw: Raw, root: Path, before: dict[str, tuple[int, int]]) -> None:
    assert _files(raw.folder) == before
    assert {path.name for path in (root / "preprocessed").rglob("*") if path.is_file()} <= {"problems.csv"}
    assert not (root / "results").exists()
