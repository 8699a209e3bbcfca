"""The stored test of a model tells a network that computes the same from one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from autounet.errors import RequestError
from autounet.models.folder import load_network, trained_folds
from autounet.models.selftest import run_self_test
from autounet.training.checkpoint import load_tensors, save_tensors

CPU = torch.device("cpu")


def test_the_network_itself_agrees(model: Path) -> None:
    record = trained_folds(model)["0"]
    assert record.self_test is not None
    network = load_network(model / "fold_0", record, CPU)
    result = run_self_test(model / "fold_0", record.self_test, network, record.plan.labels)
    assert result.agrees
    assert result.same_label
    assert result.deviation < 1e-4
    assert result.sentence.startswith("agrees: logits differ by")


@pytest.mark.parametrize("change", [0.5, float("nan")])
def test_another_weight_deviates(model: Path, change: float) -> None:
    record = trained_folds(model)["0"]
    assert record.self_test is not None
    network = load_network(model / "fold_0", record, CPU)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += change
    result = run_self_test(model / "fold_0", record.self_test, network, record.plan.labels)
    assert not result.agrees
    assert result.sentence.startswith("DEVIATES")


def test_it_has_several_voxels_at_every_resolution_and_fits_the_patch(model: Path) -> None:
    tensors, _ = load_tensors(model / "fold_0" / "selftest.safetensors")
    assert tensors["image"].shape == (1, 8, 8, 8)
    assert tensors["image"].std() > 0.5


def test_a_test_that_is_none_is_told(model: Path) -> None:
    record = trained_folds(model)["0"]
    assert record.self_test is not None
    network = load_network(model / "fold_0", record, CPU)
    path = model / "fold_0" / "selftest.safetensors"
    tensors, _ = load_tensors(path)
    save_tensors(path, {**tensors, "logits": torch.zeros(2, 3)}, {})
    with pytest.raises(RequestError, match="that of another network"):
        run_self_test(model / "fold_0", record.self_test, network, record.plan.labels)
    save_tensors(path, {"image": tensors["image"]}, {})
    with pytest.raises(RequestError, match="not an image and logits"):
        run_self_test(model / "fold_0", record.self_test, network, record.plan.labels)
