"""A cascade as a user drives it: the second stage learns from cases new to the first, one command predicts."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from autounet import cli
from autounet.data.dataset import find_cases
from autounet.data.io import read_image, read_label
from autounet.data.phantoms import write_phantom_dataset
from autounet.evaluation.suspicion import Review
from autounet.inference.export import export_label
from autounet.inference.predictor import Predictor
from autounet.launch.plan_files import read_plan
from autounet.models.folder import ModelRecord
from autounet.preprocessing.case import prepare_case
from autounet.preprocessing.dataset import store_for
from autounet.resample import resample_label

DATASET = "Dataset007_Phantoms"
LOW, SECOND = "3d_lowres", "3d_cascade_fullres"
SHORT = ("--epochs", "1", "--steps-per-epoch", "2", "--device", "cpu", "--augmentation", "light")
CPU = torch.device("cpu")


def run(workspace: Path, *arguments: str, place: bool = True) -> int:
    """Run a verb in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", ["autounet", *arguments, *(["-w", str(workspace)] if place else [])])
        cli.main()
    code = exited.value.code
    return code if isinstance(code, int) else 0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prepared phantoms, a fold each, a cascade planned by hand, and its first stage trained."""
    folder = tmp_path_factory.mktemp("workspace")
    write_phantom_dataset(folder / "raw" / DATASET, num_training=2, num_test=1)
    sizes = ["--features", "4", "--stages", "2", "--patch", "16", "16", "16", "--batch-size", "2"]
    assert run(folder, "plan", "7", *sizes) == 0
    path = folder / "preprocessed" / DATASET / "plan_default.json"
    content = json.loads(path.read_text())
    full = content["configurations"]["3d_fullres"]
    spacing = [1.9 * size for size in full["spacing_mm"]]
    content["configurations"][LOW] = {"inherits_from": "3d_fullres", "spacing_mm": spacing}
    content["configurations"][SECOND] = {"inherits_from": "3d_fullres", "previous_stage": LOW}
    path.write_text(json.dumps(content))
    assert run(folder, "preprocess", "7", "-c", LOW, "-c", SECOND, "-j", "1") == 0
    return folder


def results(workspace: Path, name: str) -> Path:
    return workspace / "results" / DATASET / f"default__plain__{name}"


def previous_folder(workspace: Path) -> Path:
    (folder,) = (workspace / "preprocessed" / DATASET).glob("prepared_*/previous_*")
    return folder


def test_the_first_stage_has_to_be_trained(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which folds are missing, and how to train them; at once, not after the first folds of many."""
    assert run(workspace, "train", "7", LOW, "1", *SHORT) == 0
    for fold in ("0", "all-folds", "all"):
        capsys.readouterr()
        assert run(workspace, "train", "7", SECOND, fold, *SHORT) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"fold 0 of {results(workspace, LOW)} is not trained" in said
        assert "autounet train 7 3d_lowres all-folds" in said
    assert not results(workspace, SECOND).exists()


def test_the_whole_way(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(workspace, "train", "7", LOW, "all-folds", *SHORT) == 0
    assert run(workspace, "train", "7", SECOND, "all-folds", *SHORT) == 0
    assert (results(workspace, SECOND) / "cross_validation.json").exists()
    _was_told_by_networks_that_had_not_seen_the_case(workspace)
    _what_is_missing_is_made_again(workspace, capsys)
    _one_command_equals_both_stages_by_hand(workspace, tmp_path)
    _a_preview_shows_what_was_told(workspace, capsys)
    _the_second_stage_judges_labels(workspace)
    _other_folds_are_refused(workspace, capsys)


def _was_told_by_networks_that_had_not_seen_the_case(workspace: Path) -> None:
    """What is stored is what `predict` makes of the case with the fold that validates on it, on the second's grid."""
    preprocessed = workspace / "preprocessed" / DATASET
    plan = read_plan(preprocessed, "default", "7")
    store = store_for(preprocessed, plan, plan.configuration(SECOND))
    splits = json.loads((preprocessed / "splits_final.json").read_text())
    stored = sorted(previous_folder(workspace).glob("*.b2nd"))
    names = [path.name[: -len("_0123456789abcdef.b2nd")] for path in stored]
    assert names == sorted(name for split in splits for name in split["val"])
    for name, path in zip(names, stored, strict=True):
        (fold,) = (number for number, split in enumerate(splits) if name not in split["train"])
        out = workspace / f"out_of_fold_{name}"
        images = workspace / f"images_{name}"
        images.mkdir()
        for image in (workspace / "raw" / DATASET / "imagesTr").glob(f"{name}_*"):
            shutil.copy(image, images)
        options = ["-c", LOW, "-f", str(fold), "--device", "cpu"]
        assert run(workspace, "predict", "-i", str(images), "-o", str(out), *options) == 0
        mask = nib.load(out / f"{name}.nii.gz").get_fdata().T.astype(np.int16)
        properties = store.record(name).properties
        whole = mask.transpose(plan.transpose_forward)[properties.crop.slices]
        expected = resample_label(whole, properties.shape, properties.spacing_mm, properties.target_spacing_mm)
        np.testing.assert_array_equal(store.open_array(path)[0], expected)


def _what_is_missing_is_made_again(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A prepared file that was lost, and a mask that the first stage's validation had no time for; no other."""
    files = {path: path.stat().st_mtime_ns for path in previous_folder(workspace).iterdir()}
    lost = min(files)
    lost.unlink()
    (mask,) = (results(workspace, LOW) / "fold_1" / "validation").glob("*.nii.gz")
    before = read_label(mask)[0]
    mask.unlink()
    assert run(workspace, "train", "7", SECOND, "0", *SHORT, "--overwrite") == 0
    np.testing.assert_array_equal(read_label(mask)[0], before)
    again = {path: path.stat().st_mtime_ns for path in previous_folder(workspace).iterdir()}
    assert again.keys() >= files.keys() - {lost}
    assert len(again) == len(files)
    record = ModelRecord.read(results(workspace, SECOND) / "fold_0" / "model.json")
    assert record.previous_model == results(workspace, LOW).name
    assert "where the first stage's are changed" in " ".join(capsys.readouterr().out.split())


def _one_command_equals_both_stages_by_hand(workspace: Path, tmp_path: Path) -> None:
    images = workspace / "raw" / DATASET / "imagesTs"
    options = ["-c", SECOND, "--device", "cpu"]
    assert run(workspace, "predict", "-i", str(images), "-o", str(tmp_path / "masks"), *options) == 0
    first = Predictor.load(results(workspace, LOW), device=CPU)
    second = Predictor.load(results(workspace, SECOND), device=CPU)
    assert len(first.networks) == len(second.networks) == 2
    cases = find_cases(images, ".nii.gz", len(second.plan.channels))
    assert len(cases) == 1
    for case in cases:
        image = read_image(case.images, len(second.plan.channels))
        earlier = first.predict(image)
        prepared = prepare_case(image, earlier, second.plan, second.configuration)
        assert prepared.label is not None
        channels = [prepared.label == value for value in second.plan.labels.foreground_values]
        logits = second.logits(np.concatenate([prepared.image, np.array(channels, dtype=np.float32)]))
        expected = export_label(logits, prepared.properties, second.plan)
        found, _ = read_label(tmp_path / "masks" / f"{case.name}.nii.gz")
        np.testing.assert_array_equal(found, expected)


def _a_preview_shows_what_was_told(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(workspace, "preview", "7", "-c", SECOND, "--patches", "2") == 0
    assert "the fill is what 3d_lowres found" in " ".join(capsys.readouterr().out.split())


def _the_second_stage_judges_labels(workspace: Path) -> None:
    """Also where its own mask is missing, which takes the first stage's."""
    (mask,) = (results(workspace, SECOND) / "fold_1" / "validation").glob("*.nii.gz")
    before = read_label(mask)[0]
    mask.unlink()
    assert run(workspace, "review", "7", "-c", SECOND, "--top", "1", "--device", "cpu", "-j", "1") == 0
    assert read_label(mask)[0].shape == before.shape
    assert Review.read(results(workspace, SECOND) / "review" / "review.json").not_judged == ()


def _other_folds_are_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folds that changed since the first stage was trained could show it a case that it knows."""
    path = workspace / "preprocessed" / DATASET / "splits_final.json"
    splits = json.loads(path.read_text())
    splits.reverse()
    path.write_text(json.dumps(splits))
    capsys.readouterr()
    assert run(workspace, "train", "7", SECOND, "0", *SHORT, "--overwrite") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "was trained on other cases than fold 0 has now" in said
    assert "autounet train 7 3d_lowres 0 --overwrite" in said


def test_a_first_stage_that_is_gone(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "handed_on" / results(workspace, SECOND).name
    shutil.copytree(results(workspace, SECOND), model)
    images = workspace / "raw" / DATASET / "imagesTs"
    fast = ["--no-mirror", "--overlap", "0", "--device", "cpu"]
    arguments = ["predict", "-i", str(images), "-o", str(tmp_path / "masks"), "--model", str(model), *fast]
    assert run(workspace, *arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{model} is the second stage of a cascade" in said
    # What was packed beside its first stage needs nothing else.
    packed = tmp_path / "model.zip"
    assert run(workspace, "model", "pack", str(results(workspace, SECOND)), "-o", str(packed), place=False) == 0
    shutil.rmtree(model)
    assert run(workspace, "model", "unpack", str(packed), "-o", str(model), place=False) == 0
    assert run(workspace, *arguments) == 0
    masks = {path.name: read_label(path)[0] for path in (tmp_path / "masks").glob("*.nii.gz")}
    assert run(workspace, "predict", "-i", str(images), "-o", str(tmp_path / "here"), "-c", SECOND, *fast) == 0
    for name, mask in masks.items():
        np.testing.assert_array_equal(read_label(tmp_path / "here" / name)[0], mask)
