"""Choosing among candidates whose scores are made up, so that the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from autounet.evaluation.best import Candidate, choose
from autounet.evaluation.tables import class_means, foreground_mean, on_same_cases

NUM_CASES = 60


def table(mean: float, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """Scores of two classes about a mean; the same seed gives the same ups and downs."""
    return mean + noise * np.random.default_rng(seed).standard_normal((NUM_CASES, 2))


def candidate(name: str, cost: float, dice: np.ndarray) -> Candidate:
    return Candidate(name=name, members=tuple(name.split(" + ")), cost=cost, dice=dice)


def test_of_two_that_differ_by_noise_the_cheaper_is_chosen() -> None:
    choice = choose([candidate("cheap", 1, table(0.8, seed=1)), candidate("dear", 4, table(0.802, seed=2))])
    best, cheap = choice.standings
    assert (best.name, best.cost, cheap.cost) == ("dear", 4, 1)
    assert best.dice > cheap.dice
    assert cheap.behind is not None
    assert cheap.behind.low < 0 < cheap.behind.difference < cheap.behind.high
    assert choice.chosen == "cheap"
    assert "That interval holds 0" in choice.reasons[1]
    assert "0.25 of its arithmetic" in choice.reasons[1]


def test_a_clear_difference_decides_for_the_better_whatever_it_costs() -> None:
    choice = choose([candidate("cheap", 1, table(0.80)), candidate("dear", 4, table(0.83, seed=2))])
    assert choice.chosen == "dear"
    assert "more than chance explains" in choice.reasons[1]
    assert [standing.is_noise for standing in choice.standings] == [True, False]


def test_a_small_difference_in_every_case_is_clear_for_pairing_takes_the_spread_of_cases_out() -> None:
    spread = table(0.7, noise=0.2)
    first, second = choose([candidate("cheap", 1, spread), candidate("dear", 2, spread + 0.002)]).standings
    assert first.name == "dear"
    assert first.interval is not None
    assert second.interval is not None
    assert second.interval.high > first.interval.low, "the intervals of both means overlap by far"
    assert not second.is_noise


def test_equal_scores_and_costs_leave_the_first() -> None:
    same = table(0.8)
    assert choose([candidate(name, 1, same) for name in ("a", "b")]).chosen == "a"
    assert choose([candidate("a", 2, same), candidate("b", 1, same)]).chosen == "b"


def test_of_several_within_noise_the_cheapest_is_chosen_though_another_is_nearer_to_the_best() -> None:
    scores = [0.8, 0.801, 0.802]
    choice = choose([candidate(f"cost {i}", i, table(mean, seed=i)) for i, mean in enumerate(scores, start=1)])
    assert choice.chosen == "cost 1"


def test_an_ensemble_names_its_members() -> None:
    choice = choose([candidate("2d", 1, table(0.7)), candidate("2d + 3d", 3, table(0.8))])
    assert choice.members == ("2d", "3d")


def test_few_cases_are_said_to_be_few_and_one_case_tells_nothing() -> None:
    pair = [candidate("cheap", 1, np.array([[0.5]])), candidate("dear", 2, np.array([[0.9]]))]
    choice = choose(pair)
    assert choice.chosen == "cheap"
    assert "tells nothing of chance" in choice.reasons[1]
    assert "are few" in choose([candidate("only", 1, table(0.8)[:5])] * 2).reasons[-1]


def test_who_invents_a_class_is_not_better_off_than_who_shows_nothing() -> None:
    """Case 1 lacks the class; a prediction that shows it there has 0, the other has no score."""
    right, inventing = np.array([[0.8], [np.nan]]), np.array([[0.8], [0.0]])
    first, second = on_same_cases([right, inventing])
    assert foreground_mean(first) == pytest.approx(0.9)
    assert foreground_mean(second) == pytest.approx(0.4)
    untouched = np.array([[0.5, np.nan], [0.7, np.nan]])
    assert np.isnan(on_same_cases([untouched, untouched])[0][:, 1]).all(), "nobody shows it: no score at all"


def test_the_foreground_mean_is_that_of_the_classes_that_some_case_shows() -> None:
    scores = np.array([[0.5, 1.0, np.nan], [0.7, np.nan, np.nan]])
    np.testing.assert_allclose(class_means(scores), [0.6, 1.0, np.nan])
    assert foreground_mean(scores) == pytest.approx(0.8)
    assert np.isnan(foreground_mean(np.full((2, 1), np.nan)))
