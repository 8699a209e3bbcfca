"""Trained models of nnU-Net's, imported: logits and masks are what nnU-Net 2.8.1 gave (`nnunet_models/make.py`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autounet.data.dataset import find_cases
from autounet.data.io import Image, label_ending, read_image, read_label
from autounet.geometry import Geometry
from autounet.inference.predictor import Predictor
from autounet.models.folder import PREVIOUS_STAGE, fold_folder, load_network, trained_folds
from autounet.models.nnunet.importing import ImportRequest, import_model
from autounet.networks.layout import set_fast_layout

MODELS = Path(__file__).parent / "nnunet_models"
CPU = torch.device("cpu")
SECOND_STAGE = "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
WHOLE = ("anisotropic_ct", "colour_2d", "old_plan_2d", "order_z", "reoriented", "residual_regions")
CASCADES = ("cascade", "cascade_regions")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model, in a folder of its name."""
    folder = tmp_path_factory.mktemp("imported")
    for name in WHOLE:
        import_model(ImportRequest(MODELS / name / "model"), folder / name)
    for name in CASCADES:
        import_model(ImportRequest(MODELS / name / SECOND_STAGE), folder / name)
    return folder


@pytest.mark.parametrize("as_predicted", [False, True], ids=["contiguous", "as predicted"])
@pytest.mark.parametrize("name", [*WHOLE, *CASCADES])
def test_the_logits_of_a_patch_are_nnunets(name: str, as_predicted: bool, imported: Path) -> None:
    golden = np.load(MODELS / name / "logits.npz")
    record = next(iter(trained_folds(imported / name).values()))
    network = load_network(fold_folder(imported / name, record.fold), record, CPU)
    if as_predicted:
        set_fast_layout(network, CPU, torch.float32)
    with torch.inference_mode():
        found = network(torch.from_numpy(golden["patch"]))[0].numpy()
    assert np.abs(golden["logits"]).max() > 1
    np.testing.assert_allclose(found, golden["logits"], atol=1e-4)


@pytest.mark.parametrize("name", WHOLE)
def test_the_mask_of_an_image_is_nnunets(name: str, imported: Path) -> None:
    predictor = Predictor.load(imported / name, device=CPU)
    plan = predictor.plan
    (case,) = find_cases(MODELS / name / "images", plan.file_ending, len(plan.channels))
    expected, _ = read_label(MODELS / name / "masks" / f"case{label_ending(plan.file_ending)}")
    found = predictor.predict(read_image(case.images, len(plan.channels)))
    assert found.shape == expected.shape
    assert len(np.unique(expected)) > 2
    # Weights are random, so many voxels are nearly a draw; where a tile ends, nnU-Net adds up in half precision of few
    # digits, and its corners differ.
    assert np.mean(found == expected) > 0.995


def test_both_stages_of_a_cascade_are_imported(imported: Path) -> None:
    (second,) = trained_folds(imported / "cascade").values()
    (first,) = trained_folds(imported / "cascade" / PREVIOUS_STAGE).values()
    assert second.configuration.previous_stage == first.configuration.name == "3d_lowres"
    assert second.plan.num_inputs(second.configuration) == 3
    assert second.plan.labels.class_names == ("a", "b"), "by value: the order of the inputs"


def test_a_cascade_of_regions_is_told_of_labels(imported: Path) -> None:
    """nnU-Net's second stage has a channel for each foreground label, ascending, however many regions unite them."""
    (second,) = trained_folds(imported / "cascade_regions").values()
    labels = second.plan.labels
    assert labels.has_regions
    assert labels.foreground_values == (1, 2, 3)
    assert second.plan.num_inputs(second.configuration) == 1 + 3
    image = np.random.default_rng(0).normal(100, 20, (1, 10, 14, 12)).astype(np.float32)
    found = Predictor.load(imported / "cascade_regions", device=CPU).predict(
        Image(image, Geometry.from_spacing((1.0, 1.0, 1.0)))
    )
    assert found.shape == (10, 14, 12)
    assert set(np.unique(found)) <= {0, 1, 2, 3}
