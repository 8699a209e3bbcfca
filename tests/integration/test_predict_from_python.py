"""The Python interface as docs/how-to/predict-from-python.md has it."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import autounet
from autounet.data.dataset import RawDataset
from autounet.data.io import read_label
from autounet.errors import DataError, RequestError, UnlikeInputWarning
from autounet.evaluation.finish import Finish
from autounet.evaluation.thresholds import Thresholds
from autounet.models.best import FINISH_FILE, ModelFinish, chosen_model
from autounet.models.folder import ModelRecord, build_network, fold_folder, save_weights, seal_fold
from autounet.plans import Plan
from autounet.training.config import TrainConfig

# The images are noise of mean 0 and deviation 1, as if somebody had normalised them.
pytestmark = pytest.mark.filterwarnings("ignore::autounet.errors.UnlikeInputWarning")


@pytest.fixture
def model(tmp_path: Path, make_plan: Callable[..., Plan]) -> Path:
    plan = make_plan()
    for name in ("3d_fullres", "2d"):
        record = ModelRecord(
            plan=plan,
            configuration=plan.configuration(name),
            fold=0,
            mirror_axes=(0,),
            config=TrainConfig(precision="float32"),
            finished=True,
        )
        torch.manual_seed(0)
        fold = fold_folder(tmp_path / ("model" if name != "2d" else "model_2d"), 0)
        save_weights(fold, dict(build_network(record).state_dict()))
        seal_fold(fold, record)
    return tmp_path / "model"


@pytest.fixture
def images(write_dataset: Callable[..., RawDataset]) -> Path:
    generator = np.random.default_rng(3)
    image, label = generator.normal(size=(1, 9, 12, 10)), np.zeros((9, 12, 10))
    raw = write_dataset({"a": (image, label), "b": (image + 1, label)}, spacing_mm=(2.0, 1.0, 1.5))
    return raw.folder / "imagesTr"


def test_the_guides_code_runs(
    repository: Path,
    model: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guide = repository / "docs" / "how-to" / "predict-from-python.md"
    text = guide.read_text(encoding="utf-8").replace(".nii.gz", ".nii")  # of the dataset here
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(model.parent)
    images.rename("imagesTs")
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    assert capsys.readouterr().out == "{'organ': (1,), 'tumour': (2,)}\n"
    assert sorted(path.name for path in Path("masks").glob("*.nii")) == ["a.nii", "b.nii"]


def test_an_array_and_its_file_give_the_same_mask(model: Path, images: Path, tmp_path: Path) -> None:
    predictor = autounet.Predictor(model, mirror=False)
    assert predictor.channel_names == ("c0",)
    files = predictor.predict_files(images, tmp_path / "masks")
    assert [path.name for path in files] == ["a.nii", "b.nii"]
    array = np.random.default_rng(3).normal(size=(1, 9, 12, 10)).astype(np.float32)
    expected = read_label(files[0])[0]
    np.testing.assert_array_equal(predictor.predict(array, (2.0, 1.0, 1.5)), expected)
    np.testing.assert_array_equal(predictor.predict(array[0], (2.0, 1.0, 1.5)), expected)


def test_what_find_best_decided_for_the_model_is_done(model: Path, images: Path, tmp_path: Path) -> None:
    finish = Finish(thresholds=Thresholds(values={"tumour": 1e-6}))
    folds = chosen_model(model, [0]).folds
    ModelFinish(finish=finish, folds=folds).write(model / FINISH_FILE)
    predictor = autounet.Predictor(model)
    (mask, _) = predictor.predict_files(images, tmp_path / "masks")
    array = np.random.default_rng(3).normal(size=(1, 9, 12, 10)).astype(np.float32)
    found = predictor.predict(array, (2.0, 1.0, 1.5))
    np.testing.assert_array_equal(read_label(mask)[0], found)
    assert (found == 2).all()
    assert not (autounet.Predictor(model, postprocess=False).predict(array, (2.0, 1.0, 1.5)) == 2).all()


def test_a_plane_gives_a_plane(model: Path) -> None:
    predictor = autounet.Predictor.load(model.with_name("model_2d"))
    assert predictor.predict(np.random.default_rng(0).normal(size=(17, 13)), (1.0, 1.0)).shape == (17, 13)


def test_threads_do_not_disturb_each_other(model: Path) -> None:
    predictor = autounet.Predictor.load(model)
    arrays = [np.random.default_rng(seed).normal(size=(9 + seed, 10, 11)) for seed in range(6)]
    alone = [predictor.predict(array) for array in arrays]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for expected, found in zip(alone, pool.map(predictor.predict, arrays), strict=True):
                np.testing.assert_array_equal(found, expected)


def test_what_does_not_fit_is_told(model: Path, images: Path, tmp_path: Path) -> None:
    predictor = autounet.Predictor.load(model)
    with pytest.raises(RequestError, match="2 channels, but the model was planned for 1: c0"):
        predictor.predict(np.zeros((2, 9, 10, 11)), (1, 1, 1))
    with pytest.raises(RequestError, match="is not an image"):
        predictor.predict(np.zeros(5))
    with pytest.raises(RequestError, match="two of the inputs are called a"):
        predictor.predict_files([images / "a_0000.nii", images / "a_0000.nii"], tmp_path / "masks")
    with pytest.raises(RequestError, match="empty list"):
        predictor.predict_files([[]], tmp_path / "masks")
    (images / "b_0000.nii").write_bytes(b"no image")
    with pytest.raises(DataError, match="the other 1 cases were predicted") as error:
        predictor.predict_files([images / "b_0000.nii", images / "a_0000.nii"], tmp_path / "masks")
    assert [problem.case for problem in error.value.problems] == ["b"]
    assert (tmp_path / "masks" / "a.nii").exists()


def test_what_is_unlike_the_training_data_is_warned_of(model: Path, images: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    usual, odd = generator.normal(12, 4, size=(9, 12, 10)), generator.normal(0, 1, size=(9, 12, 10))
    predictor = autounet.Predictor(model, mirror=False)
    with pytest.warns(UnlikeInputWarning, match="the image is unlike the training data .*look z-scored") as told:
        label = predictor.predict(odd)
    assert [entry.filename for entry in told] == [__file__]
    with pytest.warns(UnlikeInputWarning) as told:
        predictor.predict_files(images, tmp_path / "masks")
    assert [str(entry.message)[:9] for entry in told] == ["a is unli"]  # b is brighter
    assert [entry.filename for entry in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor.predict(usual)
        quiet = autounet.Predictor(model, mirror=False, compare=False)
        np.testing.assert_array_equal(quiet.predict(odd), label)
        quiet.predict_files(images, tmp_path / "more")


def test_the_package_itself_stays_light(repository: Path) -> None:
    import subprocess

    code = "import sys, autounet; assert 'torch' not in sys.modules; autounet.Predictor; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository)
    with pytest.raises(AttributeError, match="no attribute 'Predict'"):
        autounet.Predict  # noqa: B018
