"""The command line: its surface is frozen, workspaces are understood, errors have exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from autounet import cli
from autounet.cli.app import app
from autounet.cli.common import chosen_workspace
from autounet.errors import DataError, Problem, RequestError, RunError

PLANNING = {
    "--configuration",
    "--planner",
    "--memory-gib",
    "--max-time",
    "--network",
    "--patch",
    "--batch-size",
    "--spacing",
    "--features",
    "--stages",
    "--group-by",
    "--site-by",
    "--device",
    "--jobs",
    "--workspace",
}
SCORING = {"--metrics", "--tolerance-mm", "--lesion-iou", "--instances", "--regions-between", "--missing", "--jobs"}
# Adding to it is a decision; removing from it breaks users' scripts.
SURFACE = {
    "dataset create": {
        "--name",
        "--id",
        "--channel",
        "--label",
        "--test-images",
        "--convert-to",
        "--copy",
        "--dry-run",
        "--skip-unmatched",
        "--jobs",
        "--workspace",
    },
    "dataset merge": {"--name", "--id", "--copy", "--dry-run", "--jobs", "--workspace"},
    "dataset convert_msd": {"--name", "--id", "--copy", "--dry-run", "--skip-unmatched", "--workspace"},
    "check": {"--dataset", "--fix", "--output", "--suspected", "--jobs", "--workspace"},
    "demo": {"--folder", "--max-time"},
    "evaluate": {"--output", *SCORING},
    "compare": {"--reference", "--output", *SCORING},
    "plan": {"--explain", *PLANNING},
    "plan_and_preprocess": {"--dataset", *PLANNING},
    "preprocess": {"--configuration", "--planner", "--network", "--jobs", "--workspace"},
    "networks": {"--planner", "--device", "--workspace"},
    "preview": {
        "--configuration",
        "--augmentation",
        "--patches",
        "--seed",
        "--output",
        "--planner",
        "--network",
        "--workspace",
    },
    "review": {"--configuration", "--model", "--top", "--output", "--device", "--jobs", "--workspace"},
    "import_nnunet": {
        "--output",
        "--fold",
        "--checkpoint",
        "--plans",
        "--dataset",
        "--name",
        "--jobs",
        "--workspace",
    },
    "sample": {
        "--input",
        "--output",
        "--copies",
        "--steps",
        "--guidance",
        "--eta",
        "--seed",
        "--fold",
        "--overwrite",
        "--device",
        "--workspace",
    },
    "model info": set(),
    "model test": {"--device"},
    "model pack": {"--output", "--overwrite"},
    "model unpack": {"--output", "--max-gib"},
    "predict": {
        "--input",
        "--output",
        "--dataset",
        "--configuration",
        "--fold",
        "--model",
        "--mirror",
        "--overlap",
        "--skip",
        "--prune",
        "--attention-maps",
        "--precision",
        "--accumulate",
        "--save-probabilities",
        "--probability-format",
        "--max-ram-gib",
        "--strict",
        "--instances",
        "--overwrite",
        "--postprocess",
        "--device",
        "--devices",
        "--workspace",
    },
    "instances": {"--input", "--output", "--class", "--split", "--min-size", "--jobs"},
    "find_best": {
        "--configuration",
        "--fold",
        "--ensembles",
        "--thresholds",
        "--device",
        "--jobs",
        "--workspace",
    },
    "postprocess": {"--input", "--output", "--rule", "--overwrite", "--jobs"},
    "ensemble": {"--input", "--output", "--save-probabilities", "--overwrite"},
    "train": {
        "--max-time",
        "--epochs",
        "--steps",
        "--recipe",
        "--config",
        "--resume",
        "--extend",
        "--overwrite",
        "--from",
        "--network",
        "--planner",
        "--device",
        "--devices",
        "--logger",
        "--optimizer",
        "--learning-rate",
        "--momentum",
        "--weight-decay",
        "--schedule",
        "--warmup",
        "--cooldown",
        "--gradient-clip",
        "--ema-share",
        "--growth",
        "--growth-batch",
        "--foreground-share",
        "--augmentation",
        "--augmentation-backend",
        "--laterality",
        "--objective",
        "--loss",
        "--deep-supervision",
        "--precision",
        "--compile",
        "--seed",
        "--steps-per-epoch",
        "--patience",
        "--checkpoint-seconds",
        "--workspace",
    },
}


def options_of(command: Any) -> set[str]:
    return {
        next(name for name in parameter.opts if name.startswith("--"))
        for parameter in command.params
        if parameter.param_type_name == "option" and "--help" not in parameter.opts
    }


def test_the_surface_is_as_it_was() -> None:
    group: Any = typer.main.get_command(app)
    groups = ("dataset", "model")
    commands = {name: command for name, command in group.commands.items() if name not in groups}
    commands |= {
        f"{outer} {name}": command for outer in groups for name, command in group.commands[outer].commands.items()
    }
    assert {name: options_of(command) for name, command in commands.items()} == SURFACE


def test_the_option_beats_the_variable_beats_nnunets_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AUTOUNET_WORKSPACE", "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    assert chosen_workspace(None).raw == tmp_path / "autounet_workspace" / "raw"
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / f"nn_{name}"))
    assert chosen_workspace(None).results == tmp_path / "nn_results"
    monkeypatch.setenv("AUTOUNET_WORKSPACE", str(tmp_path / "mine"))
    assert chosen_workspace(None).raw == tmp_path / "mine" / "raw"
    assert chosen_workspace(tmp_path / "option").raw == tmp_path / "option" / "raw"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RequestError("no such thing"), 2, "no such thing"),
        (RunError("it failed"), 1, "it failed"),
        (DataError("Dataset001_X", [Problem("case_7", "a.nii.gz", "is torn", "replace it")]), 2, "case_7"),
        (PermissionError(13, "Permission denied", "/there"), 1, "/there"),
        (KeyboardInterrupt(), 130, "--resume"),
        (ZeroDivisionError("division by zero"), 1, "--debug"),
    ],
)
def test_errors_become_exit_codes_and_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def fail(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["autounet"])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == code
    assert said in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: list[str]) -> None:
        raise RequestError("no such thing")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["autounet", "--debug"])
    with pytest.raises(RequestError):
        cli.main()
