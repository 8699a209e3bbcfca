"""`autounet check` as a user meets it: table, CSV, copy, exit codes; and real data."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autounet import pipeline
from autounet.data.phantoms import write_phantom_dataset
from autounet.workspace import Workspace

DATASET = "Dataset005_Phantoms"
REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with a sound dataset of six cases."""
    write_phantom_dataset(tmp_path / "raw" / DATASET, num_training=6, num_test=0)
    return Workspace.at(tmp_path)


def check(workspace: Workspace, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "autounet", "check", "-d", "5", "-w", str(workspace.raw.parent), *arguments]
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def rows(workspace: Workspace, dataset: str = DATASET) -> list[dict[str, str]]:
    with (workspace.preprocessed / dataset / "problems.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sound_dataset(workspace: Workspace) -> None:
    code, said = check(workspace)
    assert code == 0
    assert "nothing wrong" in said
    assert "Next: autounet plan_and_preprocess -d 5" in said
    assert rows(workspace) == []


def test_from_the_problem_to_the_repaired_copy(workspace: Workspace) -> None:
    raw = workspace.raw / DATASET
    torn, blemished = (raw / "imagesTr" / f"phantom_00{index}_0000.nii.gz" for index in (0, 1))
    torn.write_bytes(torn.read_bytes()[:500])
    image = nib.load(blemished)
    voxels = np.asarray(image.dataobj).astype(np.float32)
    voxels[3, 4, 5] = np.nan
    nib.save(nib.Nifti1Image(voxels, image.affine), blemished)
    code, said = check(workspace, "-j", "2")
    assert code == 2
    for word in ("hopeless: 1 in 1 case", "repairable: 1 in 1 case", "problems.csv", "Next: autounet check -d 5 --fix"):
        assert word in said
    assert [(row["case"], row["class"], row["check"]) for row in rows(workspace)] == [
        ("phantom_000", "hopeless", "read"),
        ("phantom_001", "repairable", "finite"),
    ]
    code, said = check(workspace, "--fix")
    assert code == 0
    assert "Next: autounet check -d 6" in said
    copy = "Dataset006_Phantoms_fixed"
    done = pipeline.check(workspace, "6", jobs=1)
    assert done.exit_code == 0
    assert len(done.diagnosis.dataset.cases) == 5
    assert (workspace.raw / copy / "repairs.csv").is_file()
    assert rows(workspace, copy) == []


def test_options_and_names_that_are_wrong(workspace: Workspace) -> None:
    code, said = check(workspace, "--suspected")
    assert code == 2
    assert "--fix" in said
    (workspace.raw / DATASET / "dataset.json").write_text("{")
    code, said = check(workspace)
    assert code == 2
    assert "dataset.json" in said
    assert not workspace.preprocessed.exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="the real datasets are not here")
@pytest.mark.parametrize(
    ("dataset", "kinds"), [("4", {"intensity"}), ("101", set()), ("201", set()), ("203", {"intensity"})]
)
def test_real_datasets_have_nothing_worse_than_odd_intensities(dataset: str, kinds: set[str], tmp_path: Path) -> None:
    workspace = Workspace(raw=REAL, preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    done = pipeline.check(workspace, dataset, jobs=1)
    assert done.exit_code == 0
    assert {finding.check for finding in done.diagnosis.findings} == kinds
