"""Models as a user handles them on the command line: imported, looked at, tested, handed on, damaged; a plan alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autounet import cli, pipeline
from autounet.data.dataset import RawDataset
from autounet.models.folder import record_path, trained_folds
from autounet.models.integrity import write_checksums
from autounet.training.checkpoint import load_tensors, save_tensors
from autounet.workspace import Workspace

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line: exit code, and what was printed without line breaks."""

    def command(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["autounet", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, " ".join((printed.out + printed.err).split())

    return command


@pytest.fixture
def golden(repository: Path) -> Path:
    return repository / "tests" / "golden" / "nnunet_models"


def test_a_model_goes_from_nnunet_to_another_machine(run: Run, golden: Path, tmp_path: Path) -> None:
    source, model, archive, there = golden / "residual_regions", tmp_path / "m", tmp_path / "m.zip", tmp_path / "there"
    code, said = run("import_nnunet", source / "model", "-o", model, "-f", "0", "1")
    assert code == 0
    assert "2 folds imported" in said
    code, said = run("model", "info", model)
    assert code == 0
    for part in ("resenc, 3 stages", "whole 1+2+3, core 2+3, rim 3", "nnU-Net v2, nnUNetTrainer", "fold 1"):
        assert part in said
    assert run("model", "pack", model, "-o", archive)[0] == 0
    assert run("model", "unpack", archive, "-o", there)[0] == 0
    code, said = run("model", "test", there, "--device", "cpu")
    assert code == 0
    assert said.count("agrees") == 2
    code, said = run("predict", "-i", source / "images", "-o", tmp_path / "masks", "--model", there, "--device", "cpu")
    assert code == 0
    assert (tmp_path / "masks" / "case.nii.gz").exists()
    code, said = run("model", "pack", model, "-o", archive)
    assert code == 2
    assert "--overwrite" in said


def test_objects_of_classes_that_overlap_are_refused_before_anything_is_predicted(
    run: Run, golden: Path, tmp_path: Path
) -> None:
    source = golden / "residual_regions"
    pipeline.import_nnunet(source / "model", tmp_path / "m")
    options = ("--model", tmp_path / "m", "--device", "cpu", "--instances")
    code, said = run("predict", "-i", source / "images", "-o", tmp_path / "masks", *options)
    assert code == 2
    assert "whole, core, rim overlap" in said
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "selftest.safetensors", "checksums.json"])
@pytest.mark.parametrize("verb", ["predict", "info", "test"])
def test_a_damaged_model_is_told_with_file_and_remedy(
    name: str, verb: str, run: Run, golden: Path, tmp_path: Path
) -> None:
    pipeline.import_nnunet(golden / "colour_2d" / "model", tmp_path / "m")
    path = tmp_path / "m" / "fold_0" / name
    path.write_bytes(path.read_bytes()[:-9])
    predict = ("predict", "-i", golden / "colour_2d" / "images", "-o", tmp_path / "masks", "--model", tmp_path / "m")
    code, said = run(*(predict if verb == "predict" else ("model", verb, tmp_path / "m")))
    assert code == 2
    assert str(path) in said
    assert not (tmp_path / "masks" / "case.png").exists()


def test_a_model_that_computes_otherwise_is_told(run: Run, golden: Path, tmp_path: Path) -> None:
    model = tmp_path / "m"
    pipeline.import_nnunet(golden / "colour_2d" / "model", model)
    (record,) = trained_folds(model).values()
    assert record.self_test is not None
    narrow = record.self_test.model_copy(update={"logits_std": tuple(1e-12 for _ in record.self_test.logits_std)})
    fold = model / "fold_0"
    record.model_copy(update={"self_test": narrow}).write(record_path(fold))
    write_checksums(fold)
    assert run("model", "test", model, "--device", "cpu")[0] == 0, "the same to the last bit on the same machine"
    path = fold / "selftest.safetensors"
    tensors, metadata = load_tensors(path)
    save_tensors(path, {**tensors, "logits": tensors["logits"] + 1}, metadata)
    write_checksums(fold)
    code, said = run("model", "test", model, "--device", "cpu")
    assert code == 1
    assert "DEVIATES" in said
    assert "another version of PyTorch" in said


def test_a_plan_alone_is_prepared_by(
    run: Run, golden: Path, tmp_path: Path, write_dataset: Callable[..., RawDataset]
) -> None:
    generator = np.random.default_rng(0)
    label = np.zeros((6, 14, 12))
    label[2:4, 4:8, 3:6], label[3, 9:12, 8:11] = 1, 2
    write_dataset({f"case_{index}": (generator.normal(size=(2, *label.shape)), label) for index in range(5)})
    plans = golden / "anisotropic_ct" / "model" / "plans.json"
    code, said = run("import_nnunet", "--plans", plans, "-d", "1", "-w", tmp_path, "-j", "1")
    assert code == 0, said
    assert "plan_nnunet-like.json, configurations 3d_fullres" in said
    prepared = pipeline.preprocess(Workspace.at(tmp_path), "1", planner="nnunet-like", jobs=1)
    assert prepared.counts["3d_fullres"].prepared == 5
    assert prepared.plan.configuration("3d_fullres").spacing_mm == (4.0, 1.1, 1.2)
    assert run("import_nnunet", "--plans", plans)[0] == 2
    assert run("import_nnunet")[0] == 2
