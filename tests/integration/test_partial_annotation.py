"""Two datasets with different classes drawn in the same kind of images become one, and a network finds both classes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autounet import cli, pipeline
from autounet.data.dataset import RawDataset
from autounet.evaluation.summary import Summary
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

NUM_LIVER, NUM_SPLEEN, NUM_TEST = 6, 2, 2
STEPS = TrainConfig.for_clock(1).model_copy(update={"max_seconds": None, "num_epochs": 2, "steps_per_epoch": 100})


def volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A volume with a bright liver (1) and a dark spleen (2), and its label map."""
    generator = np.random.default_rng(seed)
    label = np.zeros((16, 32, 32), np.uint8)
    y, x = (int(start) for start in generator.integers(2, 12, 2))
    label[3:13, y + 9 : y + 18, x : x + 18] = 1
    label[3:13, y : y + 9, x : x + 18] = 2
    return 100 + 60 * (label == 1) - 60 * (label == 2) + generator.normal(0, 8, label.shape), label


def write(folder: Path, part: str, name: str, image: np.ndarray, label: np.ndarray) -> None:
    for kind, array, file in (("images", image.astype(np.float32), f"{name}_0000"), ("labels", label, name)):
        path = folder / f"{kind}{part}" / f"{file}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array.T, np.eye(4)), path)


def describe(folder: Path, labels: dict[str, int]) -> None:
    content = {"channel_names": {"0": "MR"}, "labels": {"background": 0, **labels}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A dataset of livers and one of spleens, each with the value 1 for its class."""
    workspace = Workspace.at(tmp_path)
    for number, (name, num_cases) in enumerate((("Liver", NUM_LIVER), ("Spleen", NUM_SPLEEN)), start=1):
        folder = workspace.raw / f"Dataset00{number}_{name}"
        for index in range(num_cases):
            image, label = volume(10 * number + index)
            write(folder, "Tr", f"case{index}", image, (label == number).astype(np.uint8))
        describe(folder, {name.lower(): 1})
    return workspace


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["autounet", *line.split()])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert isinstance(exited.value.code, int)
    return exited.value.code


def test_both_classes_are_learned_from_cases_that_show_one_each(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(f"dataset merge 1 2 --name Both --id 3 --dry-run -w {tmp_path}", monkeypatch) == 0
    assert not (workspace.raw / "Dataset003_Both").exists()
    assert run(f"dataset merge 1 2 --name Both --id 3 -j 1 -w {tmp_path}", monkeypatch) == 0
    said = capsys.readouterr().out
    assert "annotated in Dataset001_Liver" in said
    assert "Next: autounet plan_and_preprocess -d 3" in said
    raw = RawDataset.load(workspace.raw / "Dataset003_Both")
    assert [case.annotated for case in raw.cases] == [("liver",)] * NUM_LIVER + [("spleen",)] * NUM_SPLEEN

    planned = pipeline.plan_and_preprocess(workspace, "3", configurations=["3d_fullres"], jobs=1)
    content = json.loads(planned.path.read_text())
    entry = content["configurations"]["3d_fullres"]
    entry["network"]["features"] = [8 for _ in entry["network"]["features"]]
    entry["batch_size"] = 2
    planned.path.write_text(json.dumps(content))
    trained = pipeline.train(workspace, "3", "3d_fullres", 0, config=STEPS, device="cpu")
    assert trained.summary
    require_only_annotated(trained.summary)

    for index in range(NUM_TEST):
        write(raw.folder, "Ts", f"test{index}", *volume(100 + index))
    masks = tmp_path / "masks"
    pipeline.predict(workspace, raw.folder / "imagesTs", masks, dataset="3", device="cpu")
    summary, _ = pipeline.evaluate(raw.folder / "labelsTs", masks, jobs=1)
    for mean in summary.class_means.values():
        assert mean.num_scored == NUM_TEST
        assert mean.dice is not None
        # Where three of four cases call spleens background, a loss that believes them finds none: Dice 0.
        assert mean.dice > 0.4

    again = tmp_path / "again"
    again.mkdir()
    for case in raw.cases:
        assert case.label is not None
        (again / case.label.name).write_bytes(case.label.read_bytes())
    found, path = pipeline.evaluate(raw.folder / "labelsTr", again, jobs=1)
    require_only_annotated(found)
    assert run(f"evaluate {raw.folder / 'labelsTr'} {again} -j 1", monkeypatch) == 0
    assert "not annotated" in capsys.readouterr().out
    assert Summary.read(path) == found


def require_only_annotated(summary: Summary) -> None:
    """Every case has a score of the class drawn in it alone."""
    for case in summary.cases:
        mine, other = ("liver", "spleen") if case.case.startswith("Liver") else ("spleen", "liver")
        assert list(case.classes) == [mine]
        assert case.not_annotated == (other,)
    for name, mean in summary.class_means.items():
        scored = sum(case.case.lower().startswith(name) for case in summary.cases)
        assert (mean.num_scored, mean.num_not_annotated) == (scored, summary.num_cases - scored)
