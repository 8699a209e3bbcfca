"""Scores of all folds together, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from autounet.evaluation.overlap import ClassScore
from autounet.evaluation.summary import CaseScores, summarize, write_summary
from autounet.launch import cross_validation
from autounet.launch.cross_validation import CrossValidation, cross_validate, missing_folds


def score(dice: float | None) -> ClassScore:
    return ClassScore(dice=dice, iou=dice, tp=1, fp=0, fn=0, tn=0, num_reference=1, num_predicted=1)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three folds of one case each, two classes; fold 1 has no second class."""
    monkeypatch.setattr(cross_validation, "_is_finished", lambda fold: (fold / "validation" / "scores.json").exists())
    for fold, (first, second) in enumerate([(0.8, 0.5), (0.7, None), (0.9, 0.7)]):
        classes = {"a": score(first), "b": score(second)}
        summary = summarize([CaseScores(case=f"case_{fold}", reference="", prediction="", classes=classes)])
        (tmp_path / f"fold_{fold}" / "validation").mkdir(parents=True)
        write_summary(summary, tmp_path / f"fold_{fold}" / "validation" / "scores.json")
    return tmp_path


def test_nothing_is_said_while_a_fold_is_missing(model: Path) -> None:
    assert missing_folds(model, 5) == [3, 4]
    assert cross_validate(model, 5) is None
    assert not (model / "cross_validation.json").exists()


def test_mean_and_spread_over_folds(model: Path) -> None:
    result = cross_validate(model, 3)
    assert result == CrossValidation.read(model / "cross_validation.json")
    assert result
    assert result.num_cases == 3
    assert result.classes["a"].mean == pytest.approx(0.8)
    assert result.classes["a"].spread == pytest.approx(0.1)
    assert result.classes["b"].of_folds == (0.5, None, 0.7)
    assert result.classes["b"].mean == pytest.approx(0.6)
    assert result.classes["b"].spread == pytest.approx(0.02**0.5)
    assert result.foreground.of_folds == pytest.approx((0.65, 0.7, 0.8))
    rows = (model / "cross_validation_cases.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [[f"case_{fold}", name] for fold in range(3) for name in "ab"]
