"""Learning to draw the images of a dataset, and drawing new ones, as a user does it."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import PIL.Image
import pytest

from autounet import cli
from autounet.data.dataset import RawDataset
from autounet.data.io import read_image, read_label, read_stored
from autounet.launch.diffusion_scores import DiffusionSummary
from autounet.models.folder import ModelRecord

DATASET = "Dataset031_Discs"
DARK, BRIGHT = 60, 180


def run(workspace: Path | None, *arguments: str) -> int:
    """Run a verb in this process and return its exit code."""
    place = [] if workspace is None else ["-w", str(workspace)]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", ["autounet", *arguments, *place])
        cli.main()
    code = exited.value.code
    return code if isinstance(code, int) else 0


def write_discs(folder: Path, num_cases: int = 10, edge: int = 24) -> None:
    """Bright discs on dark ground, with noise."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:edge, :edge]
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case in range(num_cases):
        (row, column), radius = generator.integers(6, edge - 6, 2), generator.integers(4, 7)
        label = ((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(np.uint8)
        image = np.where(label == 1, BRIGHT, DARK) + generator.normal(0, 8, label.shape)
        PIL.Image.fromarray(label).save(folder / "labelsTr" / f"disc_{case}.png")
        PIL.Image.fromarray(image.astype(np.uint8)).save(folder / "imagesTr" / f"disc_{case}_0000.png")
    description = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "disc": 1},
        "numTraining": num_cases,
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(description))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a network that learned for some seconds to draw discs."""
    folder = tmp_path_factory.mktemp("workspace")
    write_discs(folder / "raw" / DATASET)
    sizes = ["--patch", "16", "16", "--batch-size", "4", "--features", "8", "--stages", "2"]
    assert run(folder, "plan", "31") == 0
    network = ["--network", "diffusion_unet,context=8"]
    assert run(folder, "plan_and_preprocess", "-d", "31", "-c", "2d", "-j", "1", *network, *sizes) == 0
    length = ["--epochs", "2", "--steps-per-epoch", "30", "--learning-rate", "1e-2", "--device", "cpu"]
    assert run(folder, "train", "31", "2d", "0", *network, *length, "--precision", "float32") == 0
    return folder


def model_of(workspace: Path) -> Path:
    (model,) = (workspace / "results" / DATASET).iterdir()
    return model


def test_the_fold_is_scored_by_its_loss(workspace: Path) -> None:
    fold = model_of(workspace) / "fold_0"
    summary = DiffusionSummary.read(fold / "validation" / "diffusion.json")
    record = ModelRecord.read(fold / "model.json")
    assert summary.measure == "mean squared error of the predicted v, at fixed noise and times"
    assert summary.num_cases == len(summary.cases) == 2
    assert record.validation_loss == summary.loss == pytest.approx(np.mean(list(summary.cases.values())))
    assert record.validation_dice is None
    assert summary.loss < 0.8, "1 is what saying nothing gives"
    assert len(summary.times) == 8
    header, *rows = (fold / "training_log.csv").read_text().splitlines()
    assert "validation_loss" in header.split(",")
    assert len(rows) == 2
    assert (fold / "progress.png").stat().st_size > 10_000


def test_two_processes_learn_as_one_does(
    workspace: Path, together: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    for part in ("raw", "preprocessed"):
        shutil.copytree(workspace / part, tmp_path / part)
    options = ["train", "31", "2d", "0", "--network", "diffusion_unet,context=8", "--seed", "3", "--device", "cpu"]
    options += ["--epochs", "4", "--steps-per-epoch", "1", "--precision", "float32", "--overwrite"]
    logs, scores = [], []
    for several in (False, True):
        if several:
            done = together(*options, "-w", str(tmp_path))
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            assert run(tmp_path, *options) == 0
        fold = model_of(tmp_path) / "fold_0"
        with (fold / "training_log.csv").open(newline="", encoding="utf-8") as file:
            logs.append([float(row["loss"]) for row in csv.DictReader(file)])
        scores.append(DiffusionSummary.read(fold / "validation" / "diffusion.json").loss)
    assert len(logs[0]) == 4
    assert logs[1] == pytest.approx(logs[0], abs=1e-5)
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


def test_raw_intensities_are_known_to_the_model(workspace: Path) -> None:
    record = ModelRecord.read(model_of(workspace) / "fold_0" / "model.json")
    assert record.intensities is not None
    (channel,) = record.intensities.channels
    assert (channel.mean, channel.std) == pytest.approx((0, 1), abs=1e-3)
    assert channel.whole_numbers
    assert len(record.intensities.cases) == 8
    assert dict(record.configuration.network.options)["tokens"] == 1


def test_drawn_images_follow_their_label_maps_and_can_join_the_dataset(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, drawn = workspace / "raw" / DATASET, tmp_path / "drawn"
    maps = tmp_path / "maps"
    maps.mkdir()
    for case in (0, 1):
        shutil.copy(raw / "labelsTr" / f"disc_{case}.png", maps)
    arguments = ["sample", "31", "-i", str(maps), "-o", str(drawn), "--copies", "2", "--steps", "10", "--seed", "1"]
    assert run(workspace, *arguments, "--device", "cpu") == 0
    assert "4 images at 10 steps each: about" in capsys.readouterr().out
    images = sorted((drawn / "imagesTr").iterdir())
    assert [path.name for path in images] == [f"disc_{case}_drawn{copy}_0000.png" for case in (0, 1) for copy in (0, 1)]
    for path in images:
        pixels = read_image([path]).array[0, 0]
        label = read_label(drawn / "labelsTr" / path.name.replace("_0000", ""))[0][0]
        assert np.array_equal(label, read_label(maps / f"{path.name[:6]}.png")[0][0])
        assert read_stored(path, as_label=False)[0].dtype == np.uint8
        assert pixels[label == 1].mean() - pixels[label == 0].mean() > (BRIGHT - DARK) / 2
    first, second = (read_image([path]).array for path in images[:2])
    assert not np.array_equal(first, second)
    assert (drawn / "overview.png").stat().st_size > 5_000
    shutil.copytree(drawn / "imagesTr", tmp_path / DATASET / "imagesTr")
    shutil.copytree(drawn / "labelsTr", tmp_path / DATASET / "labelsTr")
    description = json.loads((raw / "dataset.json").read_text()) | {"numTraining": 4}
    (tmp_path / DATASET / "dataset.json").write_text(json.dumps(description))
    assert len(RawDataset.load(tmp_path / DATASET).cases) == 4

    content = images[0].read_bytes()
    images[0].unlink()
    (drawn / "labelsTr" / "disc_0_drawn0.png").unlink()
    assert run(workspace, *arguments, "--device", "cpu") == 0
    assert "1 image at 10 steps each: about" in capsys.readouterr().out
    assert images[0].read_bytes() == content, "what is missing is drawn again, the same"


def test_a_model_that_draws_is_not_taken_for_one_that_segments(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = str(workspace / "raw" / DATASET / "imagesTr")
    assert run(workspace, "predict", "-i", images, "-o", str(tmp_path)) == 2
    assert "no trained model" in capsys.readouterr().err
    assert run(workspace, "predict", "-i", images, "-o", str(tmp_path), "--model", str(model_of(workspace))) == 2
    assert "draws images and segments none" in " ".join(capsys.readouterr().err.split())


def test_its_self_test_agrees_and_info_tells_its_loss(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(None, "model", "info", str(model_of(workspace))) == 0
    assert run(None, "model", "test", str(model_of(workspace)), "--device", "cpu") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "draws images, validation loss 0." in told
    assert "agrees" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "31", "2d", "1", "--objective", "diffusion"], "cannot be trained for diffusion"),
        (["sample", "31", "-i", "nowhere", "-o", "out"], "holds no label maps"),
    ],
)
def test_what_cannot_be_is_refused(
    workspace: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(workspace, *arguments) == 2
    assert told in " ".join(capsys.readouterr().err.split())
