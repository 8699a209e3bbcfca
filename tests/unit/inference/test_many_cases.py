"""Folders of images through the pipeline: devices, several models, probabilities, what goes wrong and what is kept."""

from __future__ import annotations

import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from autounet import pipeline
from autounet.cli.arguments import spread
from autounet.data.dataset import find_cases
from autounet.data.io import read_image
from autounet.errors import AutounetError, DataError, RequestError, WorkError
from autounet.inference.cases import OutputOptions, _Run
from autounet.inference.predictor import Predictor
from autounet.inference.probabilities import StoredProbabilities, stored_cases
from autounet.labels import LabelClass, LabelSchema
from autounet.models.folder import ModelRecord, build_network, fold_folder, save_weights, seal_fold
from autounet.training.precision import Precision
from autounet.workspace import Workspace

MakeRecord = Callable[..., ModelRecord]
Predict = Callable[..., pipeline.Predicted]
TWO = LabelSchema(classes=tuple(LabelClass(name=name, values=(value,)) for value, name in ((3, "a"), (7, "b"))))
AFFINE = np.array([[-1.5, 0, 0, 5], [0, 1.5, 0, -3], [0, 0, 2, 7], [0, 0, 0, 1]])


def save_model(folder: Path, record: ModelRecord, num_folds: int = 1) -> Path:
    for fold in range(num_folds):
        torch.manual_seed(fold)
        target = fold_folder(folder, fold)
        save_weights(target, dict(build_network(record).state_dict()))
        seal_fold(target, record.model_copy(update={"fold": fold, "finished": True}))
    return folder


def write_image(folder: Path, name: str, shape: tuple[int, int, int] = (12, 8, 10)) -> None:
    folder.mkdir(exist_ok=True)
    array = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
    nib.save(nib.Nifti1Image(array, AFFINE), folder / f"{name}_0000.nii")


@pytest.fixture(autouse=True)
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing number formats would take longer than the predictions."""
    monkeypatch.setattr("autounet.training.precision._probe_cpu", lambda: Precision(torch.float32, "test"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a", "bb", "ccc"):
        write_image(tmp_path / "images", name)
    return tmp_path / "images"


@pytest.fixture
def model(tmp_path: Path, record: MakeRecord) -> Path:
    return save_model(tmp_path / "model3d", record((8, 8, 8), labels=TWO, file_ending=".nii", mirror_axes=(0,)), 2)


@pytest.fixture
def model2d(tmp_path: Path, record: MakeRecord) -> Path:
    return save_model(tmp_path / "model2d", record((8, 8), labels=TWO, file_ending=".nii"))


@pytest.fixture
def predict(tmp_path: Path, images: Path, model: Path) -> Predict:
    """`predict(output, **options)` of the three images by the 3D model."""

    def run(output: Path, **options: object) -> pipeline.Predicted:
        chosen: dict[str, object] = {"model": model, "device": "cpu", **options}
        return pipeline.predict(Workspace.at(tmp_path), images, output, **chosen)  # type: ignore[arg-type]

    return run


def masks(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.asarray(nib.load(path).dataobj) for path in sorted(folder.glob("*.nii"))}


def test_two_devices_share_the_cases_and_give_what_one_gives(tmp_path: Path, predict: Predict) -> None:
    before = torch.get_num_threads()
    one = predict(tmp_path / "one")
    two = predict(tmp_path / "two", devices=["cpu", "cpu"])
    assert one.written == two.written == ("a", "bb", "ccc")
    first, second = masks(tmp_path / "one"), masks(tmp_path / "two")
    assert list(first) == list(second) == ["a", "bb", "ccc"]
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert {3, 7} & set(np.unique(first["a"]).tolist())
    assert torch.get_num_threads() == before


def test_a_cpu_works_on_several_cases_at_once_and_gives_what_one_after_the_other_gives(
    tmp_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_reading = threading.Barrier(3, timeout=20)  # broken, and the case failed, unless three read at once

    def read(*arguments: Any) -> Any:
        all_reading.wait()
        return read_image(*arguments)

    monkeypatch.setattr("autounet.inference.cases.available_cpus", lambda: 1)
    predict(tmp_path / "1")
    monkeypatch.setattr("autounet.inference.cases.available_cpus", lambda: 3)
    monkeypatch.setattr("autounet.inference.cases.read_image", read)
    predict(tmp_path / "3")
    one, three = masks(tmp_path / "1"), masks(tmp_path / "3")
    assert list(one) == list(three) == ["a", "bb", "ccc"]
    assert all(np.array_equal(one[name], three[name]) for name in one)


def test_reading_ahead_and_writing_behind_change_nothing(
    tmp_path: Path, predict: Predict, images: Path, model: Path
) -> None:
    """What runs beside a GPU, here beside a CPU: one thread reads the next case, another writes the one before."""
    predict(tmp_path / "plain", probabilities="b2nd")
    lane = (Predictor.load(model, device=torch.device("cpu")),)
    cases = find_cases(images, ".nii", 1)
    output = tmp_path / "threads"
    output.mkdir()
    run = _Run(cases, output, OutputOptions(probabilities="b2nd"), 1)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        run._work(lane, reader, writer)
    expected, found = masks(tmp_path / "plain"), masks(output)
    assert list(found) == list(expected) == ["a", "bb", "ccc"]
    for name, mask in expected.items():
        assert np.array_equal(mask, found[name])
        one, two = (StoredProbabilities(stored_cases(folder)[name]) for folder in (tmp_path / "plain", output))
        assert one.record == two.record
        assert np.array_equal(one.slab(0, 10), two.slab(0, 10))


def test_a_second_run_does_what_is_missing(tmp_path: Path, predict: Predict) -> None:
    output = tmp_path / "masks"
    predict(output)
    kept = (output / "a.nii").stat().st_mtime_ns
    (output / "bb.nii").unlink()
    again = predict(output)
    assert (again.written, again.skipped) == (("bb",), ("a", "ccc"))
    assert (output / "a.nii").stat().st_mtime_ns == kept
    # With probabilities, masks alone are not all that was asked for.
    assert predict(output, probabilities="b2nd").written == ("a", "bb", "ccc")
    assert predict(output, probabilities="b2nd").written == ()


def test_probabilities_are_those_of_the_mask(tmp_path: Path, predict: Predict) -> None:
    predict(tmp_path / "plain")
    predict(tmp_path / "arrays", probabilities="b2nd")
    predict(tmp_path / "niftis", probabilities="nifti")
    plain = masks(tmp_path / "plain")
    for name, mask in masks(tmp_path / "arrays").items():
        assert np.array_equal(mask, plain[name])
        stored = StoredProbabilities(stored_cases(tmp_path / "arrays")[name])
        values = stored.slab(0, 10)
        assert values.shape == (3, 10, 8, 12)
        np.testing.assert_allclose(values.sum(axis=0), 1, atol=1e-4)
        clear = np.sort(values, axis=0)[-1] - np.sort(values, axis=0)[-2] > 1e-4
        assert np.array_equal(np.array([0, 3, 7])[values.argmax(axis=0)][clear], mask.T[clear])
        np.testing.assert_allclose(stored.record.geometry.matrix, AFFINE)
        nifti = nib.load(tmp_path / "niftis" / f"{name}_probabilities.nii.gz")
        assert nifti.get_data_dtype() == np.uint8
        np.testing.assert_allclose(nifti.affine, AFFINE)
        np.testing.assert_allclose(nifti.get_fdata().T, values, atol=0.5 / 255 + 1e-4)


def test_several_models_are_averaged_as_the_ensemble_of_their_probabilities_is(
    tmp_path: Path, predict: Predict, model: Path, model2d: Path
) -> None:
    predict(tmp_path / "both", model=[model, model2d])
    predict(tmp_path / "one", probabilities="b2nd")
    predict(tmp_path / "two", model=model2d, probabilities="b2nd")
    averaged = pipeline.ensemble([tmp_path / "one", tmp_path / "two"], tmp_path / "mean", save_probabilities=True)
    assert averaged.written == ("a", "bb", "ccc")
    both, mean, one = (masks(tmp_path / name) for name in ("both", "mean", "one"))
    for name, mask in both.items():
        assert (mask == mean[name]).mean() > 0.998  # draws to 16 bits
        assert (mask != one[name]).mean() > 0.05
    again = pipeline.ensemble([tmp_path / "one", tmp_path / "two"], tmp_path / "mean", save_probabilities=True)
    assert (again.written, again.skipped) == ((), ("a", "bb", "ccc"))
    slab = StoredProbabilities(stored_cases(tmp_path / "mean")["a"]).slab(2, 5)
    members = [StoredProbabilities(stored_cases(tmp_path / name)["a"]).slab(2, 5) for name in ("one", "two")]
    np.testing.assert_allclose(slab, (members[0] + members[1]) / 2, atol=2e-5)


def test_niftis_of_probabilities_are_averaged_too(tmp_path: Path, predict: Predict, model: Path, model2d: Path) -> None:
    """To a 255th; a folder of one format and one of the other as well, and what is saved of them is fine again."""
    for form in ("b2nd", "nifti"):
        predict(tmp_path / f"one_{form}", probabilities=form)
        predict(tmp_path / f"two_{form}", model=model2d, probabilities=form)
    fine = [tmp_path / "one_b2nd", tmp_path / "two_b2nd"]
    pipeline.ensemble(fine, tmp_path / "fine", save_probabilities=True)
    for name, folders in {
        "niftis": [tmp_path / "one_nifti", tmp_path / "two_nifti"],
        "mixed": [tmp_path / "one_nifti", tmp_path / "two_b2nd"],
    }.items():
        averaged = pipeline.ensemble(folders, tmp_path / name, save_probabilities=True)
        assert averaged.written == ("a", "bb", "ccc")
        expected, found = (StoredProbabilities(stored_cases(tmp_path / of)["bb"]) for of in ("fine", name))
        assert found.record == expected.record
        np.testing.assert_allclose(found.slab(1, 7), expected.slab(1, 7), atol=0.5 / 255 + 1e-4)
        for case, mask in masks(tmp_path / "fine").items():
            assert (mask == masks(tmp_path / name)[case]).mean() > 0.95  # draws to 8 bits


def test_a_damaged_nifti_of_probabilities_is_told(tmp_path: Path, predict: Predict) -> None:
    predict(tmp_path / "one", probabilities="nifti")
    cut, other = (tmp_path / "one" / f"{name}_probabilities.nii.gz" for name in ("a", "bb"))
    cut.write_bytes(cut.read_bytes()[:-200])
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), dtype=np.uint8), AFFINE), other)
    with pytest.raises(AutounetError) as caught:
        pipeline.ensemble([tmp_path / "one"], tmp_path / "mean")
    assert "a_probabilities.nii.gz cannot be read" in str(caught.value)
    assert "bb_probabilities.nii.gz cannot be read (it holds uint8 on 3 axes" in str(caught.value)
    assert sorted(masks(tmp_path / "mean")) == ["ccc"]


def test_an_ensemble_of_what_does_not_belong_together_is_refused(
    tmp_path: Path, predict: Predict, record: MakeRecord, images: Path
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(RequestError, match=r"no probabilities lie in .*none"):
        pipeline.ensemble([tmp_path / "none"], tmp_path / "mean")
    predict(tmp_path / "one", probabilities="b2nd")
    other = save_model(tmp_path / "other", record((8, 8, 8), file_ending=".nii"))
    with pytest.raises(RequestError, match="other has another labels than"):
        predict(tmp_path / "x", model=[tmp_path / "model3d", other])
    (images / "a_0000.nii").unlink()
    predict(tmp_path / "two", model=other, probabilities="b2nd")
    with pytest.raises(DataError, match=r"a: .*two: its probabilities are missing"):
        pipeline.ensemble([tmp_path / "one", tmp_path / "two"], tmp_path / "mean")
    write_image(images, "a")
    predict(tmp_path / "two", model=other, probabilities="b2nd")
    with pytest.raises(AutounetError, match="another labels"):
        pipeline.ensemble([tmp_path / "one", tmp_path / "two"], tmp_path / "mean")
    assert not list((tmp_path / "mean").glob("*.nii"))


def test_a_damaged_array_of_probabilities_is_told(tmp_path: Path, predict: Predict) -> None:
    predict(tmp_path / "one", probabilities="b2nd")
    path = tmp_path / "one" / "bb_probabilities.b2nd"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AutounetError, match=r"bb_probabilities.b2nd cannot be read") as caught:
        pipeline.ensemble([tmp_path / "one"], tmp_path / "mean")
    assert caught.value.exit_code == 2
    assert sorted(masks(tmp_path / "mean")) == ["a", "ccc"]


def test_a_case_that_needs_more_memory_than_given_is_told_before_it_begins(tmp_path: Path, predict: Predict) -> None:
    with pytest.raises(
        WorkError, match=r"needs about .* GiB of memory, more than the 0.00 GiB .*--accumulate"
    ) as caught:
        predict(tmp_path / "masks", max_ram_gib=0.0001)
    assert caught.value.exit_code == 1
    assert len(caught.value.problems) == 3


def test_bad_input_is_told_and_all_other_cases_are_kept(tmp_path: Path, predict: Predict, images: Path) -> None:
    array = np.zeros((4, 5, 6, 2), dtype=np.float32)
    nib.save(nib.Nifti1Image(array, AFFINE), images / "bb_0000.nii")
    with pytest.raises(DataError, match=r"bb_0000.nii: the image has 2 channels.*planned for 1") as caught:
        predict(tmp_path / "masks")
    assert caught.value.exit_code == 2
    assert sorted(masks(tmp_path / "masks")) == ["a", "ccc"]
    assert "2 of 3 cases were predicted" in str(caught.value)


@pytest.mark.parametrize("wish", [{"overlap": 1.0}, {"overlap": -0.1}])
def test_an_overlap_that_makes_no_sense_is_refused(tmp_path: Path, predict: Predict, wish: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="--overlap"):
        predict(tmp_path / "masks", **wish)


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path, predict: Predict) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"file/masks cannot be written to \(.*\). Choose another with -o"):
        predict(tmp_path / "file" / "masks")


def test_a_result_that_cannot_be_written_does_not_stop_the_others(
    tmp_path: Path, predict: Predict, images: Path
) -> None:
    write_image(images, "bb", (60, 40, 20))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(WorkError, match=r"bb: .*masks: the result cannot be written .*limits on file") as caught:
            predict(tmp_path / "masks", overlap=0, mirror=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.exit_code == 1
    written = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert written == ["a.nii", "ccc.nii", "dataset.json", "predictions.json"]
    assert predict(tmp_path / "masks", overlap=0, mirror=False).written == ("bb",)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for one mask."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("probabilities", [None, "b2nd", "nifti"])
def test_a_full_disk_ends_the_run_and_keeps_what_is_done(
    small_disk: Path, predict: Predict, images: Path, probabilities: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autounet.inference.cases.available_cpus", lambda: 1)  # one case after the other
    for name in ("bb", "ccc"):
        write_image(images, name, (60, 40, 40))
    with pytest.raises(WorkError, match=r"bb: .*the disk of .*disk is full -> make room there") as caught:
        predict(small_disk, probabilities=probabilities, overlap=0, mirror=False)
    assert [problem.case for problem in caught.value.problems] == ["bb"]  # the next one is not tried
    names = {path.name for path in small_disk.iterdir()}
    extra = {
        None: set(),
        "b2nd": {"a_probabilities.b2nd", "a_probabilities.json"},
        "nifti": {"a_probabilities.nii.gz", "a_probabilities.json"},
    }
    # Whether the few lines on the run find room is chance.
    assert names - {"predictions.json"} == {"a.nii", "dataset.json"} | extra[probabilities]
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    assert predict(small_disk, probabilities=probabilities, overlap=0, mirror=False).written == ("bb", "ccc")


def test_lists_on_the_command_line() -> None:
    assert spread(["predict", "-c", "2d", "3d_fullres"]) == ["predict", "-c", "2d", "-c", "3d_fullres"]
    assert spread(["ensemble", "-i", "A", "B", "-o", "C"]) == ["ensemble", "-i", "A", "-i", "B", "-o", "C"]
