"""The training log: a row a validation, as CSV, whole on disk at any moment."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from autounet.evaluation.summary import mean_of_known
from autounet.records import write_text_atomically

_COLUMNS = ("epoch", "step", "elapsed_seconds", "learning_rate", "loss", "validation_dice", "validation_cases")


@dataclass(frozen=True)
class LogRow:
    """What is known at a validation; `loss` is smoothed over the last steps."""

    epoch: int
    step: int
    elapsed_seconds: float
    learning_rate: float
    loss: float
    class_dice: tuple[float | None, ...]
    num_cases: int


class TrainingLog:
    """Rows of a run, kept in a CSV file.

    Args:
        path: The file; rows that it already holds are kept by a resumed run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[list[str]] = []

    def truncate(self, num_rows: int) -> None:
        """Take over the first rows of the file, as many as the checkpoint knows of."""
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                self._rows = list(csv.reader(file))[1 : num_rows + 1]

    def append(self, row: LogRow) -> None:
        """Add a row and write the file anew."""
        self._rows.append(
            [
                str(row.epoch),
                str(row.step),
                f"{row.elapsed_seconds:.1f}",
                f"{row.learning_rate:.3g}",
                f"{row.loss:.4f}",
                _cell(mean_of_known(row.class_dice)),
                str(row.num_cases),
                *map(_cell, row.class_dice),
            ]
        )
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*_COLUMNS, *(f"dice_class_{index + 1}" for index in range(len(row.class_dice)))])
        writer.writerows(self._rows)
        write_text_atomically(self._path, text.getvalue())


def _cell(dice: float | None) -> str:
    return "" if dice is None else f"{dice:.4f}"
