"""The training log: a row a validation, whole after each."""

from __future__ import annotations

import csv
from pathlib import Path

from autounet.training.log import LogRow, TrainingLog


def row(epoch: int, dice: tuple[float | None, ...] = (0.5, 0.75)) -> LogRow:
    return LogRow(
        epoch=epoch,
        step=10 * epoch,
        elapsed_seconds=1.25 * epoch,
        learning_rate=0.01,
        loss=0.5,
        class_dice=dice,
        num_cases=3,
    )


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = TrainingLog(path)
    log.append(row(1))
    log.append(row(2, (None, 0.25)))
    log.append(row(3, (None, None)))
    rows = read(path)
    assert [entry["validation_dice"] for entry in rows] == ["0.6250", "0.2500", ""]
    assert [entry["dice_class_1"] for entry in rows] == ["0.5000", "", ""]
    assert rows[1]["step"] == "20"
    assert rows[1]["elapsed_seconds"] == "2.5"
    assert rows[1]["validation_cases"] == "3"


def test_a_resumed_run_keeps_the_rows_that_its_checkpoint_knows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = TrainingLog(path)
    for epoch in (1, 2, 3):
        log.append(row(epoch))
    resumed = TrainingLog(path)
    resumed.truncate(2)
    resumed.append(row(3, (1.0, 1.0)))
    assert [entry["epoch"] for entry in read(path)] == ["1", "2", "3"]
    assert read(path)[2]["validation_dice"] == "1.0000"


def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    TrainingLog(path).append(row(1))
    TrainingLog(path).append(row(1, (0.0, 0.0)))
    assert [entry["validation_dice"] for entry in read(path)] == ["0.0000"]


def test_a_missing_log_is_begun_anew(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "log.csv")
    log.truncate(5)
    log.append(row(6))
    assert len(read(tmp_path / "log.csv")) == 1
