"""Training as a user drives it: choices in a file, folds alone or at once, processes together, ends before time."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from autounet import cli
from autounet.data.phantoms import write_phantom_dataset
from autounet.training.checkpoint import load_tensors
from autounet.training.precision import Precision

DATASET = "Dataset007_Phantoms"
SHORT = ("--epochs", "2", "--steps-per-epoch", "4", "--device", "cpu", "--augmentation", "light")


def run(workspace: Path, *arguments: str) -> int:
    """Run a verb in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", ["autounet", *arguments, "-w", str(workspace)])
        cli.main()
    code = exited.value.code
    return code if isinstance(code, int) else 0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with five prepared phantoms and a plan of milliseconds a step."""
    folder = tmp_path_factory.mktemp("workspace")
    write_phantom_dataset(folder / "raw" / DATASET, num_training=5, num_test=0)
    sizes = ["--features", "4", "--stages", "3", "--patch", "16", "16", "16", "--batch-size", "3"]
    assert run(folder, "plan_and_preprocess", "-d", "7", "-c", "3d_fullres", *sizes, "-j", "1") == 0
    return folder


def model_of(workspace: Path) -> Path:
    return workspace / "results" / DATASET / "default__plain__3d_fullres"


def rows_of(fold: Path) -> list[dict[str, str]]:
    with (fold / "training_log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_two_processes_train_as_one_does(workspace: Path, together: Callable[..., CompletedProcess[str]]) -> None:
    """The whole batch is the plan's: three samples are two for one process and one for the other."""
    options = ["train", "7", "3d_fullres", "0", "-w", str(workspace), "--epochs", "6", "--steps-per-epoch", "1"]
    options += ["--device", "cpu", "--seed", "3", "--precision", "float32", "--learning-rate", "0.01"]
    assert run(workspace, *options[:-4], "--precision", "float32", "--learning-rate", "0.01") == 0
    alone = rows_of(model_of(workspace) / "fold_0")
    weights, _ = load_tensors(model_of(workspace) / "fold_0" / "weights.safetensors")
    done = together(*options, "--overwrite")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Model:") == 1
    shared = rows_of(model_of(workspace) / "fold_0")
    assert len(shared) == 6
    for first, second in zip(alone, shared, strict=True):
        assert float(second["loss"]) == pytest.approx(float(first["loss"]), abs=1e-5)
    found, _ = load_tensors(model_of(workspace) / "fold_0" / "weights.safetensors")
    assert max(float((found[name] - weights[name]).abs().max()) for name in weights) < 1e-4


def test_more_processes_than_samples_are_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        import torch

        from autounet.cli import training
        from autounet.training.replicas import Replicas

        patch.setattr(training, "_replicas", lambda device: Replicas(0, 4, torch.device("cpu")))
        assert run(workspace, "train", "7", "3d_fullres", "1", *SHORT) == 2
    assert "4 processes share the plan's batch of 3" in capsys.readouterr().err


def test_all_folds_trains_what_is_missing_and_sums_up(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of(workspace)
    assert run(workspace, "train", "7", "3d_fullres", "1", *SHORT, "--overwrite") == 0
    first = (model / "fold_1" / "weights.safetensors").stat().st_mtime_ns
    capsys.readouterr()
    assert run(workspace, "train", "7", "3d_fullres", "all-folds", *SHORT) == 0
    said = capsys.readouterr().out
    assert (model / "fold_1" / "weights.safetensors").stat().st_mtime_ns == first
    assert said.count("Cross-validation, 5 cases") == 1
    scores = json.loads((model / "cross_validation.json").read_text())
    assert len(scores["foreground"]["of_folds"]) == 5
    assert len((model / "cross_validation_cases.csv").read_text().splitlines()) == 1 + 5 * len(scores["classes"])
    assert run(workspace, "train", "7", "3d_fullres", "all-folds", *SHORT) == 0
    assert "every fold is trained" in capsys.readouterr().out


def test_folds_train_at_once_where_there_are_several_devices(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("train", "7", "3d_fullres", "all-folds", "--loss", "dice_ce", *SHORT[:4], "--planner", "default")
    for fold in (2, 4):
        (model_of(workspace) / f"fold_{fold}" / "model.json").unlink()
    assert run(workspace, *options, "--devices", "cpu,cpu") == 0
    said = capsys.readouterr().out
    assert "fold 2: trained" in said
    assert "fold 4: trained" in said
    assert "Model:" in (model_of(workspace) / "train_fold_4.log").read_text()


def test_a_run_that_is_told_to_end_leaves_a_model_that_predicts_and_goes_on(workspace: Path) -> None:
    command = ["train", "7", "3d_fullres", "3", "-w", str(workspace), "--epochs", "500", "--overwrite", *SHORT[2:]]
    fold = model_of(workspace) / "fold_3"
    (fold / "training_log.csv").unlink(missing_ok=True)
    with subprocess.Popen([sys.executable, "-m", "autounet", *command], stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while not (fold / "training_log.csv").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "SIGTERM: the run ends at step" in said
    assert "--resume goes on" in said
    assert json.loads((fold / "model.json").read_text())["stopped_by"] == "SIGTERM"
    images, masks = workspace / "raw" / DATASET / "imagesTr", workspace / "masks"
    assert run(workspace, "predict", "-i", str(images), "-o", str(masks), "--model", str(fold)) == 0
    (fold / "stop").touch()
    assert run(workspace, "train", "7", "3d_fullres", "3", "--resume", "--device", "cpu") == 130
    assert json.loads((fold / "model.json").read_text())["stopped_by"] == f"the file {fold / 'stop'}"


def test_a_finished_run_is_made_longer(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(workspace, "train", "7", "3d_fullres", "0", *SHORT, "--overwrite") == 0
    assert run(workspace, "train", "7", "3d_fullres", "0", "--extend", "3", "--device", "cpu") == 0
    fold = model_of(workspace) / "fold_0"
    assert [row["step"] for row in rows_of(fold)] == ["4", "8", "12", "16", "20"]
    assert json.loads((fold / "model.json").read_text())["config"]["num_epochs"] == 5
    capsys.readouterr()
    assert run(workspace, "train", "7", "3d_fullres", "0", "--extend", "1m") == 2
    assert "--extend 50" in capsys.readouterr().err


def test_a_run_that_goes_on_computes_in_the_format_that_it_began_in(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a busy machine measures may be another format than what it measured before."""
    for name, told in (("bfloat16", "fast"), ("float32", "slow")):
        found = Precision(getattr(torch, name), told)
        monkeypatch.setattr("autounet.training.precision._probe_cpu", lambda found=found: found)
        options = (*SHORT, "--overwrite") if name == "bfloat16" else ("--extend", "1")
        assert run(workspace, "train", "7", "3d_fullres", "0", *options, "--device", "cpu") == 0
        said = capsys.readouterr().out
        assert f"cpu, bfloat16: {'fast' if name == 'bfloat16' else 'as the run began'}" in said
    assert json.loads((model_of(workspace) / "fold_0" / "model.json").read_text())["computed_in"] == "bfloat16"


def test_a_run_starts_from_another_ones_weights(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = model_of(workspace) / "fold_0"
    assert run(workspace, "train", "7", "3d_fullres", "1", *SHORT, "--overwrite", "--from", str(source)) == 0
    assert "starting from" in capsys.readouterr().out
    report = json.loads((model_of(workspace) / "fold_1" / "transfer.json").read_text())
    assert report["loaded"]
    assert not report["adapted"] and not report["new"]


def test_choices_come_from_a_file_and_are_stored_in_the_model(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("steps: 3\noptimizer: adamw\nschedule: constant\nlearning_rate: 0.001\n", encoding="utf-8")
    options = ("train", "7", "3d_fullres", "2", "--overwrite", "--config", str(file), "--device", "cpu")
    assert run(workspace, *options, "--seed", "4") == 0
    stored = json.loads((model_of(workspace) / "fold_2" / "model.json").read_text())["config"]
    assert (stored["num_steps"], stored["optimizer"], stored["schedule"], stored["seed"]) == (3, "adamw", "constant", 4)
    file.write_text("optimiser: adamw\n", encoding="utf-8")
    assert run(workspace, *options) == 2
    assert "Did you mean 'optimizer'?" in capsys.readouterr().err
