"""Intervals and paired tests: hand-computed values, SciPy as the oracle, and how often they are right."""

import numpy as np
import pytest
from scipy import stats

from autounet.evaluation import bootstrap
from autounet.evaluation.bootstrap import (
    mean_interval,
    mean_intervals,
    paired_difference,
    paired_differences,
    sign_flip_p_values,
)


def scores(num_cases: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).beta(8, 2, num_cases)


def test_the_interval_is_that_of_scipy() -> None:
    values = scores(40)
    interval = mean_interval(values)
    oracle = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, random_state=1)
    assert interval is not None
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(oracle.confidence_interval.low, abs=2e-3)
    assert interval.high == pytest.approx(oracle.confidence_interval.high, abs=2e-3)
    assert (interval.confidence, interval.num_cases) == (0.95, 40)


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    intervals = [mean_interval(scores(30, seed), confidence=0.9, num_resamples=500) for seed in range(300)]
    held = np.mean([interval is not None and interval.low <= 0.8 <= interval.high for interval in intervals])
    # Of 300 tries at 0.9, 0.85 is three standard deviations off; percentile intervals of 30 cases are a little narrow.
    assert 0.83 < held < 0.95


def test_scores_that_do_not_exist_are_left_out() -> None:
    interval = mean_interval([1.0, None, 0.0, float("nan"), 1.0, 0.0])
    assert interval is not None
    assert (interval.mean, interval.num_cases) == (0.5, 4)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_a_single_score_has_no_interval() -> None:
    assert mean_interval([]) is None
    assert mean_interval([0.5, None]) is None
    assert paired_difference([0.5, None], [0.5, 0.7]) is None
    assert mean_intervals(np.array([[0.5, np.nan], [0.7, np.nan]]))[1] is None


def test_several_columns_are_averaged_as_the_foreground_dice_is() -> None:
    # The second class is in one case only, and weighs as much as the first.
    table: list[list[float | None]] = [[1.0, 0.0], [0.5, None], [0.0, None]]
    interval = mean_interval(table)
    assert interval is not None
    assert (interval.mean, interval.num_cases) == (0.25, 3)


def test_columns_together_are_what_they_are_alone() -> None:
    table = np.stack([scores(20), scores(20, 1)], axis=1)
    for together, column in zip(mean_intervals(table), table.T, strict=True):
        alone = mean_interval(column)
        assert together is not None
        assert alone is not None
        assert together.model_dump() == pytest.approx(alone.model_dump())


def test_the_same_seed_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = scores(25)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values) != mean_interval(values, seed=1)
    whole = mean_interval(values)
    monkeypatch.setattr(bootstrap, "_BLOCK_SIZE", 1000)
    assert mean_interval(values) == whole


def test_a_constant_difference_by_hand() -> None:
    result = paired_difference([0.75] * 5, [0.25] * 4 + [None])
    assert result is not None
    assert (result.difference, result.low, result.high) == (0.5, 0.5, 0.5)
    # Of 16 combinations of four signs, two reach the sum of all four.
    assert result.p_value == 2 / 16
    assert (result.num_pairs, result.num_higher, result.num_lower) == (4, 4, 0)


def test_no_difference_at_all() -> None:
    result = paired_difference(scores(30), scores(30))
    assert result is not None
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    assert (result.num_higher, result.num_lower) == (0, 0)


@pytest.mark.parametrize("num_pairs", [9, 40])
def test_the_p_value_is_that_of_scipy(num_pairs: int) -> None:
    differences = np.random.default_rng(3).normal(0.3, 1, num_pairs)
    oracle = stats.permutation_test(
        (differences,),
        lambda values, axis: values.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=5000,
        random_state=0,
    )
    tolerance = 1e-12 if num_pairs < 13 else 0.03
    assert sign_flip_p_values(differences[:, None])[0] == pytest.approx(oracle.pvalue, abs=tolerance)


def test_chance_is_called_a_difference_as_rarely_as_the_p_value_says() -> None:
    generator = np.random.default_rng(0)
    noise = sign_flip_p_values(generator.normal(size=(20, 2000)), num_resamples=1000)
    assert 0.035 < np.mean(noise < 0.05) < 0.065
    shifted = sign_flip_p_values(generator.normal(1, 1, size=(20, 100)), num_resamples=1000)
    assert np.mean(shifted < 0.05) > 0.9


def test_columns_of_a_paired_difference_belong_to_one_case() -> None:
    first, second = np.stack([scores(10)] * 3, axis=1), np.stack([scores(10, 1)] * 3, axis=1)
    together, alone = paired_difference(first, second), paired_difference(first[:, 0], second[:, 0])
    assert together is not None
    assert alone is not None
    # Three copies of a class say no more than one.
    assert together.p_value == alone.p_value
    assert together.low == pytest.approx(alone.low)
    assert (together.num_pairs, together.num_higher) == (alone.num_pairs, alone.num_higher)


def test_many_differences_at_once_are_what_they_are_alone() -> None:
    first, second = np.stack([scores(20), scores(20, 1)], axis=1), np.stack([scores(20, 2)] * 2, axis=1)
    first[3, 1] = np.nan
    together = paired_differences(first, second, [[0], [1], [0, 1]])
    alone = [paired_difference(first[:, :1], second[:, :1]), paired_difference(first[:, 1], second[:, 1])]
    for found, expected in zip(together, [*alone, paired_difference(first, second)], strict=True):
        assert found is not None
        assert expected is not None
        assert found.model_dump() == pytest.approx(expected.model_dump())
