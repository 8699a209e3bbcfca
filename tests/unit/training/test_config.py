"""The configuration of a run is checked whole before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from autounet.errors import RequestError
from autounet.training.config import TrainConfig


def test_defaults_are_nnunets_recipe() -> None:
    config = TrainConfig()
    assert (config.num_epochs, config.steps_per_epoch) == (1000, 250)
    assert (config.optimizer, config.learning_rate, config.momentum, config.weight_decay) == ("sgd", 0.01, 0.99, 3e-5)
    assert (config.schedule, config.gradient_clip, config.foreground_share) == ("poly", 12, 0.33)
    assert (config.loss, config.augmentation, config.deep_supervision) == ("dice_ce", "nnunet", True)
    assert config.laterality == "swap"  # nnU-Net's would be "ignore"; it matters to left and right classes only


def test_the_recipe_for_a_time_carries_the_time() -> None:
    assert TrainConfig.for_clock(600).max_seconds == 600


@pytest.mark.parametrize(
    "choice",
    [
        {"num_epochs": 0},
        {"steps_per_epoch": 0},
        {"max_seconds": 0},
        {"learning_rate": 0},
        {"momentum": 1},
        {"weight_decay": -1},
        {"warmup": 1},
        {"ema_share": 1},
        {"foreground_share": 1.1},
        {"seed": -1},
        {"optimizer": "lion"},
        {"laterality": "flip"},
        {"schedule": "step"},
        {"precision": "float8"},
        {"gradient_clip": 0},
        {"checkpoint_seconds": 0},
        {"growth": ((0.5, 0.5), (0.3, 0.8))},
        {"growth": ((1.0, 0.5),)},
        {"growth": ((0.5, 0.0),)},
        {"growth": ((0.5, 1.5),)},
    ],
)
def test_nonsense_is_refused(choice: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig(**choice)


def test_an_unknown_choice_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(RequestError, match="Did you mean 'learning_rate'"):
        TrainConfig.parse({"learning_rat": 1.0}, source="config.json")


def test_it_survives_json() -> None:
    config = TrainConfig(growth=((0.3, 0.5), (0.6, 0.8)), seed=7, max_seconds=60.0)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
