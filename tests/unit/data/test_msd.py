"""Folders of the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autounet.data.draft import require_whole
from autounet.data.msd import task_name, understand_msd
from autounet.errors import DataError, RequestError


def write_task(root: Path, **changes: Any) -> Path:
    task = root / "Task05_Prostate"
    for name in (
        "imagesTr/p_00",
        "imagesTr/p_01",
        "imagesTr/._p_00",
        "labelsTr/p_00",
        "labelsTr/p_01",
        "imagesTs/p_02",
    ):
        (task / f"{name}.nii.gz").parent.mkdir(parents=True, exist_ok=True)
        (task / f"{name}.nii.gz").touch()
    content = {
        "name": "PROSTATE",
        "tensorImageSize": "4D",
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "numTraining": 2,
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in ("p_00", "p_01")
        ],
        "test": ["./imagesTs/p_02.nii.gz"],
    }
    (task / "dataset.json").write_text(json.dumps({**content, **changes}))
    return task


@pytest.mark.parametrize("listed", [True, False])
def test_a_task_is_understood_by_its_lists_or_its_folders(listed: bool, tmp_path: Path) -> None:
    task = write_task(tmp_path) if listed else write_task(tmp_path, training=[], test=None)
    draft = understand_msd(task, tmp_path / "raw" / "Dataset005_Prostate")
    assert draft.understood == "I understood: 2 cases and 1 for testing, 2 channels, labels 0..2"
    assert [case.name for case in (*draft.cases, *draft.test_cases)] == ["p_00", "p_01", "p_02"]
    assert draft.channel_names == ("T2", "ADC")
    assert draft.labels is not None
    assert draft.labels.class_names == ("PZ", "TZ")
    assert draft.left_out == ()


def test_number_and_name_are_the_folders(tmp_path: Path) -> None:
    assert task_name(tmp_path / "Task05_Prostate") == (5, "Prostate")
    assert task_name(tmp_path / "prostate") == (None, "prostate")


def test_missing_files_are_told(tmp_path: Path) -> None:
    task = write_task(tmp_path)
    (task / "labelsTr" / "p_01.nii.gz").unlink()
    draft = understand_msd(task, tmp_path / "raw" / "Dataset005_Prostate")
    (problem,) = draft.left_out
    assert (problem.case, problem.file, problem.what) == ("p_01", "labelsTr/p_01.nii.gz", "does not exist")
    with pytest.raises(DataError):
        require_whole(draft, skip_unmatched=False)
    require_whole(draft, skip_unmatched=True)
    assert [case.name for case in draft.cases] == ["p_00"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality": None}, "'modality' must look like"),
        ({"labels": {"background": 0}}, "'labels' must look like"),
        ({"labels": {"0": "background"}}, "nothing but background"),
        ({"training": [{"image": "x"}]}, "'training' must be a list"),
        ({"channel_names": {"0": "T2"}, "file_ending": ".nii.gz"}, "nnU-Net's layout already"),
    ],
)
def test_other_descriptions_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        understand_msd(write_task(tmp_path, **changes), tmp_path / "raw" / "Dataset005_Prostate")
