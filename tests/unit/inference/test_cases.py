"""Many cases: one that is broken is told and does not stop the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from autounet.data.dataset import RawCase, find_cases
from autounet.inference.cases import OutputOptions, predict_cases
from autounet.inference.predictor import Predictor
from autounet.models.folder import ModelRecord
from autounet.networks.base import SegmentationNetwork
from autounet.training.precision import Precision

MakeRecord = Callable[..., ModelRecord]
Build = Callable[[int], SegmentationNetwork]
CPU, FLOAT32 = torch.device("cpu"), Precision(torch.float32, "test")
AFFINE = np.array([[-2.0, 0, 0, 5], [0, 1.5, 0, -3], [0, 0, 3, 7], [0, 0, 0, 1]])


@pytest.fixture
def predictor(record: MakeRecord, threshold: Build) -> Predictor:
    model = record(spacing_mm=(3.0, 1.5, 2.0))
    return Predictor.of(model, (threshold(3),), device=CPU, precision=FLOAT32)


def write_cases(folder: Path) -> list[RawCase]:
    folder.mkdir()
    for index, name in enumerate(("first", "second", "third")):
        array = np.random.default_rng(index).random((6, 7, 8)).astype(np.float32)
        nib.save(nib.Nifti1Image(array, AFFINE), folder / f"{name}_0000.nii.gz")
    return list(find_cases(folder, ".nii.gz", 1))


def test_masks_lie_in_the_frame_of_their_images(tmp_path: Path, predictor: Predictor) -> None:
    cases = write_cases(tmp_path / "images")
    assert predict_cases([(predictor,)], cases, tmp_path / "masks") == []
    written = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert written == ["first.nii.gz", "second.nii.gz", "third.nii.gz"]
    image, mask = (nib.load(tmp_path / name) for name in ("images/first_0000.nii.gz", "masks/first.nii.gz"))
    np.testing.assert_allclose(mask.affine, AFFINE)
    assert np.array_equal(np.asarray(mask.dataobj), image.get_fdata() > 0.5)


@pytest.mark.parametrize("damage", ["truncated", "no image", "missing"])
def test_a_broken_case_is_told_and_the_others_are_written(tmp_path: Path, predictor: Predictor, damage: str) -> None:
    cases = write_cases(tmp_path / "images")
    path = tmp_path / "images" / "second_0000.nii.gz"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:300] if damage == "truncated" else b"not an image")
    (failure,) = predict_cases([(predictor,)], cases, tmp_path / "masks")
    problem = failure.problem
    assert failure.is_bad_input
    assert (problem.case, problem.file) == ("second", "second_0000.nii.gz")
    assert "second_0000.nii.gz" in problem.what
    assert problem.remedy
    written = sorted(entry.name for entry in (tmp_path / "masks").iterdir())
    assert written == ["first.nii.gz", "third.nii.gz"]


def test_a_case_that_does_not_fit_the_model_is_told(tmp_path: Path, predictor: Predictor) -> None:
    cases = write_cases(tmp_path / "images")
    paths = (cases[0].images[0], cases[1].images[0])
    two = RawCase(name="two", images=paths, label=None)
    (failure,) = predict_cases([(predictor,)], [two, cases[2]], tmp_path / "masks")
    assert failure.problem.case == "two"
    assert "2 channels" in failure.problem.what
    assert failure.is_bad_input
    assert [entry.name for entry in (tmp_path / "masks").iterdir()] == ["third.nii.gz"]


def test_a_first_stage_that_needs_too_much_is_not_begun(
    tmp_path: Path, predictor: Predictor, record: MakeRecord, threshold: Any
) -> None:
    """Of a cascade the larger stage counts, before either is run."""
    fine = threshold(3)
    first = Predictor.of(record(spacing_mm=(0.3, 0.15, 0.2)), (fine,), device=CPU, precision=FLOAT32)
    cases = write_cases(tmp_path / "images")[:1]
    options = OutputOptions(max_bytes=2**20)
    assert predict_cases([(predictor,)], cases, tmp_path / "one", options) == []
    (failure,) = predict_cases([(replace(predictor, first=first),)], cases, tmp_path / "two", options)
    assert "--max-ram-gib" in failure.problem.what
    assert fine.calls == []


def test_a_cascade_in_the_queue_is_that_by_hand(
    tmp_path: Path, predictor: Predictor, record: MakeRecord, threshold: Any
) -> None:
    """The mask of the first stage reaches the second as an input channel."""
    first = Predictor.of(record(spacing_mm=(3.0, 1.5, 2.0)), (threshold(3),), device=CPU, precision=FLOAT32)
    second = threshold(3)
    # Class 1 where the image exceeds one half and the first stage found nothing, which is nowhere.
    second.weight = torch.tensor([[0.0, 0.0], [1.0, -9.0]])
    model = record(spacing_mm=(3.0, 1.5, 2.0))
    configuration = model.configuration.model_copy(update={"previous_stage": "first"})
    cascade = replace(predictor, configuration=configuration, networks=(second,), first=first)
    cases = write_cases(tmp_path / "images")
    assert predict_cases([(cascade,)], cases, tmp_path / "masks") == []
    for case in cases:
        mask = np.asarray(nib.load(tmp_path / "masks" / f"{case.name}.nii.gz").dataobj)
        assert not mask.any()
    assert {shape[1] for shape in second.calls} == {2}
