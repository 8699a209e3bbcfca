"""A whole model of two folds, so small that it is made in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from autounet.models.folder import FoldName, ModelRecord, build_network, fold_folder, save_weights, seal_fold
from autounet.plans import Plan
from autounet.training.config import TrainConfig


@pytest.fixture
def model(tmp_path: Path, make_plan: Callable[..., Plan]) -> Path:
    """A model folder with the folds 0 and all."""
    plan = make_plan()
    folder = tmp_path / "model"
    torch.manual_seed(0)
    names: tuple[FoldName, ...] = (0, "all")
    for name in names:
        record = ModelRecord(
            plan=plan,
            configuration=plan.configuration("3d_fullres"),
            fold=name,
            mirror_axes=(),
            config=TrainConfig(),
            finished=True,
        )
        fold = fold_folder(folder, record.fold)
        save_weights(fold, dict(build_network(record).state_dict()))
        seal_fold(fold, record)
    return folder
