"""`autounet dataset`: from folders, tables and Decathlon tasks to a dataset that is planned and prepared."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from autounet import cli
from autounet.data.dataset import RawDataset
from autounet.data.phantoms import write_phantom_dataset

Run = Callable[[str], int]
NAMES = [f"patient{patient:02d}_frame{frame}" for patient in range(3) for frame in (1, 2)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("AUTOUNET_WORKSPACE", "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)

    def run(line: str) -> int:
        monkeypatch.setattr(sys, "argv", ["autounet", *line.split()])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        assert isinstance(exited.value.code, int)
        return exited.value.code

    return run


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`images/` and `masks/` of six phantoms, named as people name files."""
    write_phantom_dataset(tmp_path / "phantoms", num_training=len(NAMES), num_test=0)
    for part, folder, word in (("imagesTr", "images", "img"), ("labelsTr", "masks", "mask")):
        (tmp_path / folder).mkdir()
        for name, path in zip(NAMES, sorted((tmp_path / "phantoms" / part).iterdir()), strict=True):
            path.rename(tmp_path / folder / f"{name}_{word}.nii.gz")
    shutil.rmtree(tmp_path / "phantoms")
    return tmp_path


def test_two_folders_become_a_dataset_that_is_planned_and_prepared(
    folders: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("dataset create images masks --name Organs --id 7 --channel MR --label liver kidneys vessel") == 0
    said = capsys.readouterr().out
    assert "I understood: 6 cases, 1 channel, labels 0..3" in said
    assert "patient00_frame1_img.nii.gz" in said
    assert "Next: autounet plan_and_preprocess -d 7" in said
    raw = RawDataset.load(folders / "autounet_workspace" / "raw" / "Dataset007_Organs")
    assert [case.name for case in raw.cases] == NAMES
    assert raw.description.labels.class_names == ("liver", "kidneys", "vessel")
    assert raw.description.channel_names == ("MR",)

    assert run("plan_and_preprocess -d 7 --planner nnunet -c 2d -j 1") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "5 folds: nnU-Net's" in said
    assert r"The case names look grouped: 3 groups in 6 cases, such as patient00." in said
    assert r"--group-by '^(patient\d+)'" in said
    assert "2d: 6 cases prepared" in said

    assert run(r"plan 7 --planner nnunet --group-by ^(patient\d+) -j 1") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "other folds were asked for" in said
    assert r"3 folds: cases grouped by ^(patient\d+)" in said
    assert "look grouped" not in said
    splits = json.loads((folders / "autounet_workspace/preprocessed/Dataset007_Organs/splits_final.json").read_text())
    assert sorted(split["val"] for split in splits) == [NAMES[:2], NAMES[2:4], NAMES[4:]]


def test_a_table_does_the_same(folders: Path, run: Run) -> None:
    rows = [f"masks/{name}_mask.nii.gz,images/{name}_img.nii.gz" for name in NAMES]
    (folders / "cases.csv").write_text("\n".join(["label,image", *rows]) + "\n")
    assert run("dataset create cases.csv --copy") == 0
    raw = RawDataset.load(folders / "autounet_workspace" / "raw" / "Dataset001_cases")
    assert [case.name for case in raw.cases] == NAMES


def test_a_dry_run_writes_nothing(folders: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dataset create images masks --name Organs --dry-run") == 0
    assert "Would be written" in capsys.readouterr().out
    assert not (folders / "autounet_workspace").exists()


def test_mixed_formats_and_test_images_become_one_dataset(
    folders: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = folders / "images" / f"{NAMES[1]}_img.nii.gz"
    nib.save(nib.load(odd), odd.with_suffix("").with_suffix(".nii"))
    (folders / "new").mkdir()
    odd.rename(folders / "new" / "patient09_frame1_img.nii.gz")
    assert run("dataset create images masks --name Organs --test-images new") == 2
    captured = capsys.readouterr()
    assert "background" in captured.out, "what labels are called does not depend on the images' format"
    assert "1 problem in Dataset001_Organs" in captured.err
    assert "--convert-to .nii.gz" in " ".join(captured.err.split())
    assert not (folders / "autounet_workspace").exists()
    assert run("dataset create images masks --name Organs --test-images new --convert-to .nii.gz") == 0
    said = capsys.readouterr().out
    assert "I understood: 6 cases and 1 for testing, 1 channel" in said
    assert "1 image file of another format will be written anew as .nii.gz" in said
    folder = folders / "autounet_workspace" / "raw" / "Dataset001_Organs"
    assert [case.name for case in RawDataset.load(folder).cases] == NAMES
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["patient09_frame1_0000.nii.gz"]


def test_unmatched_files_stop_it_unless_they_may_be_left_out(
    folders: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "masks" / f"{NAMES[2]}_mask.nii.gz").unlink()
    shutil.copy(folders / "masks" / f"{NAMES[0]}_mask.nii.gz", folders / "masks" / "other_mask.nii.gz")
    assert run("dataset create images masks --name Organs") == 2
    captured = capsys.readouterr()
    assert "I understood: 5 cases" in captured.out
    for text in ("patient01_frame1_img", "other_mask", "--skip-unmatched"):
        assert text in captured.err
    assert not (folders / "autounet_workspace").exists()
    assert run("dataset create images masks --name Organs --skip-unmatched") == 0
    assert len(RawDataset.load(folders / "autounet_workspace" / "raw" / "Dataset001_Organs").cases) == 5


def test_a_decathlon_task_of_four_axes_is_planned_and_prepared(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tmp_path / "Task05_Prostate"
    generator = np.random.default_rng(0)
    content: dict[str, Any] = {
        "name": "PROSTATE",
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ"},
        "training": [],
        "test": ["./imagesTs/p_9.nii.gz"],
    }
    for index in (*range(5), 9):
        part = "Ts" if index == 9 else "Tr"
        for name in (f"images{part}", f"labels{part}"):
            (task / name).mkdir(parents=True, exist_ok=True)
        label = np.zeros((24, 24, 8), np.uint8)
        label[6:14, 8:16, 2:6] = 1
        image = generator.normal(label[..., None] + 3.0, 0.2, (24, 24, 8, 2)).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), task / f"images{part}" / f"p_{index}.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), task / f"labels{part}" / f"p_{index}.nii.gz")
        (task / f"images{part}" / f"._p_{index}.nii.gz").write_bytes(b"macOS")
        if part == "Tr":
            content["training"].append(
                {"image": f"./imagesTr/p_{index}.nii.gz", "label": f"./labelsTr/p_{index}.nii.gz"}
            )
    (task / "dataset.json").write_text(json.dumps(content))
    assert run("dataset convert_msd Task05_Prostate") == 0
    assert "I understood: 5 cases and 1 for testing, 2 channels, labels 0..1" in capsys.readouterr().out
    folder = tmp_path / "autounet_workspace" / "raw" / "Dataset005_Prostate"
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["p_9_0000.nii.gz"]
    assert run("plan_and_preprocess -d 5 --planner nnunet -c 2d -j 1") == 0
    assert "2d: 5 cases prepared" in capsys.readouterr().out
    assert run("dataset convert_msd Task05_Prostate") == 2  # the number is taken
    assert "--id 5 is taken" in capsys.readouterr().err
