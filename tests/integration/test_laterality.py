"""Left and right through the whole pipeline: planned, trained with the option, predicted alike."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from autounet import pipeline
from autounet.laterality import Laterality, LateralityMode
from autounet.models.folder import ModelRecord, record_path
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

DATASET = "Dataset012_Sides"
STEPS = TrainConfig.for_clock(1).model_copy(update={"max_seconds": None, "num_epochs": 1, "steps_per_epoch": 2})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Five cases with two equal balls; the array's second axis runs from right to left."""
    found = Workspace.at(tmp_path_factory.mktemp("sides"))
    raw = found.raw / DATASET
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True)
    # World x is minus voxel y, world y is voxel x.
    affine = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    for index in range(5):
        generator = np.random.default_rng(index)
        label = np.zeros((16, 24, 20), np.uint8)  # (z, y, x)
        label[5:10, 3:8, 6:12], label[5:10, 16:21, 6:12] = 2, 1
        image = 50.0 * (label > 0) + generator.normal(100, 10, label.shape)
        nib.save(nib.Nifti1Image(image.T.astype(np.float32), affine), raw / "imagesTr" / f"c{index}_0000.nii.gz")
        nib.save(nib.Nifti1Image(label.T, affine), raw / "labelsTr" / f"c{index}.nii.gz")
    description = {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, "ball_left": 1, "ball_right": 2},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    pipeline.plan_and_preprocess(found, "12", jobs=1)
    return found


def test_the_plan_knows_the_axis_and_the_pair(workspace: Workspace) -> None:
    planned = pipeline.existing_plan(workspace, "12")
    assert planned is not None
    axis = planned.plan.transpose_forward.index(1)
    assert planned.plan.laterality == Laterality(axis=axis, pairs=((1, 2),), confirmed=True)
    (decision,) = (entry for entry in planned.plan.decisions if entry.name == "laterality")
    assert decision.value == "a flip along y swaps ball_left and ball_right"


@pytest.mark.parametrize(("mode", "is_mirrored"), [("swap", True), ("no_flip", False), ("ignore", True)])
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_training_and_its_model_agree(
    workspace: Workspace, mode: LateralityMode, is_mirrored: bool, configuration: str
) -> None:
    config = STEPS.model_copy(update={"laterality": mode})
    trained = pipeline.train(workspace, "12", configuration, 0, config=config, device="cpu", overwrite=True)
    record = ModelRecord.read(record_path(trained.fold))
    assert record.plan.laterality is not None
    assert record.plan.laterality.axis is not None
    dims = record.configuration.num_spatial_dims
    axis = record.plan.laterality.axis - (3 - dims)
    assert record.config.laterality == mode
    expected = tuple(other for other in range(dims) if is_mirrored or other != axis)
    assert record.mirror_axes == expected
    assert record.mirroring.swap_axis == (axis if mode == "swap" and axis >= 0 else None)
