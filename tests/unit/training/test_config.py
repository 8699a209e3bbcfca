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
        {"growth_batch": 0.5},
        {"num_steps": 0},
        {"num_steps": 10, "max_seconds": 10},
        {"patience": 0},
        {"schedule": "constant", "warmup": 0.8, "cooldown": 0.3},
        {"cooldown": 0},
    ],
)
def test_nonsense_is_refused(choice: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig(**choice)


def test_an_unknown_choice_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(RequestError, match="Did you mean 'learning_rate'"):
        TrainConfig.parse({"learning_rat": 1.0}, source="config.json")


def test_a_run_is_as_long_as_its_steps_or_else_its_epochs() -> None:
    assert TrainConfig(num_epochs=3, steps_per_epoch=20).total_steps == 60
    assert TrainConfig(num_epochs=3, num_steps=7).total_steps == 7


def test_choices_that_do_not_go_together_are_refused_with_the_remedy() -> None:
    with pytest.raises(RequestError, match="num_steps 10 and max_seconds 20 both tell how long to train: give one"):
        TrainConfig.parse({"num_steps": 10, "max_seconds": 20}, "the options")
    with pytest.raises(RequestError, match=r"growth_batch 0.5 is for patches that grow: give growth too"):
        TrainConfig.parse({"growth_batch": 0.5}, "the options")


def test_it_survives_json() -> None:
    config = TrainConfig(growth=((0.3, 0.5), (0.6, 0.8)), seed=7, max_seconds=60.0)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
