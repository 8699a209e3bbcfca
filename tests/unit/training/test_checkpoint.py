"""Checkpoints come back as they went, whole or not at all, and without pickle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from autounet.errors import RequestError
from autounet.training.checkpoint import (
    flatten_optimizer,
    load_tensors,
    prefixed,
    restore_optimizer,
    save_tensors,
    without_prefix,
)
from autounet.training.config import OptimizerName, TrainConfig
from autounet.training.optimizers import make_optimizer


def steps(network: nn.Module, optimizer: torch.optim.Optimizer, num: int, start: int = 0) -> None:
    for index in range(start, start + num):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(index))
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_optimiser_goes_on_as_if_it_had_not_been_stored(
    name: OptimizerName, momentum: float, tmp_path: Path
) -> None:
    config = TrainConfig(optimizer=name, learning_rate=0.1, momentum=momentum)
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    optimizer = make_optimizer(network, config)
    steps(network, optimizer, 3)
    tensors = {**prefixed("network", network.state_dict()), **prefixed("optimizer", flatten_optimizer(optimizer))}
    save_tensors(tmp_path / "state.safetensors", tensors, {})
    other = nn.Linear(3, 2)
    other.load_state_dict(network.state_dict())
    restored = make_optimizer(other, config)
    restore_optimizer(restored, without_prefix("optimizer", load_tensors(tmp_path / "state.safetensors")[0]))
    steps(network, optimizer, 3, start=3)
    steps(other, restored, 3, start=3)
    assert torch.equal(network.weight, other.weight)
    assert torch.equal(network.bias, other.bias)


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.safetensors"
    tensors = {
        "half": torch.randn(2, 3).bfloat16(),
        "transposed": torch.arange(6).view(2, 3).T,
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0),
    }
    save_tensors(path, tensors, {"note": "ß"})
    found, metadata = load_tensors(path)
    assert metadata == {"note": "ß"}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.safetensors"]


def test_the_file_is_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.zeros(2)}, {})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")  # safetensors: the header's length, JSON, then raw numbers
    header = json.loads(content[8 : 8 + length])
    assert header["x"]["dtype"] == "F32"
    assert content[8 + length :] == bytes(8)


@pytest.mark.parametrize("kept", [0, 4, 20, 200, -1])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RequestError, match=r"a\.safetensors is damaged"):
        load_tensors(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"gone\.safetensors does not exist"):
        load_tensors(tmp_path / "gone.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(RequestError, match=r"folder\.safetensors"):
        load_tensors(tmp_path / "folder.safetensors")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.ones(2)}, {})
    with pytest.raises(TypeError):
        save_tensors(path, {"x": torch.zeros(2)}, {"note": 3})  # type: ignore[dict-item]
    assert load_tensors(path)[0]["x"].tolist() == [1, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_prefixes_keep_groups_apart() -> None:
    network, average = {"w": torch.ones(1)}, {"w": torch.zeros(1), "b/c": torch.ones(2)}
    together = {**prefixed("network", network), **prefixed("average", average)}
    assert without_prefix("network", together).keys() == {"w"}
    assert torch.equal(without_prefix("average", together)["b/c"], torch.ones(2))
