"""What is typed: lists, folds, times, requests of a planner, and how to train."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from autounet.cli import arguments
from autounet.cli.app import app
from autounet.cli.arguments import train_config
from autounet.errors import RequestError
from autounet.launch.fold_run import Extension
from autounet.networks.description import RecipeHints
from autounet.planners.request import PlanRequest
from autounet.training.config import TrainConfig


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        ("plan_and_preprocess -d 4 5 -c 2d 3d_fullres -j 2", "plan_and_preprocess -d 4 -d 5 -c 2d -c 3d_fullres -j 2"),
        ("plan_and_preprocess -d 4 -d 5", "plan_and_preprocess -d 4 -d 5"),
        ("predict -i a -o b -f 0 1 -d 4", "predict -i a -o b -f 0 -f 1 -d 4"),
        ("plan 4 --patch 8 16 24 --jobs 2 --explain", "plan 4 --patch 8 --patch 16 --patch 24 --jobs 2 --explain"),
        ("plan 4 --spacing 3 1 1 -c 2d", "plan 4 --spacing 3 --spacing 1 --spacing 1 -c 2d"),
        ("dataset create i l --label a b --id 3", "dataset create i l --label a --label b --id 3"),
        ("train 4 3d_fullres 0 --seed 3", "train 4 3d_fullres 0 --seed 3"),
        ("", ""),
    ],
)
def test_several_values_may_follow_an_option_that_takes_a_list(typed: str, understood: str) -> None:
    assert arguments.spread(typed.split()) == understood.split()


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172800)])
def test_times_are_read_with_their_units(text: str, seconds: float) -> None:
    assert arguments.parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "soon", "-3m", "0", "infh", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="is no time"):
        arguments.parse_seconds(text)


@pytest.mark.parametrize(("text", "fold"), [("0", 0), ("12", 12), ("all", "all")])
def test_a_fold_is_a_number_or_all(text: str, fold: int | str) -> None:
    assert arguments.fold_name(text) == fold


@pytest.mark.parametrize("text", ["", "-1", "1.5", "zero", "ALL"])
def test_what_is_no_fold_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="a number from 0, or 'all'"):
        arguments.fold_name(text)


def request(**typed: Any) -> PlanRequest:
    names = (
        "memory_gib",
        "network",
        "patch",
        "batch_size",
        "spacing",
        "features",
        "stages",
        "configurations",
    )
    return arguments.plan_request(*(typed.get(name) for name in names))


def test_without_options_all_is_the_planners_to_decide() -> None:
    assert request() == PlanRequest()
    assert request(patch=[], spacing=[], configurations=[]) == PlanRequest()


def test_options_become_a_request() -> None:
    assert request(
        memory_gib=4.0,
        network="resenc",
        patch=[8, 16, 24],
        batch_size=3,
        spacing=[3.0, 1.0, 1.0],
        features=16,
        stages=4,
        configurations=["2d", "mine"],
    ) == PlanRequest(
        memory_gib=4,
        network="resenc",
        patch_size=(8, 16, 24),
        batch_size=3,
        spacing_mm=(3, 1, 1),
        features=16,
        num_stages=4,
        configurations=("2d", "mine"),
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"patch": [1, 2, 3, 4]}, "--patch 1 2 3 4: give three numbers"),
        ({"patch": [8]}, "--patch 8: give three numbers"),
        ({"spacing": [1.0, 2.5]}, "--spacing 1 2.5: give three numbers"),
        ({"spacing": [0.0, 1.0, 1.0]}, "three positive numbers"),
        ({"spacing": [1.0, 1.0, float("nan")]}, "three positive numbers"),
        ({"memory_gib": float("inf")}, "memory_gib.*got inf"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_with_its_value(typed: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        request(**typed)


def config_of(
    planned_seconds: float | None = None, recipe: str | None = None, file: Path | None = None, **flags: Any
) -> TrainConfig:
    return arguments.train_config(recipe, file, planned_seconds, flags)


def test_time_comes_from_the_option_then_from_the_plan_and_epochs_beat_the_plan() -> None:
    assert config_of(60, max_seconds="2m") == TrainConfig.for_clock(120)
    assert config_of(60) == TrainConfig.for_clock(60)
    assert config_of(60, num_epochs=3) == TrainConfig(num_epochs=3)
    assert config_of(60, num_steps=30) == TrainConfig(num_steps=30)
    assert config_of(seed=5) == TrainConfig(seed=5)
    assert config_of(60, recipe="nnunet") == TrainConfig()


def test_a_recipe_can_be_asked_for_whatever_the_length() -> None:
    assert config_of(recipe="nnunet", max_seconds="60s") == TrainConfig(max_seconds=60)
    by_steps = config_of(recipe="clock", num_steps=500)
    assert by_steps == TrainConfig.for_clock(None).model_copy(update={"num_steps": 500})
    with pytest.raises(RequestError, match=r"--recipe nnnet: there are nnunet, clock, paper\. Did you mean 'nnunet'"):
        config_of(recipe="nnnet")


@pytest.mark.parametrize("length", ["num_epochs", "num_steps"])
def test_time_and_epochs_exclude_each_other(length: str) -> None:
    with pytest.raises(RequestError, match=f"--max-time and --{length[4:]} exclude each other"):
        arguments.train_config(None, None, None, {"max_seconds": "2m", length: 3})


def test_an_option_that_training_does_not_know_is_named() -> None:
    with pytest.raises(RequestError, match=r"'precision'.*got 'int8'"):
        config_of(precision="int8")


def test_growth_is_typed_as_pairs_or_as_none() -> None:
    assert config_of(growth="0.4:0.5,0.7:0.75").growth == ((0.4, 0.5), (0.7, 0.75))
    without = config_of(max_seconds="1m", growth="none")
    assert (without.growth, without.growth_batch) == ((), 0)
    with pytest.raises(RequestError, match=r"--growth '0.4-0.5': write END:FACTOR"):
        config_of(growth="0.4-0.5")


def test_a_file_of_choices_beats_the_recipe_and_flags_beat_the_file(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("max_time: 30m\noptimizer: adamw\nlearning_rate: 0.002\ngrowth: none\n", encoding="utf-8")
    config = config_of(file=file, learning_rate=0.004, seed=3)
    assert (config.max_seconds, config.optimizer, config.learning_rate, config.seed) == (1800, "adamw", 0.004, 3)
    assert config.schedule == "cosine"  # the recipe by the clock, as there is a time
    assert config.growth == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat: 0.1", "'learning_rat' is not a known key. Did you mean 'learning_rate'"),
        ("- 1", "must hold lines such as"),
        ("a: [", "cannot be read"),
        ("schedule: constant\nwarmup: 0.9", "warmup 0.9 and cooldown 0.3 are shares of the run"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=re.escape(said)):
        config_of(file=file)


def test_a_run_is_made_longer_by_a_time_or_by_epochs() -> None:
    assert arguments.extension(None) is None
    assert arguments.extension("30m") == Extension(seconds=1800)
    assert arguments.extension("50") == Extension(epochs=50)
    with pytest.raises(RequestError, match="--extend 'long' is no time"):
        arguments.extension("long")


def test_every_field_of_a_run_has_a_flag() -> None:
    parameters = {parameter.name for parameter in typer.main.get_command(app).commands["train"].params}  # type: ignore[attr-defined]
    assert set(TrainConfig.model_fields) <= parameters


def test_the_recipe_of_a_networks_paper_comes_under_all_that_is_asked_for() -> None:
    hints = RecipeHints(optimizer="adamw", learning_rate=3e-4, loss="dice")
    config = train_config(None, None, None, {"max_seconds": "10m", "learning_rate": 1e-3}, hints)
    assert (config.optimizer, config.loss, config.learning_rate, config.max_seconds) == ("adamw", "dice", 1e-3, 600)
    assert config.augmentation == TrainConfig().augmentation
    assert train_config("clock", None, None, {"max_seconds": "10m"}, hints) == TrainConfig.for_clock(600)
    assert train_config("nnunet", None, None, {}, hints) == TrainConfig()
    with pytest.raises(RequestError, match="nothing is known"):
        train_config("paper", None, None, {}, RecipeHints())
