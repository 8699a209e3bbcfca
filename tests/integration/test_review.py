"""`autounet review` as a user types it: on two small folds, with masks that are there, missing, or of another grid."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from autounet import cli
from autounet.data.dataset import RawDataset
from autounet.data.splits import Split, write_splits
from autounet.evaluation.suspicion import Review
from autounet.geometry import Array
from autounet.models.folder import ModelRecord, build_network, fold_folder, model_folder, save_weights, seal_fold
from autounet.plans import Plan
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

NAMES = tuple(f"case_{letter}" for letter in "abcdef")
SPLITS = (Split(train=NAMES[:3], validation=NAMES[3:]), Split(train=NAMES[3:], validation=NAMES[:3]))
SHAPE = (8, 12, 12)
DAMAGED = "case_e"


def label() -> Array:
    volume = np.zeros(SHAPE, dtype=np.uint8)
    volume[2:6, 3:9, 2:6], volume[2:6, 3:9, 6:10] = 1, 2
    return volume


def write_mask(path: Path, mask: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask.T, np.eye(4)), path)


@pytest.fixture
def workspace(
    tmp_path: Path, write_dataset: Callable[..., RawDataset], make_plan: Callable[..., Plan]
) -> tuple[Workspace, Path]:
    """Six cases, one with swapped classes, in two folds; both are trained and predicted their validation cases."""
    workspace = Workspace.at(tmp_path)
    image = np.random.default_rng(0).normal(size=(1, *SHAPE))
    swapped = np.array([0, 2, 1], dtype=np.uint8)[label()]
    write_dataset({name: (image, swapped if name == DAMAGED else label()) for name in NAMES})
    plan = make_plan()
    write_splits(workspace.preprocessed / plan.dataset_name / "splits_final.json", SPLITS)
    model = model_folder(workspace, plan, plan.configuration("3d_fullres"))
    torch.manual_seed(0)
    for fold, split in enumerate(SPLITS):
        record = ModelRecord(
            plan=plan,
            configuration=plan.configuration("3d_fullres"),
            fold=fold,
            mirror_axes=(),
            config=TrainConfig(),
            finished=True,
            training_digest=split.training_digest,
        )
        folder = fold_folder(model, fold)
        save_weights(folder, dict(build_network(record).state_dict()))
        seal_fold(folder, record)
        for name in split.validation:
            write_mask(folder / "validation" / f"{name}.nii", label())
    return workspace, model


def review(workspace: Workspace, *arguments: str) -> int:
    """Run the verb in this process and return its exit code."""
    typed = ["autounet", "review", "1", *arguments, "-w", str(workspace.raw.parent), "-j", "1", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", typed)
        cli.main()
    assert isinstance(exited.value.code, int)
    return exited.value.code


def found(model: Path) -> Review:
    return Review.read(model / "review" / "review.json")


def test_the_damaged_label_comes_first(workspace: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]) -> None:
    place, model = workspace
    assert review(place, "--top", "2") == 0
    told = found(model)
    assert told.suspects[0].case == DAMAGED
    assert told.suspects[0].worst.kind == "other class"
    assert told.suspects[0].fold == "0"
    assert told.typical == {"organ": 1.0, "tumour": 1.0}
    names = {path.name for path in (model / "review").iterdir()}
    assert names == {"review.json", "review.csv", "overview.png", f"001_{DAMAGED}.png", "002_case_a.png"}
    text = capsys.readouterr().out.replace("\n", " ")
    assert "Median Dice" in text
    assert "Next: correct what is wrong in" in text
    assert "not judged" not in text


def test_missing_masks_are_predicted_by_the_fold_that_has_not_seen_the_case(workspace: tuple[Workspace, Path]) -> None:
    place, model = workspace
    missing = model / "fold_1" / "validation" / "case_a.nii"
    missing.unlink()
    assert review(place, "--top", "0") == 0
    assert missing.exists()
    assert len(found(model).suspects) == 6
    assert not (model / "review" / "overview.png").exists()


def test_a_fold_that_is_not_trained_is_named(
    workspace: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place, model = workspace
    (model / "fold_1" / "model.json").unlink()
    assert review(place, "--top", "0") == 0
    assert found(model).not_judged == NAMES[:3]
    text = capsys.readouterr().out
    assert "3 cases were not judged" in text
    assert "what is missing (folds 1): autounet train 1 3d_fullres all-folds --planner nnunet" in text


def test_a_model_that_has_seen_every_case_is_refused(
    workspace: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place, _ = workspace
    write_splits(
        place.preprocessed / "Dataset001_Test" / "splits_final.json",
        [Split(train=NAMES, validation=NAMES[:1]) for _ in SPLITS],
    )
    assert review(place) == 2
    assert "was trained on every case" in capsys.readouterr().err


def test_a_fold_of_other_cases_is_refused(
    workspace: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Else it would tell of cases that it has seen."""
    place, _ = workspace
    write_splits(place.preprocessed / "Dataset001_Test" / "splits_final.json", SPLITS[::-1])
    assert review(place) == 2
    assert "other cases than fold 0 has now" in capsys.readouterr().err


def test_a_mask_of_another_grid_is_named(workspace: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]) -> None:
    place, model = workspace
    write_mask(model / "fold_0" / "validation" / "case_f.nii", label()[:-1])
    assert review(place) == 2
    text = "".join(capsys.readouterr().err.split())
    assert "case_f" in text
    assert "shape(7,12,12)" in text


def test_other_labels_than_the_models_are_refused(
    workspace: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place, _ = workspace
    path = place.raw / "Dataset001_Test" / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["labels"]["cyst"] = 3
    path.write_text(json.dumps(content), encoding="utf-8")
    assert review(place) == 2
    assert "trained with other labels (organ, tumour)" in capsys.readouterr().err


def test_without_a_trained_model_the_way_is_told(tmp_path: Path, write_dataset: Callable[..., RawDataset]) -> None:
    image = np.zeros((1, *SHAPE))
    write_dataset({name: (image, label()) for name in NAMES})
    place = Workspace.at(tmp_path)
    assert review(place) == 2
