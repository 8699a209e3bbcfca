"""Planning as a user types it: what is decided and why, what is overruled, and what must run again."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autounet import cli, pipeline
from autounet.data.phantoms import write_phantom_dataset
from autounet.launch import timing
from autounet.plans import Configuration, Plan
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

DATASET = "Dataset007_Phantoms"
Run = Callable[..., int]

# Counted in steps: how many fit a time depends on what else the machine does.
FEW_STEPS = TrainConfig.for_clock(1).model_copy(update={"max_seconds": None, "num_epochs": 1, "steps_per_epoch": 3})


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw folder with one dataset of five cases."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantom_dataset(folder / DATASET, num_training=5, num_test=0)
    return folder


@pytest.fixture
def workspace(raw: Path, tmp_path: Path) -> Path:
    """A workspace of its own with the raw dataset, not yet planned."""
    shutil.copytree(raw, tmp_path / "raw")
    return tmp_path


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process, and returns its exit code."""
    monkeypatch.setenv("AUTOUNET_WORKSPACE", str(workspace))
    monkeypatch.setenv("COLUMNS", "400")

    def run(line: str) -> int:
        monkeypatch.setattr("sys.argv", ["autounet", *line.split(), *(["-j", "1"] if line.startswith("plan") else [])])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        code = exited.value.code
        return code if isinstance(code, int) else 0

    return run


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are not measured, but follow from their voxels and widths."""

    def measure(configuration: Configuration, goal_seconds: float, **_: Any) -> float:
        return float(
            configuration.batch_size * np.prod(configuration.patch_size) * configuration.network.features[0] * 1e-8
        )

    monkeypatch.setattr(timing, "measure_step", measure)


def folder_of(workspace: Path) -> Path:
    return workspace / "preprocessed" / DATASET


def plan_of(workspace: Path, planner: str = "default") -> Plan:
    return Plan.read(folder_of(workspace) / f"plan_{planner}.json")


def edit(workspace: Path, change: Callable[[dict[str, Any]], object], planner: str = "default") -> None:
    """Edit a plan file as a user may."""
    path = folder_of(workspace) / f"plan_{planner}.json"
    content = json.loads(path.read_text())
    change(content["configurations"])
    path.write_text(json.dumps(content))


def narrow(configurations: dict[str, Any]) -> None:
    """So narrow that a step takes milliseconds."""
    for entry in configurations.values():
        if "network" in entry:
            entry["network"]["features"] = [4 for _ in entry["network"]["features"]]


def stores(workspace: Path) -> set[str]:
    return {path.name for path in folder_of(workspace).iterdir() if path.is_dir()}


def test_a_plan_is_shown_with_its_memory_and_no_case_is_prepared(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan 7") == 0
    said = capsys.readouterr().out
    assert {path.name for path in folder_of(workspace).iterdir()} == {
        "fingerprint.json",
        "plan_default.json",
        "splits_final.json",
    }
    for configuration in plan_of(workspace).configurations.values():
        assert configuration.memory is not None
        assert f"{configuration.memory.total_bytes / 2**30:.2f} GiB" in said
        assert " x ".join(map(str, configuration.patch_size)) in said
    assert "To prepare: 2d, 3d_fullres" in said
    assert "Next: autounet preprocess 7" in said


def test_explain_tells_every_decision_with_its_reason(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan 7 --explain") == 0
    words = " ".join(capsys.readouterr().out.split())
    plan = plan_of(workspace)
    assert len(plan.decisions) > 20
    for decision in plan.decisions:
        for text in (decision.value, decision.reason, *decision.alternatives):
            assert " ".join(text.split()) in words


def test_to_explain_a_plan_is_not_to_plan_anew(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str], fast_clock: None
) -> None:
    assert run("plan 7 --patch 24 24 24") == 0
    edit(workspace, lambda configurations: configurations["2d"].update(batch_size=3))
    before = (folder_of(workspace) / "plan_default.json").read_bytes()
    capsys.readouterr()
    assert run("plan 7 --explain") == 0
    said = capsys.readouterr().out
    assert "24 x 24 x 24 requested by the user" in said
    assert "edited to 3" in said
    assert (folder_of(workspace) / "plan_default.json").read_bytes() == before


def test_an_option_is_obeyed_and_memory_and_time_follow(workspace: Path, run: Run, fast_clock: None) -> None:
    assert run("plan 7") == 0
    before = plan_of(workspace).configuration("3d_fullres")
    options = "--patch 24 24 24 --batch-size 4 --features 8 --stages 2 --spacing 3 2 2"
    assert run(f"plan 7 {options}") == 0
    plan = plan_of(workspace)
    after = plan.configuration("3d_fullres")
    assert after.patch_size == (24, 24, 24)
    assert after.batch_size == 4
    assert after.network.features == (8, 16)
    assert plan.median_spacing_mm == after.spacing_mm == (3, 2, 2)
    assert before.memory is not None
    assert after.memory is not None
    assert after.memory.weights_bytes < before.memory.weights_bytes
    assert after.memory.total_bytes < before.memory.total_bytes
    assert after.time is not None
    assert after.time.step_seconds > 0
    assert after.time.max_seconds is None
    reasons = {entry.name: entry.reason for entry in plan.decisions}
    for key in ("patch_size", "batch_size"):
        assert "requested by the user" in reasons[f"3d_fullres.{key}"]


def test_a_patch_is_rounded_up_to_what_the_network_takes_and_that_is_said(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str], fast_clock: None
) -> None:
    assert run("plan 7 --patch 30 31 32") == 0
    assert plan_of(workspace).configuration("3d_fullres").patch_size == (32, 32, 32)
    assert "3d_fullres: patch 30 x 31 x 32 rounded up to 32 x 32 x 32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ("--patch 24 24 24", ["3d_fullres"]),
        ("--patch 24 24", ["2d"]),
        ("--batch-size 5", ["2d", "3d_fullres"]),
        ("--batch-size 5 -c 2d", ["2d"]),
        ("--features 8 --stages 2 -c 3d_fullres", ["3d_fullres"]),
    ],
)
def test_an_option_is_for_the_configurations_that_it_fits(
    workspace: Path, run: Run, fast_clock: None, options: str, changed: Sequence[str]
) -> None:
    assert run("plan 7") == 0
    before = plan_of(workspace)
    assert run(f"plan 7 {options}") == 0
    after = plan_of(workspace)
    assert [name for name in before.configurations if after.configuration(name) != before.configuration(name)] == list(
        changed
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--patch 1 2 3 4", ("--patch 1 2 3 4", "Z Y X")),
        ("--spacing 1 1", ("--spacing 1 1", "three numbers")),
        ("--spacing 0 1 1", ("0.0, 1.0, 1.0", "three positive numbers")),
        ("--patch 24 24 -c 3d_fullres", ("24 x 24", "two numbers for 2d, three for 3d")),
        ("--network resnc", ("resnc", "Did you mean 'resenc'")),
        ("--planner nnunt", ("nnunt", "Did you mean 'nnunet'")),
        ("--planner nnunet --network resenc", ("resenc", "--planner default")),
        ("-c 3d_fulres", ("3d_fulres", "2d, 3d_fullres")),
        ("--max-time soon", ("soon", "10m")),
        ("--memory-gib inf", ("inf",)),
        ("--device cuda:77", ("cuda:77",)),
    ],
)
def test_a_wrong_option_exits_2_with_the_way_out_and_nothing_is_written(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str], options: str, said: Sequence[str]
) -> None:
    for verb in ("plan 7", "plan_and_preprocess -d 7"):
        assert run(f"{verb} {options}") == 2
        error = capsys.readouterr().err
        assert all(word in error for word in said), error
    assert not (workspace / "preprocessed").exists()


def test_what_does_not_fit_a_dataset_of_images_is_refused(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw" / "Dataset009_Squares"
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for index in range(5):
        label = np.zeros((48, 40), np.uint8)
        label[10:24, 5 * index : 5 * index + 12] = 1
        image = (90 * label + generator.normal(80, 10, label.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(raw / "imagesTr" / f"square_{index}_0000.png")
        Image.fromarray(label).save(raw / "labelsTr" / f"square_{index}.png")
    description = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "square": 1}}
    (raw / "dataset.json").write_text(json.dumps({**description, "numTraining": 5, "file_ending": ".png"}))
    assert run("plan 9 --patch 32 32 32") == 2
    error = capsys.readouterr().err
    assert "32 x 32 x 32" in error
    assert "two numbers for 2d" in error
    assert run("plan 9 --patch 32 32 -c 3d_fullres") == 2
    assert "no configuration '3d_fullres'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        "--patch 64 64 64 --memory-gib 0.1",
        "--patch 64 64 64 --batch-size 3 --network resenc --memory-gib 0.1",
        "--features 256 --memory-gib 0.01",  # where 3d_fullres needs more than 2d does
        "--features 256 --memory-gib 0.01 --network resenc",
    ],
)
def test_too_little_memory_names_the_least_that_works_and_it_works(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str], fast_clock: None, options: str
) -> None:
    assert run(f"plan 7 {options}") == 2
    error = capsys.readouterr().err
    named = re.search(r"--memory-gib ([\d.]+),", error)
    assert named, error
    assert not (workspace / "preprocessed").exists()
    again = re.sub(r"--memory-gib [\d.]+", f"--memory-gib {named[1]}", options)
    assert run(f"plan 7 {again}") == 0, capsys.readouterr().err
    network = "__resenc" if "--network resenc" in options else ""
    assert plan_of(workspace, f"default{network}").memory_gib == float(named[1])


def test_a_gpu_of_another_machine_is_planned_for_by_its_memory(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run("plan 7 --device cuda") == 2
    assert "--memory-gib" in capsys.readouterr().err
    assert run("plan 7 --device cuda --memory-gib 24") == 0
    half = plan_of(workspace).configuration("3d_fullres").memory
    assert run("plan 7 --device cuda --memory-gib 24 --patch 24 24 24") == 0  # nothing is timed
    assert run("plan 7 --device cpu --memory-gib 24") == 0
    full = plan_of(workspace).configuration("3d_fullres").memory
    assert half is not None
    assert full is not None
    assert half.activations_bytes < 0.7 * full.activations_bytes


def test_what_must_run_again_is_told_by_what_changed(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str], fast_clock: None
) -> None:
    assert run("plan_and_preprocess -d 7") == 0
    prepared = stores(workspace)
    capsys.readouterr()
    assert run("plan 7 --patch 24 24 24") == 0
    said = capsys.readouterr().out
    assert "Prepared cases fit this plan" in said
    assert "Next: autounet train 7" in said
    assert run("plan 7 --spacing 3 2 2") == 0
    said = capsys.readouterr().out
    assert "To prepare: 2d, 3d_fullres" in said
    assert "Next: autounet preprocess 7" in said
    assert run("train 7 3d_fullres 0 --epochs 1") == 2
    assert "autounet preprocess 7" in capsys.readouterr().err
    assert run("preprocess 7") == 0
    assert "3d_fullres: 5 cases prepared, 0 were ready" in capsys.readouterr().out
    assert run("plan_and_preprocess -d 7") == 0  # what was prepared first is still there
    assert "3d_fullres: 0 cases prepared, 5 were ready" in capsys.readouterr().out
    assert prepared < stores(workspace)


def test_a_plan_counts_the_cases_that_it_waits_for(workspace: Path) -> None:
    place = Workspace.at(workspace)
    assert pipeline.plan(place, "7", jobs=1).to_prepare == {"2d": 5, "3d_fullres": 5}
    pipeline.plan_and_preprocess(place, "7", configurations=["2d"], jobs=1)
    assert pipeline.plan(place, "7", jobs=1).to_prepare == {"2d": 0, "3d_fullres": 5}


def test_a_plan_for_a_time_is_trained_for_that_time(
    workspace: Path, run: Run, monkeypatch: pytest.MonkeyPatch, fast_clock: None
) -> None:
    assert run("plan_and_preprocess -d 7 --max-time 10s --device cpu") == 0
    configuration = plan_of(workspace).configuration("3d_fullres")
    time = configuration.time
    assert time is not None
    assert (time.max_seconds, time.total_seconds) == (10, 10)
    assert time.num_steps > 0
    assert 0 < (time.expected_end - datetime.now().astimezone()).total_seconds() <= 10
    assert configuration.network.features[0] < 32
    assert time.changes
    used: list[TrainConfig] = []

    def stop(*arguments: object, config: TrainConfig, **_: object) -> None:
        used.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "train", stop)
    assert run("train 7 3d_fullres 0") == 130
    assert run("train 7 3d_fullres 0 --max-time 20s") == 130
    assert run("train 7 3d_fullres 0 --epochs 2") == 130
    assert [config.max_seconds for config in used] == [10, 20, None]
    assert [config.optimizer for config in used] == ["muon", "muon", "sgd"]


def test_training_goes_by_the_clock_of_the_plan(workspace: Path, run: Run) -> None:
    options = "-c 3d_fullres --features 4 --stages 3 --patch 16 16 16 --batch-size 2 --max-time 12s --device cpu"
    assert run(f"plan_and_preprocess -d 7 {options}") == 0
    planned = plan_of(workspace).configuration("3d_fullres")
    assert run("train 7 3d_fullres 0 --device cpu") == 0
    fold = workspace / "results" / DATASET / "default__plain__3d_fullres" / "fold_0"
    record = json.loads((fold / "model.json").read_text())
    assert record["finished"] is True
    assert record["config"]["max_seconds"] == 12
    assert record["configuration"]["time"]["max_seconds"] == 12
    assert record["configuration"]["patch_size"] == list(planned.patch_size)  # the user's own, whatever the time


def test_a_configuration_of_the_users_own_stays_and_is_trained(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str], fast_clock: None
) -> None:
    assert run("plan 7") == 0
    edit(workspace, lambda entries: entries.update(mine={"inherits_from": "3d_fullres", "patch_size": [16, 16, 16]}))
    assert run("plan 7 --features 4 --batch-size 1 -c 3d_fullres") == 0
    plan = plan_of(workspace)
    mine = plan.configuration("mine")
    assert mine.inherits_from == "3d_fullres"
    assert mine.patch_size == (16, 16, 16)
    assert mine.network == plan.configuration("3d_fullres").network  # what it says nothing of follows its parent
    written = json.loads((folder_of(workspace) / "plan_default.json").read_text())["configurations"]["mine"]
    assert "network" not in written
    capsys.readouterr()
    assert run("plan_and_preprocess -d 7 -c mine") == 0
    assert "mine: 5 cases prepared, 0 were ready" in capsys.readouterr().out
    edit(workspace, narrow)
    assert run("train 7 mine 0 --epochs 1 --loss nonsense") == 2
    trained = pipeline.train(Workspace.at(workspace), "7", "mine", 0, config=FEW_STEPS, device="cpu")
    assert trained.model.name == "default__plain__mine"


def test_sizes_of_a_configuration_of_the_users_own_belong_into_the_plan_file(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan 7") == 0
    edit(workspace, lambda entries: entries.update(mine={"inherits_from": "3d_fullres"}))
    assert run("plan 7 -c mine --batch-size 3") == 2
    error = capsys.readouterr().err
    assert "mine" in error
    assert "plan_default.json" in error


def test_the_second_stage_of_a_cascade_is_planned_and_trained_after_the_first(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan_and_preprocess -d 7 --memory-gib 0.02 --spacing 1.5 1.2 1.2 -c 3d_cascade_fullres") == 0
    second = plan_of(workspace).configuration("3d_cascade_fullres")
    assert (second.inherits_from, second.previous_stage) == ("3d_fullres", "3d_lowres")
    assert run("train 7 3d_cascade_fullres 0 --epochs 1") == 2
    assert "autounet train 7 3d_lowres all-folds" in " ".join(capsys.readouterr().err.split())


def test_a_fingerprint_is_taken_anew_only_after_a_change(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan_and_preprocess -d 7 -c 2d") == 0
    assert "check and measure: 5 done" in capsys.readouterr().out
    assert run("plan_and_preprocess -d 7 -c 2d") == 0
    assert "check and measure" not in capsys.readouterr().out
    label = workspace / "raw" / DATASET / "labelsTr" / "phantom_000.nii.gz"
    os.utime(label, ns=(label.stat().st_atime_ns, label.stat().st_mtime_ns + 10**9))
    assert run("plan_and_preprocess -d 7 -c 2d") == 0
    said = capsys.readouterr().out
    assert "check and measure: 5 done" in said
    assert "2d: 1 cases prepared, 4 were ready" in said


def test_planners_that_ask_for_the_same_share_prepared_cases(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan_and_preprocess -d 7 -c 3d_fullres") == 0
    before = stores(workspace)
    capsys.readouterr()
    assert run("plan_and_preprocess -d 7 -c 3d_fullres --planner nnunet") == 0
    said = capsys.readouterr().out
    assert "3d_fullres: 0 cases prepared, 5 were ready" in said
    assert "train 7 3d_fullres 0 --planner nnunet" in said
    assert stores(workspace) == before


def test_a_residual_preset_is_planned_and_trained(workspace: Path, run: Run) -> None:
    assert run("plan_and_preprocess -d 7 -c 3d_fullres --planner nnunet_resenc_m") == 0
    plan = plan_of(workspace, "nnunet_resenc_m")
    assert {entry.network.name for entry in plan.configurations.values()} == {"resenc"}
    edit(workspace, narrow, "nnunet_resenc_m")
    trained = pipeline.train(
        Workspace.at(workspace),
        "7",
        "3d_fullres",
        0,
        config=FEW_STEPS,
        planner="nnunet_resenc_m",
        device="cpu",
    )
    assert trained.model.name == "nnunet_resenc_m__resenc__3d_fullres"
    record = json.loads((trained.fold / "model.json").read_text())
    assert record["configuration"]["network"]["name"] == "resenc"
    assert record["finished"] is True
