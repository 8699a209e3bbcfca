"""Thresholds that help, that do not, and that only seem to."""

from __future__ import annotations

import numpy as np
import pytest

from autounet.errors import RequestError
from autounet.evaluation.thresholds import GRID, USUAL, Thresholds, judge_thresholds
from autounet.labels import LabelSchema

LABELS = LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2}, None, "test")
NUM_CASES, NUM_FOLDS = 50, 5
FOLDS = [case % NUM_FOLDS for case in range(NUM_CASES)]


def scores(gain_at: dict[float, float], noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Dice of one class at one half, and at every threshold: higher by so much, plus noise of its own."""
    generator = np.random.default_rng(0)
    usual = 0.7 + 0.1 * generator.standard_normal((NUM_CASES, 1))
    others = []
    for value in GRID:
        change = gain_at.get(value, -0.05) + noise * generator.standard_normal(usual.shape)
        others.append(usual if value == USUAL else usual + change)
    return usual, np.stack(others)[None]


def test_a_threshold_that_helps_in_every_fold_is_taken() -> None:
    (trial,) = judge_thresholds(["organ"], *scores({0.3: 0.02, 0.35: 0.01}), FOLDS)
    assert trial.accepted
    assert trial.threshold == 0.3
    assert trial.of_folds == (0.3,) * NUM_FOLDS
    assert trial.difference is not None
    assert trial.difference.difference == pytest.approx(0.02, abs=0.005)


def test_noise_is_not_taken_though_some_threshold_looks_better_on_all_cases() -> None:
    """Of sixteen thresholds without effect the luckiest looks better; held-out cases do not fall for it."""
    nothing = dict.fromkeys(GRID, 0.0)
    usual, others = scores(nothing, noise=0.05)
    (trial,) = judge_thresholds(["organ"], usual, others, FOLDS)
    assert others[0, GRID.index(trial.threshold)].mean() > usual.mean()
    assert not trial.accepted


def test_a_threshold_that_only_one_fold_gains_by_is_not_taken() -> None:
    usual, others = scores({})
    lucky = np.array(FOLDS) == 0
    others[0, GRID.index(0.4)] = usual + np.where(lucky, 0.2, -0.005)[:, None]
    (trial,) = judge_thresholds(["organ"], usual, others, FOLDS)
    assert trial.threshold == 0.4, "on all cases together it would have been chosen"
    assert trial.of_folds[0] == USUAL, "the folds without the lucky one do not choose it"
    assert not trial.accepted


def test_where_nothing_helps_one_half_stays() -> None:
    (trial,) = judge_thresholds(["organ"], *scores({}), FOLDS)
    assert trial.threshold == USUAL
    assert trial.of_folds == (USUAL,) * NUM_FOLDS
    assert not trial.accepted


def test_more_classes_need_more_evidence() -> None:
    usual, others = scores({0.4: 0.02})
    one = judge_thresholds(["organ"], usual, others, FOLDS)[0].difference
    two = judge_thresholds(["organ", "tumour"], usual, np.concatenate([others, others]), FOLDS)[0].difference
    assert one is not None
    assert two is not None
    assert two.low < one.low
    assert two.confidence == pytest.approx(0.975)


def test_offsets_multiply_odds() -> None:
    offsets = Thresholds(values={"tumour": 0.2}).offsets(LABELS)
    np.testing.assert_allclose(np.exp(offsets), [1, 1, 4], rtol=1e-6)


def test_a_threshold_is_a_probability() -> None:
    with pytest.raises(RequestError, match="between 0 and 1"):
        Thresholds.parse({"values": {"organ": 1.0}}, "best.json")


def test_the_grid_begins_with_one_half_and_is_symmetric() -> None:
    assert GRID[0] == USUAL
    assert sorted(round(1 - value, 2) for value in GRID) == sorted(GRID)
