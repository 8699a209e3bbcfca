"""Learning rates by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autounet.training.config import ScheduleName, TrainConfig
from autounet.training.schedule import learning_rate


def test_poly_by_hand() -> None:
    config = TrainConfig(learning_rate=0.01)
    assert learning_rate(config, 0.0) == pytest.approx(0.01)
    assert learning_rate(config, 0.5) == pytest.approx(0.01 * 0.5**0.9)
    assert learning_rate(config, 0.5) == pytest.approx(0.0053588673)
    assert learning_rate(config, 0.999) == pytest.approx(0.01 * 0.001**0.9)


def test_cosine_by_hand() -> None:
    config = TrainConfig(learning_rate=2.0, schedule="cosine")
    assert learning_rate(config, 0.0) == pytest.approx(2)
    assert learning_rate(config, 1 / 3) == pytest.approx(1.5)
    assert learning_rate(config, 0.5) == pytest.approx(1)


def test_a_constant_rate_cools_down_in_a_straight_line() -> None:
    config = TrainConfig(learning_rate=2.0, schedule="constant", cooldown=0.4, warmup=0.1)
    assert learning_rate(config, 0.05) == pytest.approx(1)
    assert learning_rate(config, 0.1) == learning_rate(config, 0.6) == 2
    assert learning_rate(config, 0.8) == pytest.approx(1)
    assert learning_rate(config, 1.0) == 0


@pytest.mark.parametrize("schedule", ["poly", "cosine", "constant"])
def test_a_run_taken_up_again_rises_from_near_zero_to_its_schedule(schedule: ScheduleName) -> None:
    config = TrainConfig(learning_rate=1.0, schedule=schedule)
    assert learning_rate(config, 0.5, entered=0.5) == pytest.approx(0.01 * learning_rate(config, 0.5))
    half_way = 0.5 + 0.025 / 2  # of the 5 % of the half that is left
    assert learning_rate(config, half_way, entered=0.5) == pytest.approx(0.5 * learning_rate(config, half_way))
    for progress in (0.525, 0.7, 1.0):
        assert learning_rate(config, progress, entered=0.5) == learning_rate(config, progress)


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_warm_up_rises_to_the_peak_and_the_decay_begins_there(schedule: ScheduleName) -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.2, schedule=schedule)
    assert learning_rate(config, 0.0) == pytest.approx(0.01)
    assert learning_rate(config, 0.1) == pytest.approx(0.5)
    assert learning_rate(config, 0.2) == pytest.approx(1)
    # Half of the decay lies half-way between 0.2 and 1.
    half = 0.5**0.9 if schedule == "poly" else 0.5
    assert learning_rate(config, 0.6) == pytest.approx(half)


@given(
    st.sampled_from(["poly", "cosine", "constant"]),
    st.floats(0, 0.9),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_it_falls_after_the_warm_up_and_ends_at_zero(
    schedule: ScheduleName, warmup: float, first: float, second: float
) -> None:
    config = TrainConfig(learning_rate=0.3, warmup=warmup, schedule=schedule, cooldown=0.1)
    assert learning_rate(config, 1.0) == pytest.approx(0, abs=1e-12)
    rates = [learning_rate(config, warmup + (1 - warmup) * point) for point in sorted((first, second))]
    assert rates[0] >= rates[1] - 1e-12
    assert all(0 <= rate <= 0.3 + 1e-12 and math.isfinite(rate) for rate in rates)
