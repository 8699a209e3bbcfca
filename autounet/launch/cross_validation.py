"""The scores of all folds of a configuration as one: every case once, by the network that had not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from autounet.evaluation.summary import Summary, mean_of_known, summarize, write_summary
from autounet.models.folder import ModelRecord, fold_folder, record_path
from autounet.records import SCHEMA_VERSION, Record


class ClassSpread(Record):
    """One class, or the mean of all, over the folds.

    Attributes:
        mean: Of the folds' Dice; `None` where no fold has one.
        spread: Their standard deviation (of a sample); `None` of fewer than two.
        of_folds: Dice of each fold.
    """

    mean: float | None
    spread: float | None
    of_folds: tuple[float | None, ...]


class CrossValidation(Record):
    """What five-fold cross-validation says.

    Attributes:
        schema_version: Of this record.
        folds: Their numbers.
        num_cases: Scored in all folds together.
        foreground: Mean over classes.
        classes: Class name to its Dice over the folds.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    folds: tuple[int, ...]
    num_cases: int
    foreground: ClassSpread
    classes: dict[str, ClassSpread]


def missing_folds(model: Path, num_folds: int) -> list[int]:
    """Folds that have not been trained to their end."""
    return [fold for fold in range(num_folds) if not _is_finished(fold_folder(model, fold))]


def cross_validate(model: Path, num_folds: int) -> CrossValidation | None:
    """Put the folds' scores together, once the last of them is there.

    Writes `cross_validation.json`, and the scores of all cases as `cross_validation_cases.json` and `.csv`, into the
    model folder.

    Returns:
        `None` while a fold is missing.
    """
    if missing_folds(model, num_folds):
        return None
    summaries = [Summary.read(fold_folder(model, fold) / "validation" / "scores.json") for fold in range(num_folds)]
    names = list(dict.fromkeys(name for summary in summaries for name in summary.class_means))
    result = CrossValidation(
        folds=tuple(range(num_folds)),
        num_cases=sum(summary.num_cases for summary in summaries),
        foreground=_spread([summary.foreground_dice for summary in summaries]),
        classes={name: _spread([_dice(summary, name) for summary in summaries]) for name in names},
    )
    write_summary(
        summarize(case for summary in summaries for case in summary.cases), model / "cross_validation_cases.json"
    )
    result.write(model / "cross_validation.json")
    return result


def _dice(summary: Summary, name: str) -> float | None:
    return summary.class_means[name].dice if name in summary.class_means else None


def _spread(of_folds: Sequence[float | None]) -> ClassSpread:
    known = [dice for dice in of_folds if dice is not None]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return ClassSpread(mean=mean_of_known(of_folds), spread=spread, of_folds=tuple(of_folds))


def _is_finished(fold: Path) -> bool:
    path = record_path(fold)
    return path.exists() and ModelRecord.read(path).finished
