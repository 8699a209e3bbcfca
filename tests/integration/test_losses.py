"""Every loss trains from the command line: with regions and the ignore label, with labels and partial annotation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from autounet import pipeline
from autounet.errors import RequestError
from autounet.losses import LOSSES
from autounet.models.folder import ModelRecord
from autounet.planners.request import PlanRequest
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

NUM_CASES, SIZE = 5, 32
STEPS = TrainConfig(num_epochs=1, steps_per_epoch=3, precision="float32", augmentation="light", loss="dice_ce")
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, "regions_class_order": [1, 2]}
LABELS = {"labels": {"background": 0, "a": 1, "b": 2}, "annotated": {"case0": ["a"], "case1": ["a"]}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Dataset 1 with regions and the ignore label, dataset 2 with labels, of which two cases lack one."""
    workspace = Workspace.at(tmp_path_factory.mktemp("workspace"))
    for number, description in ((1, REGIONS), (2, LABELS)):
        folder = workspace.raw / f"Dataset00{number}_Squares"
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True)
        for index in range(NUM_CASES):
            generator = np.random.default_rng(index)
            label = np.zeros((SIZE, SIZE), np.uint8)
            label[6:16, 6:16] = label[6:16, 19:29] = 1
            if number == 1 or index > 1:
                label[9:13, 9:13] = label[22:26, 8:20] = 2
            image = 90 + 50 * label + generator.normal(0, 8, label.shape)
            if number == 1:
                label[:3] = 3
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "imagesTr" / f"case{index}_0000.png")
            Image.fromarray(label).save(folder / "labelsTr" / f"case{index}.png")
        content = {"channel_names": {"0": "grey"}, "file_ending": ".png", **description}
        (folder / "dataset.json").write_text(json.dumps(content))
        request = PlanRequest(features=8, batch_size=2, patch_size=(SIZE, SIZE), num_stages=2)
        pipeline.plan_and_preprocess(workspace, str(number), configurations=["2d"], jobs=1, request=request)
    return workspace


@pytest.mark.parametrize("dataset", ["1", "2"], ids=["regions, ignore", "labels, partial"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_loss_trains(workspace: Workspace, dataset: str, loss: str) -> None:
    config = STEPS.model_copy(update={"loss": loss})
    trained = pipeline.train(workspace, dataset, "2d", 0, config=config, device="cpu", overwrite=True)
    rows = (trained.fold / "training_log.csv").read_text().splitlines()
    value = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))["loss"]
    assert np.isfinite(float(value))
    assert float(value) > 0


def test_hyperparameters_are_kept_with_the_model(workspace: Workspace) -> None:
    config = STEPS.model_copy(update={"loss": "tversky,alpha=0.2,beta=0.8"})
    trained = pipeline.train(workspace, "1", "2d", 0, config=config, device="cpu", overwrite=True)
    assert ModelRecord.read(trained.fold / "model.json").config == config


def test_a_loss_that_does_not_fit_is_refused_before_anything_starts(workspace: Workspace) -> None:
    config = STEPS.model_copy(update={"loss": "cross_entropy,class_weights=1/2/3"})
    with pytest.raises(RequestError, match="for each of the 2 classes"):
        pipeline.train(workspace, "1", "2d", 0, config=config, device="cpu", overwrite=True)
