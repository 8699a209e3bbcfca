"""Models that were trained elsewhere predict in half precision only where their masks bear it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from autounet.data.dataset import RawCase
from autounet.data.io import Image
from autounet.errors import RequestError
from autounet.geometry import Geometry
from autounet.inference.predictor import Predictor, prediction_precision
from autounet.inference.trial import MOST_CHANGED, settle_on_first, settled
from autounet.models.folder import ModelRecord, Origin, build_network, fold_folder, save_weights, seal_fold
from autounet.networks.base import SegmentationNetwork
from autounet.training.config import TrainConfig
from autounet.training.precision import Precision

CPU = torch.device("cpu")
FLOAT32 = Precision(torch.float32, "test")
BFLOAT16 = Precision(torch.bfloat16, "fast here")
MakeRecord = Callable[..., ModelRecord]
Build = Callable[[int], SegmentationNetwork]
ORIGIN = Origin(program="nnU-Net v2", trainer="nnUNetTrainer", checkpoint="checkpoint_final.pth", num_epochs=1)


class Threshold(SegmentationNetwork):
    """Class 1 where the image exceeds one half, by a convolution, which autocast computes in half precision."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.num_spatial_dims, self.divisor, self.halo = dims, (1,) * dims, (0,) * dims
        self.output_strides, self.deep_supervision = ((1,) * dims,), False

    def forward(self, x: Tensor) -> list[Tensor]:
        convolve = {4: F.conv2d, 5: F.conv3d}[x.ndim]
        kernel = torch.tensor([0.0, 1.0]).view(2, *(1,) * (x.ndim - 1))
        return [convolve(x, kernel, torch.tensor([0.5, 0.0]))]


@pytest.fixture
def threshold() -> Build:
    return Threshold


@pytest.fixture
def told() -> list[str]:
    return []


def image_of(array: np.ndarray) -> Image:
    return Image(array[None].astype(np.float32), Geometry.from_spacing((1, 1, 1)))


def halves(low: float, high: float, size: int = 16) -> Image:
    """A volume whose one half has another value."""
    array = np.full((size, size, size), low)
    array[:, :, size // 2 :] = high
    return image_of(array)


def untried(record: ModelRecord, network: SegmentationNetwork) -> Predictor:
    return replace(Predictor.of(record, (network,), device=CPU, precision=FLOAT32), untried=BFLOAT16)


def test_a_mask_that_stays_the_same_allows_the_faster_format(
    record: MakeRecord, threshold: Build, told: list[str]
) -> None:
    found = settled(untried(record(), threshold(3)), halves(0.1, 0.9), "case_1", told.append)
    assert (found.window.precision, found.untried) == (BFLOAT16, None)
    assert told == [
        "bfloat16: fast here; in bfloat16 0.000% of the voxels in the middle of case_1 change their label, at most "
        "0.05% may (--precision float32 for none)"
    ]


def test_a_mask_that_changes_keeps_float32(record: MakeRecord, threshold: Build, told: list[str]) -> None:
    """0.501 lies above the threshold of one half, but rounds to it in the eight digits of bfloat16."""
    found = settled(untried(record(), threshold(3)), halves(0.1, 0.501), "case_1", told.append)
    assert (found.window.precision, found.untried) == (FLOAT32, None)
    assert told == [
        "float32: in bfloat16 50.000% of the voxels in the middle of case_1 change their label, more than 0.05%"
    ]


@pytest.mark.parametrize(("num_voxels", "allowed"), [(2, True), (3, False)])
def test_few_voxels_may_change(
    num_voxels: int, allowed: bool, record: MakeRecord, threshold: Build, told: list[str]
) -> None:
    image = halves(0.1, 0.9)
    assert num_voxels / image.array.size <= MOST_CHANGED or not allowed
    image.array[0, 8, 8, 4 : 4 + num_voxels] = 0.501
    model = untried(record(patch=(16, 16, 16)), threshold(3))
    assert (settled(model, image, "case_1", told.append).window.precision == BFLOAT16) == allowed


def test_a_middle_of_one_class_tells_nothing(record: MakeRecord, threshold: Build, told: list[str]) -> None:
    found = settled(untried(record(), threshold(3)), halves(0.1, 0.2), "case_1", told.append)
    assert (found.window.precision, found.untried) == (FLOAT32, None)
    assert "shows one class alone" in told[0]


def test_a_2d_network_is_tried_on_many_slices(record: MakeRecord, threshold: Build, told: list[str]) -> None:
    """One slice has 256 voxels, in which no share of .05 % could be seen."""
    image = halves(0.1, 0.9)
    image.array[0, 2] = 0.501  # far from the middle slice
    found = settled(untried(record(patch=(16, 16)), threshold(2)), image, "case_1", told.append)
    assert found.window.precision == FLOAT32
    assert "6.250%" in told[0]


def test_the_first_stage_is_tried_too(record: MakeRecord, threshold: Build, told: list[str]) -> None:
    first = untried(record(), threshold(3))
    second = replace(Predictor.of(record(), (threshold(3),), device=CPU, precision=FLOAT32), first=first)
    found = settled(second, halves(0.1, 0.9), "case_1", told.append)
    assert found.first is not None
    assert (found.first.window.precision, found.window.precision) == (BFLOAT16, FLOAT32)


def test_a_case_that_cannot_be_read_is_passed_over(
    record: MakeRecord, threshold: Build, tmp_path: Path, told: list[str]
) -> None:
    broken, whole = tmp_path / "a_0000.nii.gz", tmp_path / "b_0000.nii.gz"
    broken.write_bytes(b"no image")
    nib.save(nib.Nifti1Image(halves(0.1, 0.9).array[0].T, np.eye(4)), whole)
    cases = [RawCase(name=path.name[0], images=(path,)) for path in (broken, whole)]
    model = untried(record(), threshold(3))
    (found,) = settle_on_first([model], cases, told.append)
    assert found.window.precision == BFLOAT16
    assert "the middle of b " in told[0]
    assert settle_on_first([model], cases[:1], told.append) == (model,)


def stored(folder: Path, record: ModelRecord) -> Path:
    """A model folder of one fold."""
    network = build_network(record)
    fold = fold_folder(folder, record.fold)
    save_weights(fold, network.state_dict())
    seal_fold(fold, record.model_copy(update={"finished": True}))
    return folder


@pytest.mark.parametrize(
    ("origin", "trained_in", "wanted", "begun", "to_try"),
    [
        (None, "auto", BFLOAT16, BFLOAT16.dtype, None),
        (None, "float32", BFLOAT16, torch.float32, None),
        (ORIGIN, "auto", BFLOAT16, torch.float32, BFLOAT16),
        (ORIGIN, "float32", BFLOAT16, torch.float32, BFLOAT16),  # as imported by earlier versions
        (ORIGIN, "auto", FLOAT32, torch.float32, None),
        (ORIGIN, "auto", replace(BFLOAT16, is_asked=True), BFLOAT16.dtype, None),
        (None, "float32", replace(BFLOAT16, is_asked=True), BFLOAT16.dtype, None),
    ],
)
def test_what_a_model_begins_in(
    origin: Origin | None,
    trained_in: str,
    wanted: Precision,
    begun: torch.dtype,
    to_try: Precision | None,
    record: MakeRecord,
    tmp_path: Path,
) -> None:
    config = TrainConfig.model_validate({"precision": trained_in})
    model = stored(tmp_path / "model", record().model_copy(update={"origin": origin, "config": config}))
    found = Predictor.load(model, device=CPU, precision=wanted)
    assert (found.window.precision.dtype, found.untried) == (begun, to_try)


def test_a_format_by_name_is_asked_for() -> None:
    assert prediction_precision(CPU, "bfloat16") == Precision(torch.bfloat16, "asked for", is_asked=True)


def test_an_image_that_does_not_fit_is_refused(record: MakeRecord, threshold: Build, told: list[str]) -> None:
    image = halves(0.1, 0.9)
    image.array[0, 0, 0, 0] = np.nan
    with pytest.raises(RequestError, match="NaN"):
        settled(untried(record(), threshold(3)), image, "case_1", told.append)
