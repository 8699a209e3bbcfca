"""Real datasets, where they are at hand: beside the checkout in `shared/data`, or where AUTOUNET_TEST_DATA points."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.model_selection import KFold

from autounet.data.dataset import RawDataset, find_cases
from autounet.data.instances import touching
from autounet.data.io import read_image, read_label, write_label
from autounet.data.splits import make_splits
from autounet.fingerprint import take_fingerprint
from autounet.geometry import corner_displacement_mm
from autounet.inference.predictor import Predictor
from autounet.inference.trial import settle_on_first
from autounet.models.nnunet.importing import ImportRequest, import_model
from autounet.planners import PLANNERS
from autounet.plans import Plan
from autounet.preprocessing.case import prepare_case, restore_label
from autounet.training.precision import Precision

CPU = torch.device("cpu")
DATASETS = (
    "Dataset004_Hippocampus",
    "Dataset101_OpenKBPHeadNeckCT",
    "Dataset201_ISBI2012EM",
    "Dataset203_DSB2018Fluo",
)


@pytest.fixture(scope="module")
def data(repository: Path) -> Path:
    """The folder of the real datasets."""
    folder = Path(os.environ.get("AUTOUNET_TEST_DATA", repository.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real datasets are not here")
    return folder


def planned(dataset: RawDataset, num_cases: int | None = None) -> Plan:
    """The plan of a dataset, or of its first cases."""
    dataset = dataset.model_copy(update={"cases": dataset.cases[:num_cases]})
    return PLANNERS.find("nnunet")(take_fingerprint(dataset, jobs=1), dataset.description)


def test_the_plan_of_hippocampus_is_nnunets(data: Path) -> None:
    dataset = RawDataset.load(data / "Dataset004_Hippocampus")
    plan = planned(dataset)
    assert len(dataset.cases) == 220
    assert plan.median_shape == (36, 50, 35)
    # What nnU-Net 2.8.1 itself planned for these 220 cases.
    assert plan.configurations["3d_fullres"].patch_size == (40, 56, 40)
    assert plan.configurations["3d_fullres"].batch_size == 8
    assert plan.configurations["2d"].patch_size == (56, 40)
    assert plan.configurations["2d"].batch_size == 309


def test_the_folds_of_hippocampus_are_scikit_learns(data: Path) -> None:
    names = np.array([case.name for case in RawDataset.load(data / "Dataset004_Hippocampus").cases])
    expected = KFold(5, shuffle=True, random_state=12345).split(np.sort(names))
    for split, (_, validation) in zip(make_splits(names.tolist()), expected, strict=True):
        assert split.validation == tuple(np.sort(names)[validation])


@pytest.mark.parametrize("name", DATASETS)
def test_a_label_that_is_written_lies_where_its_image_lies(data: Path, name: str, tmp_path: Path) -> None:
    dataset = RawDataset.load(data / name)
    case = dataset.cases[0]
    assert case.label is not None
    image, (label, _) = read_image(case.images), read_label(case.label)
    path = tmp_path / f"written{dataset.description.file_ending}"
    write_label(path, label, image.geometry)
    again, geometry = read_label(path)
    np.testing.assert_array_equal(again, label)
    assert corner_displacement_mm(geometry, image.geometry, image.shape) < 1e-3


@pytest.mark.parametrize("name", DATASETS)
def test_preparing_and_restoring_a_label_keeps_its_shape_and_nearly_all_of_its_voxels(data: Path, name: str) -> None:
    dataset = RawDataset.load(data / name)
    plan = planned(dataset, 3)
    configuration = list(plan.configurations.values())[-1]
    case = dataset.cases[0]
    assert case.label is not None
    image, (label, _) = read_image(case.images), read_label(case.label)
    prepared = prepare_case(image, label, plan, configuration)
    assert prepared.label is not None
    assert prepared.image.shape[1:] == prepared.label.shape == prepared.properties.shape
    assert abs(float(prepared.image.mean())) < 5
    if prepared.properties.shape == prepared.properties.crop.shape:  # nothing was resampled
        np.testing.assert_array_equal(restore_label(prepared.label, prepared.properties, plan), label)


def test_nuclei_that_touch_are_kept_apart_by_a_border(data: Path) -> None:
    folder, block = data / "Dataset203_DSB2018Fluo", np.ones((3, 3))
    num_merged = 0

    def objects_in_each_part(place: npt.NDArray[np.bool_], instances: npt.NDArray[np.int32]) -> list[int]:
        parts, count = ndimage.label(place, block)
        return [len(np.unique(instances[parts == number])) for number in range(1, count + 1)]

    for path in sorted((folder / "instancesTr").glob("*.png"))[:12]:
        instances = np.asarray(Image.open(path)).astype(np.int32)
        label = np.asarray(Image.open(folder / "labelsTr" / path.name))
        num_merged += sum(count > 1 for count in objects_in_each_part(instances > 0, instances))
        # A border made by us, and the border class that the dataset has.
        assert set(objects_in_each_part((instances > 0) & ~touching(instances), instances)) == {1}
        assert set(objects_in_each_part(label == 1, instances)) == {1}
    assert num_merged > 20


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_model_that_nnunet_trained_gives_its_masks_in_either_format(
    data: Path, repository: Path, tmp_path: Path, name: str
) -> None:
    """Of each case 99.9 % of the voxels, in float32 and in bfloat16, which is tried on the first case."""
    source = repository.parent / "shared" / "models" / "nnunet_hippocampus"
    if not source.is_dir():
        pytest.skip("the model of nnU-Net's is not here")
    if name == "bfloat16" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        pytest.skip("without AVX-512 a convolution in bfloat16 takes sixty times as long, and the test hours")
    import_model(ImportRequest(source), tmp_path / "model")
    cases = find_cases(data / "Dataset004_Hippocampus" / "imagesTs", ".nii.gz", 1)[::13]
    told: list[str] = []
    dtype = getattr(torch, name)
    predictor = Predictor.load(tmp_path / "model", device=CPU, precision=Precision(dtype, "for the test"))
    if name == "bfloat16":
        assert predictor.window.precision.dtype == torch.float32, "until it was tried"
        (predictor,) = settle_on_first([predictor], cases, told.append)
        assert told and told[0].startswith("bfloat16: for the test")
    assert predictor.window.precision.dtype == dtype
    for case in cases:
        expected, _ = read_label(source / "predictions" / f"{case.name}.nii.gz")
        found = predictor.predict(read_image(case.images))
        assert np.mean(found == expected) > 0.999, case.name
