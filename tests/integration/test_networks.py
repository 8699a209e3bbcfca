"""Networks asked for by name, from planning to prediction, and one from outside, as the documentation has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest

from autounet import cli
from autounet.data.phantoms import write_phantom_dataset
from autounet.models.folder import ModelRecord
from autounet.plans import Plan

DATASET = "Dataset007_Phantoms"
Run = Callable[..., int]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a dataset that is planned and prepared for little memory."""
    folder = tmp_path_factory.mktemp("workspace")
    write_phantom_dataset(folder / "raw" / DATASET, num_training=5, num_test=1)
    with pytest.MonkeyPatch.context() as patch:
        line = f"autounet plan_and_preprocess -d 7 -c 2d -w {folder} -j 1 --memory-gib 0.3 --device cpu"
        patch.setattr("sys.argv", line.split())
        with pytest.raises(SystemExit) as exited:
            cli.main()
        assert exited.value.code == 0
    return folder


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process, and returns its exit code."""
    monkeypatch.setenv("AUTOUNET_WORKSPACE", str(workspace))
    monkeypatch.setenv("COLUMNS", "400")

    def run(line: str) -> int:
        monkeypatch.setattr("sys.argv", ["autounet", *line.split()])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        code = exited.value.code
        return code if isinstance(code, int) else 0

    return run


def plan_of(workspace: Path, name: str) -> Plan:
    return Plan.read(workspace / "preprocessed" / DATASET / f"plan_{name}.json")


def fold_of(workspace: Path, name: str) -> Path:
    return workspace / "results" / DATASET / name / "fold_0"


def test_attention_maps_lie_over_the_images(workspace: Path, run: Run, tmp_path: Path) -> None:
    network = "attention_unet,gates=2"
    assert run(f"plan 7 --network {network} --features 4 --stages 3 --memory-gib 0.1 -j 1 --device cpu") == 0
    plan = plan_of(workspace, f"default__{network}")
    assert (plan.network, plan.configuration("2d").network.options) == (network, (("gates", 2),))
    assert run(f"train 7 2d 0 --network {network} --steps 2 --device cpu") == 0
    fold = fold_of(workspace, f"default__{network}__2d")
    assert ModelRecord.read(fold / "model.json").config.loss == "dice"
    images, masks = workspace / "raw" / DATASET / "imagesTs", tmp_path / "masks"
    assert run(f"predict -i {images} -o {masks} --model {fold.parent} --attention-maps --device cpu") == 0
    mask = next(masks.glob("*.nii.gz"))
    gates = sorted((masks / "attention_maps").iterdir())
    assert [path.name[-12:-7] for path in gates] == [f"gate{number + 1}" for number in range(len(gates))]
    assert gates
    for path in gates:
        attention = nib.load(path)
        assert attention.shape == nib.load(mask).shape
        assert 0 < attention.get_fdata().max() <= 255


def test_the_u_net_of_2015_is_planned_trained_and_predicts(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("plan 7 --network unet2015 --features 4 --stages 3 --memory-gib 0.3 -j 1 --device cpu") == 0
    configuration = plan_of(workspace, "default__unet2015").configuration("2d")
    assert configuration.network.halo == (20, 20)
    assert configuration.batch_size == 1
    told = configuration.network.output_size(configuration.patch_size)
    assert all(size >= median for size, median in zip(told, configuration.median_shape, strict=True))
    assert run("train 7 2d 0 --network unet2015 --steps 2 --device cpu") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "as in Ronneberger et al., MICCAI 2015 (arXiv 1505.04597): optimizer sgd, learning_rate 0.001" in said
    assert run("train 7 2d 1 --network unet2015 --steps 2 --device cpu --recipe nnunet") == 0
    assert "Ronneberger" not in capsys.readouterr().out
    model = fold_of(workspace, "default__unet2015__2d").parent
    images, masks = workspace / "raw" / DATASET / "imagesTs", tmp_path / "masks"
    assert run(f"predict -i {images} -o {masks} --model {model} --device cpu") == 0
    (mask,), (image,) = masks.glob("*.nii.gz"), images.glob("*.nii.gz")
    assert nib.load(mask).shape == nib.load(image).shape
    assert run(f"predict -i {images} -o {masks} --model {model} --device cpu --prune 1") == 2
    assert run(f"predict -i {images} -o {masks} --model {model} --device cpu --attention-maps") == 2


def test_the_network_of_the_documentation_is_planned_when_it_is_first_trained_and_its_results_lie_apart(
    workspace: Path,
    run: Run,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (repository / "docs" / "how-to" / "add-a-network.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "tiny_net.py").write_text(re.sub(r"^   ", "", code, flags=re.MULTILINE), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    (command,) = re.findall(r"autounet train 4 3d_fullres 0 (--network \S+)", page)
    usual = plan_of(workspace, "default")
    assert run(f"train 7 2d 0 {command} --steps 2 --device cpu") == 0
    assert "planned for network 'tiny_net:TinyNet,activation=gelu' in 0.3 GiB" in capsys.readouterr().out
    plan = plan_of(workspace, "default__tiny_net.TinyNet,activation=gelu")
    assert plan.median_spacing_mm == usual.median_spacing_mm
    assert plan_of(workspace, "default") == usual
    record = ModelRecord.read(fold_of(workspace, "default__tiny_net.TinyNet,activation=gelu__2d") / "model.json")
    assert record.configuration.network.name == "tiny_net:TinyNet"
    assert record.configuration.network.num_stages == 1
    # A second fold goes by the same plan.
    assert run(f"train 7 2d 1 {command} --steps 2 --device cpu") == 0
    assert "planned for network" not in capsys.readouterr().out


def test_all_networks_are_listed_with_what_they_take(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("networks") == 0
    said = capsys.readouterr().out
    assert "31,030,658" in said
    assert "Milletari et al." in said
    assert run("networks 7 --device cpu") == 0
    said = capsys.readouterr().out
    assert "are too little" in said  # for some network
    assert "2d" in said


def test_a_network_needs_no_usual_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOUNET_WORKSPACE", str(tmp_path))
    raw = tmp_path / "raw" / DATASET
    write_phantom_dataset(raw, num_training=5, num_test=1)
    network = "--network unet2015"
    for line in (f"preprocess 7 {network}", f"preview 7 {network}", f"train 7 2d 0 {network} --steps 2"):
        assert run(line) == 2
        assert network in capsys.readouterr().err
    sizes = "--features 4 --stages 3 --memory-gib 0.3 -j 1 --device cpu"
    assert run(f"plan_and_preprocess -d 7 -c 2d {network} {sizes}") == 0
    assert [path.name for path in (tmp_path / "preprocessed" / DATASET).glob("plan_*")] == [
        "plan_default__unet2015.json"
    ]
    assert run(f"preprocess 7 {network}") == 0
    capsys.readouterr()
    assert run(f"preview 7 {network} --patches 1") == 0
    configuration = plan_of(tmp_path, "default__unet2015").configuration("2d")
    size = " x ".join(map(str, configuration.patch_size))
    inner = " x ".join(map(str, configuration.network.output_size(configuration.patch_size)))
    said = " ".join(capsys.readouterr().out.split())
    assert f"2d, augmentation unet2015: patches of {size} (the network tells of the inner {inner})" in said
    assert (tmp_path / "preprocessed" / DATASET / "preview_2d_unet2015__unet2015.png").is_file()
    assert run(f"train 7 2d 0 {network} --steps 2 --device cpu") == 0
    masks = tmp_path / "masks"
    assert run(f"predict -i {raw / 'imagesTs'} -o {masks} --device cpu") == 0
    assert run("find_best 7 -f 0") == 0
    assert run(f"evaluate {masks} {masks}") == 0


def test_a_network_is_previewed_by_the_plan_that_it_would_be_trained_by(
    workspace: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("preview 7 -c 2d --network unetpp --patches 1") == 0
    assert "planned for network 'unetpp' in 0.3 GiB" in capsys.readouterr().out
    patch = " x ".join(map(str, plan_of(workspace, "default__unetpp").configuration("2d").patch_size))
    assert run("preview 7 -c 2d --network unetpp --patches 1") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"2d, augmentation nnunet: patches of {patch}," in said
    assert "planned for" not in said
