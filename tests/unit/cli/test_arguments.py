"""What is typed: lists, folds, times, requests of a planner, and how to train."""

from __future__ import annotations

from typing import Any

import pytest

from autounet.cli import arguments
from autounet.errors import RequestError
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


def test_time_comes_from_the_option_then_from_the_plan_and_epochs_beat_the_plan() -> None:
    assert arguments.train_config("2m", None, 60.0, {}) == TrainConfig.for_clock(120)
    assert arguments.train_config(None, None, 60.0, {}) == TrainConfig.for_clock(60)
    assert arguments.train_config(None, 3, 60.0, {}) == TrainConfig(num_epochs=3)
    assert arguments.train_config(None, None, None, {"seed": 5}) == TrainConfig(seed=5)


def test_time_and_epochs_exclude_each_other() -> None:
    with pytest.raises(RequestError, match="--max-time and --epochs exclude each other"):
        arguments.train_config("2m", 3, None, {})


def test_an_option_that_training_does_not_know_is_named() -> None:
    with pytest.raises(RequestError, match="--precision int8"):
        arguments.train_config(None, None, None, {"precision": "int8"})
