"""Files of a trained fold that are missing, cut short or changed are named, with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from autounet.errors import RequestError
from autounet.models.folder import load_network, trained_folds
from autounet.models.integrity import CHECKSUMS, FOLD_FILES, require_intact


def test_a_fold_as_it_was_written_is_whole(model: Path) -> None:
    require_intact(model / "fold_0")
    require_intact(model / "fold_all")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (Path.unlink, "is missing"),
    "cut": (cut, r"has \d+ bytes, not \d+"),
    "changed": (flip, "was changed after it was written"),
}


@pytest.mark.parametrize("name", FOLD_FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_with_file_and_remedy(model: Path, name: str, damage: str) -> None:
    change, said = DAMAGES[damage]
    path = model / "fold_0" / name
    change(path)
    with pytest.raises(RequestError, match=rf"{path} {said}.*Copy the model folder again"):
        require_intact(model / "fold_0")


def test_a_network_of_a_changed_fold_is_not_loaded(model: Path) -> None:
    record = trained_folds(model)["0"]
    flip(model / "fold_0" / "weights.safetensors")
    with pytest.raises(RequestError, match="was changed"):
        load_network(model / "fold_0", record, torch.device("cpu"))


def test_without_checksums_nobody_knows(model: Path) -> None:
    path = model / "fold_0" / CHECKSUMS
    content = json.loads(path.read_text())
    del content["files"]["weights.safetensors"]
    path.write_text(json.dumps(content))
    with pytest.raises(RequestError, match=r"says nothing of weights\.safetensors"):
        require_intact(model / "fold_0")
    path.unlink()
    with pytest.raises(RequestError, match=r"checksums\.json is missing"):
        require_intact(model / "fold_0")
