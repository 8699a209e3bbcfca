"""Choosing as a user does it: networks of two configurations, hardly trained, to a choice that `predict` uses."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autounet import cli
from autounet.data.phantoms import write_phantom_dataset
from autounet.evaluation.finish import Finish
from autounet.evaluation.thresholds import Thresholds
from autounet.models.best import FINISH_FILE, Best, ModelFinish, chosen_model

DATASET = "Dataset007_Phantoms"
SHORT = ("--epochs", "1", "--steps-per-epoch", "2", "--device", "cpu", "--augmentation", "none")


def run(workspace: Path, *arguments: str) -> int:
    """Run a verb in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", ["autounet", *arguments])
        patch.setenv("AUTOUNET_WORKSPACE", str(workspace))
        patch.setenv("COLUMNS", "200")
        cli.main()
    code = exited.value.code
    return code if isinstance(code, int) else 0


def find_best(workspace: Path, *arguments: str) -> int:
    return run(workspace, "find_best", "7", "--device", "cpu", "-j", "1", *arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prepared phantoms, a fold each, and two configurations trained on both."""
    folder = tmp_path_factory.mktemp("workspace")
    write_phantom_dataset(folder / "raw" / DATASET, num_training=2, num_test=1)
    sizes = ("--features", "4", "--stages", "2", "--batch-size", "2")
    assert run(folder, "plan", "7", *sizes) == 0
    path = folder / "preprocessed" / DATASET / "plan_default.json"
    content = json.loads(path.read_text())
    for name, patch in (("2d", [32, 32]), ("3d_fullres", [32, 32, 32])):
        content["configurations"][name]["patch_size"] = patch
    path.write_text(json.dumps(content))
    assert run(folder, "preprocess", "7", "-j", "1") == 0
    for name in ("2d", "3d_fullres"):
        assert run(folder, "train", "7", name, "all-folds", *SHORT) == 0
    return folder


@pytest.fixture
def workspace(trained: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    shutil.copytree(trained, tmp_path / "workspace")
    return tmp_path / "workspace"


def results(workspace: Path, name: str = "3d_fullres") -> Path:
    return workspace / "results" / DATASET / f"default__plain__{name}"


def rewrite(workspace: Path, **finish: object) -> Path:
    """Write another finish into the choice."""
    path = workspace / "results" / DATASET / "best.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "finish": finish}))
    return path


def predict(workspace: Path, masks: Path, *arguments: str) -> np.ndarray:
    images = workspace / "raw" / DATASET / "imagesTs"
    assert run(workspace, "predict", "-i", str(images), "-o", str(masks), "--device", "cpu", *arguments) == 0
    (mask,) = masks.glob("*.nii.gz")
    return np.asarray(nib.load(mask).dataobj)


def test_from_trained_folds_to_masks(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_best(workspace) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2d: probabilities or masks of 2 cases were missing and are predicted" in said
    assert "that takes about" in said
    assert "2d + 3d_fullres" in said
    best = Best.read(workspace / "results" / DATASET / "best.json")
    assert {standing.name for standing in best.choice.standings} == {"2d", "3d_fullres", "2d + 3d_fullres"}
    assert best.num_cases == 2
    chosen = [model.folder.removeprefix("default__plain__") for model in best.models]
    assert tuple(chosen) == best.choice.members
    _what_is_there_is_not_predicted_again(workspace, capsys)
    _predict_uses_the_choice(workspace, tmp_path, capsys)
    _a_model_by_name_uses_what_was_decided_for_it_alone(workspace, tmp_path)
    _what_was_trained_anew_is_not_used(workspace, tmp_path, capsys)


def _what_is_there_is_not_predicted_again(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_best(workspace, "--ensembles", "none") == 0
    assert "missing" not in capsys.readouterr().out


def _predict_uses_the_choice(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thresholds that nobody would choose show whether they are used."""
    liver = {"name": "liver", "values": [1]}
    path = rewrite(workspace, thresholds={"values": {"liver": 0.001}}, postprocessing={"steps": [liver]})
    plain = predict(workspace, tmp_path / "plain", "--no-postprocess")
    assert "left out: liver from a probability of 0.001 on" in " ".join(capsys.readouterr().out.split())
    finished = predict(workspace, tmp_path / "finished")
    assert (finished == 1).mean() > 0.5 > (plain == 1).mean()
    rewrite(workspace, postprocessing={"steps": [liver]})
    steps_alone = predict(workspace, tmp_path / "steps", "-d", "7")
    masks, done = str(tmp_path / "plain"), tmp_path / "done"
    assert run(workspace, "postprocess", "-i", masks, "-o", str(done), "--rule", str(path)) == 0
    (mask,) = done.glob("*.nii.gz")
    assert np.array_equal(np.asarray(nib.load(mask).dataobj), steps_alone)
    assert (done / "dataset.json").exists()


def _a_model_by_name_uses_what_was_decided_for_it_alone(workspace: Path, tmp_path: Path) -> None:
    model = results(workspace, "2d")
    path = model / FINISH_FILE
    finish = Finish(thresholds=Thresholds(values={"liver": 0.001}))
    ModelFinish(finish=finish, folds=chosen_model(model, [0, 1]).folds).write(path)
    assert (predict(workspace, tmp_path / "finished 2d", "-c", "2d") == 1).mean() > 0.5
    ModelFinish(finish=finish, folds={"0": "of other weights"}).write(path)
    assert (predict(workspace, tmp_path / "plain 2d", "-c", "2d") == 1).mean() < 0.5


def _what_was_trained_anew_is_not_used(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = Best.read(workspace / "results" / DATASET / "best.json").choice.members[0]
    probabilities = list((results(workspace, name) / "fold_1" / "validation").glob("*_probabilities.*"))
    assert len(probabilities) == 2
    assert run(workspace, "train", "7", name, "1", *SHORT, "--seed", "5", "--overwrite") == 0
    assert not any(path.exists() for path in probabilities)
    images = str(workspace / "raw" / DATASET / "imagesTs")
    assert run(workspace, "predict", "-i", images, "-o", str(tmp_path / "stale")) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "was trained anew since find_best chose it" in said
    assert "autounet find_best 7" in said


def test_what_is_missing_is_told_and_the_rest_is_compared(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(results(workspace) / "fold_1")
    assert find_best(workspace, "--ensembles", "none", "--no-thresholds") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "0 of 2 folds compared, 1 missing; train with: autounet train 7 3d_fullres 1" in said
    assert "2d can tell of 2 cases that it has not seen; compared are the 1 of which all can" in said
    shutil.rmtree(results(workspace, "2d") / "fold_0")
    assert find_best(workspace) == 2
    assert "no case that all models have not seen" in " ".join(capsys.readouterr().err.split())


def test_one_fold_alone_is_asked_about_and_can_be_asked_for(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("2d", "3d_fullres"):
        shutil.rmtree(results(workspace, name) / "fold_1")
    assert find_best(workspace) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "only fold 0" in said
    assert "autounet train 7 2d all-folds" in said
    assert "autounet find_best 7 -f 0" in said
    assert find_best(workspace, "-f", "0", "-c", "2d", "--no-thresholds") == 0


def test_nothing_trained_is_told_with_the_command_to_type(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_best(workspace, "-c", "3d_lowres") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no model 3d_lowres" in said
    assert "default__plain__2d with 0, 1" in said
    shutil.rmtree(workspace / "results")
    assert find_best(workspace) == 2
    assert "autounet train 7 CONFIGURATION all-folds" in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_masks_or_a_file_without_a_rule_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = tmp_path / "rule.json"
    rule.write_text(json.dumps({"steps": [{"name": "liver", "values": [1]}]}))
    (tmp_path / "masks").mkdir()
    call = ("postprocess", "-i", str(tmp_path / "masks"), "-o", str(tmp_path / "out"), "--rule")
    assert run(tmp_path, *call, str(rule)) == 2
    assert "holds no masks" in capsys.readouterr().err
    rule.write_text(json.dumps({"stepz": []}))
    assert run(tmp_path, *call, str(rule)) == 2
    assert "Did you mean 'steps'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
