"""The whole pipeline on small phantoms, as a user types it: from raw files to scores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from autounet import cli, pipeline
from autounet.data.phantoms import write_phantom_dataset
from autounet.planners import DEFAULT_PLANNER
from autounet.plans import Plan, plan_path
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

DATASET = "Dataset007_Phantoms"
MODEL = "default__plain__3d_fullres"

# The recipe for runs by the clock, but counted in steps: how many fit a time depends on what else the machine does.
FEW_STEPS = TrainConfig.for_clock(1).model_copy(update={"max_seconds": None, "num_epochs": 2, "steps_per_epoch": 20})


def run(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", ["autounet", *arguments])
        cli.main()
    code = exited.value.code
    return code if isinstance(code, int) else 0


def narrow_plan(workspace: Path, dataset: str) -> None:
    """Edit the plan as a user may, so that a step takes milliseconds: narrow networks and few patches."""
    path = plan_path(workspace / "preprocessed" / dataset, DEFAULT_PLANNER)
    content = json.loads(path.read_text())
    for configuration in content["configurations"].values():
        network = configuration["network"]
        network["features"] = [4 for _ in network["features"]]
        configuration["batch_size"] = 2
    path.write_text(json.dumps(content))
    Plan.read(path)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a planned dataset and one trained fold."""
    folder = tmp_path_factory.mktemp("workspace")
    write_phantom_dataset(folder / "raw" / DATASET, num_training=5, num_test=2)
    assert run("plan_and_preprocess", "-d", "7", "-w", str(folder), "-j", "1") == 0
    narrow_plan(folder, DATASET)
    pipeline.train(Workspace.at(folder), "007", "3d_fullres", 0, config=FEW_STEPS, device="cpu")
    return folder


def fold_of(workspace: Path, number: int = 0) -> Path:
    return workspace / "results" / DATASET / MODEL / f"fold_{number}"


def test_planning_writes_fingerprint_plan_splits_and_prepared_cases(workspace: Path) -> None:
    folder = workspace / "preprocessed" / DATASET
    names = {path.name for path in folder.iterdir()}
    assert {"fingerprint.json", "plan_default.json", "splits_final.json"} <= names
    stores = [path for path in folder.iterdir() if path.is_dir()]
    assert sorted(path.name.split("_")[1] for path in stores) == ["2d", "3d"]
    assert all(len(list(store.glob("*_label.b2nd"))) == 5 for store in stores)
    assert all(entry["reason"] for entry in json.loads((folder / "plan_default.json").read_text())["decisions"])


def test_training_leaves_a_finished_model_with_scores_of_whole_cases(workspace: Path) -> None:
    fold = fold_of(workspace)
    record = json.loads((fold / "model.json").read_text())
    scores = json.loads((fold / "validation" / "scores.json").read_text())
    assert record["finished"] is True
    assert record["validation_dice"] == scores["foreground_dice"]
    splits = json.loads((workspace / "preprocessed" / DATASET / "splits_final.json").read_text())
    assert [case["case"] for case in scores["cases"]] == splits[0]["val"]
    assert (fold / "validation" / "scores.csv").read_text().startswith("case,class,")
    assert not list(fold.rglob(".partial*"))


def test_a_run_that_is_there_is_not_overwritten_by_mistake(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (fold_of(workspace) / "weights.safetensors").read_bytes()
    assert run("train", "7", "3d_fullres", "0", "--epochs", "1", "-w", str(workspace)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (fold_of(workspace) / "weights.safetensors").read_bytes() == before


def test_prediction_keeps_the_geometry_and_skips_finished_cases(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, masks = workspace / "raw" / DATASET, tmp_path / "masks"
    arguments = ("predict", "-i", str(raw / "imagesTs"), "-o", str(masks), "-w", str(workspace), "--device", "cpu")
    assert run(*arguments) == 0
    for image in sorted((raw / "imagesTs").iterdir()):
        source, mask = nib.load(image), nib.load(masks / image.name.replace("_0000", ""))
        assert mask.shape == source.shape
        np.testing.assert_allclose(mask.affine, source.affine, atol=1e-6)
        np.testing.assert_allclose(mask.header.get_zooms(), source.header.get_zooms(), atol=1e-6)
        assert mask.get_data_dtype() == np.uint8
    (masks / "phantom_006.nii.gz").unlink()
    kept = (masks / "phantom_005.nii.gz").stat().st_mtime_ns
    assert run(*arguments) == 0
    assert (masks / "phantom_006.nii.gz").exists()
    assert (masks / "phantom_005.nii.gz").stat().st_mtime_ns == kept
    assert run("evaluate", str(raw / "labelsTs"), str(masks)) == 0
    assert "kidneys" in capsys.readouterr().out
    assert json.loads((masks / "scores.json").read_text())["num_cases"] == 2


def test_a_broken_image_is_reported_and_the_others_are_predicted(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    source = workspace / "raw" / DATASET / "imagesTs" / "phantom_005_0000.nii.gz"
    (images / "a_0000.nii.gz").write_bytes(source.read_bytes()[:500])
    (images / "b_0000.nii.gz").write_bytes(source.read_bytes())
    image = nib.load(source)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    voxels[2, 3, 4] = np.nan
    nib.save(nib.Nifti1Image(voxels, image.affine), images / "c_0000.nii.gz")
    # The fold's folder, as training names it at its end, is as good as the model's.
    model = str(fold_of(workspace))
    assert run("predict", "-i", str(images), "-o", str(tmp_path / "masks"), "--model", model) == 2
    error = capsys.readouterr().err
    assert "a_0000.nii.gz" in error
    assert "NaN" in error
    assert [path.name for path in (tmp_path / "masks").glob("*.nii.gz")] == ["b.nii.gz"]


def test_images_unlike_the_training_data_are_told_of_and_refused_by_strict(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    source = workspace / "raw" / DATASET / "imagesTs" / "phantom_005_0000.nii.gz"
    (images / "usual_0000.nii.gz").write_bytes(source.read_bytes())
    image = nib.load(source)
    affine = image.affine @ np.diag([10, 10, 10, 1])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), images / "odd_0000.nii.gz")
    arguments = ("predict", "-i", str(images), "-o", str(masks), "--model", str(fold_of(workspace)), "--no-mirror")
    assert run(*arguments, "--strict") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "odd_0000.nii.gz" in error
    assert "spacing" in error
    assert "usual_0000" not in error
    assert not list(masks.glob("*.nii.gz"))
    (images / "odd_0000.nii.gz").unlink()
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    zscored = (voxels - voxels.mean()) / voxels.std()
    nib.save(nib.Nifti1Image(zscored, image.affine), images / "normal_0000.nii.gz")
    assert run(*arguments, "--instances") == 0
    assert "1 of 2 cases are unlike" in " ".join(capsys.readouterr().out.split())
    record = json.loads((masks / "predictions.json").read_text())
    assert record["cases"]["usual"]["unlike"] == []
    assert [entry["about"] for entry in record["cases"]["odd"]["unlike"]] == ["spacing"]
    assert record["cases"]["normal"]["score"] > 1
    assert (masks / "instances" / "usual.nii.gz").is_file()
    assert (masks / "instances" / "counts.csv").read_text().startswith("image,liver,kidneys,vessel,all")


def test_several_models_and_no_choice_are_listed(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results" / DATASET
    results.mkdir(parents=True)
    for name in (MODEL, "default__plain__2d"):
        (results / name).symlink_to(workspace / "results" / DATASET / MODEL)
    images = workspace / "raw" / DATASET / "imagesTs"
    assert run("predict", "-i", str(images), "-o", str(tmp_path / "masks"), "-w", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert "default__plain__2d" in error
    assert MODEL in error
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "7", "3d_fulres", "0"), "Did you mean '3d_fullres'"),
        (("train", "7", "3d_fullres", "9"), "folds 0 to 4"),
        (("train", "7", "3d_fullres", "zero"), "fold must be"),
        (("train", "8", "3d_fullres", "0"), "no dataset '8'"),
        (("train", "7", "3d_fullres", "1", "--max-time", "soon"), "'soon' is no time"),
        (("train", "7", "3d_fullres", "1", "--max-time", "1m", "--epochs", "3"), "exclude each other"),
        (("train", "7", "3d_fullres", "1", "--network", "plane"), "Did you mean 'plain'"),
        (("train", "7", "3d_fullres", "1", "--loss", "dise"), "Did you mean 'dice'"),
        (("train", "7", "3d_fullres", "1", "--precision", "int8"), "'precision'"),
        (("train", "7", "3d_fullres", "1", "--device", "cuda:77"), "cannot be used here"),
        (("train", "7", "3d_fullres", "1", "--resume"), "no run to go on with"),
        (("train", "7", "3d_fullres", "0", "--resume"), "is finished"),
        (("plan_and_preprocess", "-d", "7", "--planner", "nnunt"), "Did you mean 'nnunet'"),
        (("plan_and_preprocess", "-d", "7", "-c", "4d"), "no configuration '4d'"),
    ],
)
def test_a_wrong_request_exits_2_with_the_way_out(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert run(*arguments, "-w", str(workspace)) == 2
    assert said in capsys.readouterr().err
    assert not fold_of(workspace, 1).exists()


def test_a_changed_raw_file_must_be_prepared_again(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = workspace / "raw" / DATASET / "labelsTr" / "phantom_000.nii.gz"
    before = label.stat()
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    try:
        assert run("train", "7", "3d_fullres", "1", "--epochs", "1", "-w", str(workspace)) == 2
        assert "phantom_000" in capsys.readouterr().err
    finally:
        os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_run_by_the_clock_ends_with_a_model_that_says_how_it_was_sized(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("train", "7", "3d_fullres", "3", "--max-time", "30s", "-w", str(workspace), "--device", "cpu")
    assert run(*arguments) == 0
    record = json.loads((fold_of(workspace, 3) / "model.json").read_text())
    rows = (fold_of(workspace, 3) / "training_log.csv").read_text().splitlines()
    assert record["finished"] is True
    assert record["config"]["max_seconds"] == 30
    assert float(rows[-1].split(",")[3]) < 1e-5  # the learning rate came down to nothing
    assert "steps in 30 s" in capsys.readouterr().out


def test_a_killed_run_resumes_from_its_last_checkpoint(workspace: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from autounet import pipeline\n"
        "from autounet.workspace import Workspace\n"
        "from autounet.training.config import TrainConfig\n"
        "config = TrainConfig(num_epochs=2, steps_per_epoch=20, checkpoint_seconds=0.01, augmentation='none')\n"
        "pipeline.train(Workspace.at(Path(sys.argv[1])), '7', '3d_fullres', 2, config=config, device='cpu')\n"
    )
    checkpoint = fold_of(workspace, 2) / "checkpoint.safetensors"
    with subprocess.Popen([sys.executable, "-c", script, str(workspace)]) as process:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert checkpoint.exists()
    assert not (fold_of(workspace, 2) / "weights.safetensors").exists()
    assert run("train", "7", "3d_fullres", "2", "-w", str(workspace)) == 2
    assert run("train", "7", "3d_fullres", "2", "-w", str(workspace), "--resume") == 0
    record = json.loads((fold_of(workspace, 2) / "model.json").read_text())
    rows = (fold_of(workspace, 2) / "training_log.csv").read_text().splitlines()
    assert record["finished"] is True
    assert record["config"]["steps_per_epoch"] == 20
    assert [row.split(",")[1] for row in rows] == ["step", "20", "40"]


def test_png_images_go_the_same_way(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    raw = tmp_path / "raw" / "Dataset009_Squares"
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / folder).mkdir(parents=True)
    for index in range(6):
        label = np.zeros((48, 40), np.uint8)
        y, x = generator.integers(4, 24, 2)
        label[y : y + 14, x : x + 10] = 1
        image = (90 * label + generator.normal(80, 10, label.shape)).clip(0, 255).astype(np.uint8)
        part = "Tr" if index < 5 else "Ts"
        Image.fromarray(image).save(raw / f"images{part}" / f"square_{index}_0000.png")
        if index < 5:
            Image.fromarray(label).save(raw / "labelsTr" / f"square_{index}.png")
    description = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "square": 1},
        "numTraining": 5,
        "file_ending": ".png",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    assert run("plan_and_preprocess", "-d", "9", "-w", str(tmp_path), "-j", "1") == 0
    assert run("train", "9", "3d_fullres", "0", "-w", str(tmp_path)) == 2
    narrow_plan(tmp_path, raw.name)
    config = FEW_STEPS.model_copy(update={"steps_per_epoch": 60})
    trained = pipeline.train(Workspace.at(tmp_path), "9", "2d", 0, config=config, device="cpu")
    masks = tmp_path / "masks"
    assert run("predict", "-i", str(raw / "imagesTs"), "-o", str(masks), "-w", str(tmp_path)) == 0
    with Image.open(masks / "square_5.png") as mask:
        values = np.asarray(mask)
    assert values.shape == (48, 40)
    assert set(np.unique(values)) <= {0, 1}
    assert trained.summary and trained.summary.foreground_dice is not None
    assert trained.summary.foreground_dice > 0.7


def test_a_preview_is_drawn_and_says_where_and_what(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "new" / "preview.png"
    choice = ("--augmentation", "da5", "--patches", "3", "--seed", "4", "-o", str(picture))
    assert run("preview", "7", *choice, "-w", str(workspace)) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "3d_fullres, augmentation da5" in told
    assert "middle slice" in told
    assert told.count("phantom_0") == 3
    assert "preview.png" in told
    first = picture.read_bytes()
    assert run("preview", "7", *choice, "-w", str(workspace)) == 0
    assert picture.read_bytes() == first  # one seed, one picture
    assert run("preview", "7", "-c", "2d", "--patches", "1", "-w", str(workspace)) == 0
    assert (workspace / "preprocessed" / DATASET / "preview_2d_nnunet.png").is_file()
    for wrong, word in (("--augmentation=nnunt", "nnunet"), ("-o=a.jpg", "png"), ("-c=4d", "3d_fullres")):
        assert run("preview", "7", *wrong.split("="), "-w", str(workspace)) == 2
        assert word in capsys.readouterr().err
