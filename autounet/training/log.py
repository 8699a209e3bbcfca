"""What is logged of a training run: a row a validation, kept as CSV, whole on disk at any moment."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autounet.evaluation.summary import mean_of_known
from autounet.records import write_text_atomically
from autounet.training.config import TrainConfig

_COLUMNS = ("epoch", "step", "elapsed_seconds", "learning_rate", "loss")
_DICE_COLUMN, _LOSS_COLUMN, _CASES_COLUMN = "validation_dice", "validation_loss", "validation_cases"


@dataclass(frozen=True)
class LogRow:
    """What is known at a validation.

    `loss` is smoothed over the last steps; `validation_loss` is told where nothing is segmented, so that there is no
    Dice.
    """

    epoch: int
    step: int
    elapsed_seconds: float
    learning_rate: float
    loss: float
    class_dice: tuple[float | None, ...]
    num_cases: int
    validation_loss: float | None = None

    @property
    def mean_dice(self) -> float | None:
        """Mean over the classes that occur."""
        return mean_of_known(self.class_dice)

    def figures(self, class_names: Sequence[str]) -> tuple[tuple[str, float], ...]:
        """All that is known, as pairs of name and number: `validation_dice/CLASS`."""
        dice = zip((f"validation_dice/{name}" for name in class_names), self.class_dice, strict=True)
        known = (
            ("loss", self.loss),
            ("learning_rate", self.learning_rate),
            ("elapsed_seconds", self.elapsed_seconds),
            (_DICE_COLUMN, self.mean_dice),
            (_LOSS_COLUMN, self.validation_loss),
            *dice,
        )
        return tuple((name, value) for name, value in known if value is not None and math.isfinite(value))


@dataclass(frozen=True)
class StageMark:
    """A part of the run with one size of patch.

    Attributes:
        end: Share of the run at which it ends.
        patch_size: Of that part.
    """

    end: float
    patch_size: tuple[int, ...]


@dataclass(frozen=True)
class LoggedRun:
    """What a log says of the run as a whole.

    Attributes:
        folder: Of the fold.
        title: What is trained.
        class_names: Foreground classes, in the order of a row's `class_dice`.
        config: How it is trained.
        num_validation_cases: Of the fold; a validation on the way takes some of them in turn.
        total_seconds: Length of the run, or `None` where it counts steps.
        total_steps: Length of the run, or `None` where it goes by the clock.
        stages: Sizes of patch, the last one to the end.
    """

    folder: Path
    title: str
    class_names: tuple[str, ...]
    config: TrainConfig
    num_validation_cases: int
    total_seconds: float | None = None
    total_steps: int | None = None
    stages: tuple[StageMark, ...] = ()


class Log(Protocol):
    """Where the trainer writes: a row a validation."""

    def truncate(self, num_rows: int) -> None:
        """Go on after the first rows, as many as a checkpoint knows of."""

    def append(self, row: LogRow) -> None:
        """Take a row."""

    def close(self) -> None:
        """The run ended, well or not."""


class TrainingLog:
    """Rows of a run, kept in a CSV file.

    Args:
        path: The file; rows that it already holds are kept by a resumed run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[LogRow] = []

    @property
    def rows(self) -> tuple[LogRow, ...]:
        """All rows so far."""
        return tuple(self._rows)

    def truncate(self, num_rows: int) -> None:
        """Take over the first rows of the file, as many as the checkpoint knows of."""
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                header, *rows = list(csv.reader(file)) or [[]]
                self._rows = [_parsed(cells, _LOSS_COLUMN in header) for cells in rows[:num_rows]]

    def append(self, row: LogRow) -> None:
        """Add a row and write the file anew."""
        self._rows.append(row)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        validation = _DICE_COLUMN if row.validation_loss is None else _LOSS_COLUMN
        writer.writerow(
            [*_COLUMNS, validation, _CASES_COLUMN, *(f"dice_class_{index + 1}" for index in range(len(row.class_dice)))]
        )
        writer.writerows(map(_cells, self._rows))
        write_text_atomically(self._path, text.getvalue())


def _cells(row: LogRow) -> list[str]:
    return [
        str(row.epoch),
        str(row.step),
        f"{row.elapsed_seconds:.1f}",
        f"{row.learning_rate:.3g}",
        f"{row.loss:.6f}",
        _cell(row.mean_dice) if row.validation_loss is None else f"{row.validation_loss:.6f}",
        str(row.num_cases),
        *map(_cell, row.class_dice),
    ]


def _parsed(cells: Sequence[str], has_loss: bool) -> LogRow:
    epoch, step, seconds, rate, loss, validation, cases, *dice = cells
    class_dice = tuple(float(value) if value else None for value in dice)
    validation_loss = float(validation) if has_loss else None
    return LogRow(
        int(epoch), int(step), float(seconds), float(rate), float(loss), class_dice, int(cases), validation_loss
    )


def _cell(dice: float | None) -> str:
    return "" if dice is None else f"{dice:.4f}"
