"""The log of a run: what every sink gets, what a resumed run keeps, and that no sink can end a run."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from autounet.colours import class_colour
from autounet.errors import RequestError
from autounet.training.config import TrainConfig
from autounet.training.log import LoggedRun, LogRow, StageMark
from autounet.training.loggers import LOGGERS, picture, run_log
from autounet.training.loggers.picture import dice_label, draw_progress
from autounet.training.loggers.run_log import RunLog


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def track(self, items: Any, description: str, total: int) -> Any:
        return items

    def say(self, message: str) -> None:
        self.lines.append(message)

    def status(self, message: str) -> None:
        pass


def row_of(epoch: int, dice: tuple[float | None, ...] = (0.5, None)) -> LogRow:
    return LogRow(epoch, 10 * epoch, 30.0 * epoch, 0.01 / epoch, 1 / epoch, dice, 3)


def run_of(folder: Path) -> LoggedRun:
    return LoggedRun(folder, "Dataset001_A  2d  fold 0", ("organ", "cost in $"), TrainConfig(), 9, total_seconds=100.0)


@pytest.fixture(autouse=True)
def _without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed here, the tests begin without it."""
    monkeypatch.setattr(run_log, "_installed", lambda: ())


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty picture takes no time."""
    monkeypatch.setattr(picture, "draw_progress", lambda path, run, rows: path.touch())


class Recorder:
    """A sink that keeps what it gets, and may fail at one of its methods."""

    name = "recorder"

    def __init__(self, fails_at: str = "", mends_itself: bool = False) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.fails_at = fails_at
        self.mends_itself = mends_itself

    def _note(self, method: str, value: Any) -> None:
        self.calls.append((method, value))
        if method == self.fails_at:
            raise OSError("no network")

    def start(self, run: LoggedRun, rows: Any) -> None:
        self._note("start", [row.epoch for row in rows])

    def row(self, row: LogRow) -> None:
        self._note("row", row.epoch)

    def picture(self, path: Path) -> None:
        self._note("picture", path.name)

    def close(self) -> None:
        self._note("close", None)


def with_sink(monkeypatch: pytest.MonkeyPatch, sink: Recorder) -> tuple[str, ...]:
    module = ModuleType("sink_of_a_test")
    module.make = lambda: sink  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sink_of_a_test", module)
    return ("sink_of_a_test:make",)


def test_every_row_reaches_table_picture_and_sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Recorder()
    log = RunLog(run_of(tmp_path), with_sink(monkeypatch, sink))
    for epoch in (1, 2):
        log.append(row_of(epoch))
    log.close()
    log.close()
    assert sink.calls == [("start", []), ("row", 1), ("row", 2), ("picture", "progress.png"), ("close", None)]
    with (tmp_path / "training_log.csv").open(newline="", encoding="utf-8") as file:
        assert [entry["epoch"] for entry in csv.DictReader(file)] == ["1", "2"]
    with Image.open(tmp_path / "progress.png") as drawn:
        assert drawn.size == (1155, 792)


def test_nothing_is_opened_before_there_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Recorder()
    log = RunLog(run_of(tmp_path), with_sink(monkeypatch, sink))
    log.truncate(3)
    log.close()
    assert sink.calls == []
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_goes_on_in_the_same_table_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[int]] = []
    monkeypatch.setattr(picture, "draw_progress", lambda path, run, rows: drawn.append([row.epoch for row in rows]))
    log = RunLog(run_of(tmp_path))
    for epoch in (1, 2, 3):
        log.append(row_of(epoch))
    sink = Recorder()
    resumed = RunLog(run_of(tmp_path), with_sink(monkeypatch, sink))
    resumed.truncate(2)
    resumed.append(row_of(3))
    assert drawn == [[1], [1, 2], [1, 2, 3], [1, 2, 3]]
    assert sink.calls == [("start", [1, 2]), ("row", 3)]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("fails_at", ["start", "row", "picture", "close"])
def test_a_sink_that_fails_is_told_once_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    sink, notes = Recorder(fails_at), Notes()
    log = RunLog(run_of(tmp_path), with_sink(monkeypatch, sink), notes)
    for epoch in (1, 2):
        log.append(row_of(epoch))
    log.close()
    assert notes.lines == [
        "logging to recorder failed, the run goes on without it: OSError: no network",
    ]
    assert sink.calls[-1][0] == fails_at
    assert sum(method == fails_at for method, _ in sink.calls) == 1


def test_a_full_disk_is_told_once_and_later_rows_bring_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    folder = tmp_path / "fold_0"
    folder.write_text("in the way of the folder")
    log = RunLog(run_of(folder), reporter=notes)
    log.append(row_of(1))
    log.append(row_of(2))
    assert [line.split(" failed")[0] for line in notes.lines] == [
        "logging to training_log.csv",
        "logging to progress.png",
    ]
    assert all("the next validation tries again" in line for line in notes.lines)
    folder.unlink()
    log.append(row_of(3))
    assert len((folder / "training_log.csv").read_text().splitlines()) == 4
    assert (folder / "progress.png").exists()
    assert len(notes.lines) == 2


@pytest.mark.usefixtures("undrawn")
def test_an_interruption_is_no_failure_of_a_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Recorder()
    monkeypatch.setattr(sink, "row", lambda row: (_ for _ in ()).throw(KeyboardInterrupt))
    log = RunLog(run_of(tmp_path), with_sink(monkeypatch, sink))
    with pytest.raises(KeyboardInterrupt):
        log.append(row_of(1))


# --- the picture ---


def test_scores_are_named_for_what_they_are(tmp_path: Path) -> None:
    run, row = run_of(tmp_path), row_of(1)
    assert dice_label(run, [row]) == "Dice on 3 rotating whole validation cases"
    assert dice_label(run, [replace(row, num_cases=1)]) == "Dice on 1 rotating whole validation case"
    assert dice_label(run, [row, replace(row, num_cases=5)]) == "Dice on 3-5 rotating whole validation cases"
    assert dice_label(replace(run, num_validation_cases=3), [row]) == "Dice on all 3 whole validation cases"
    assert dice_label(replace(run, num_validation_cases=0), [replace(row, num_cases=0)]) == "Dice: no validation cases"
    alone = replace(run, num_validation_cases=1)
    assert dice_label(alone, [replace(row, num_cases=1)]) == "Dice on the one validation case"


def test_means_run_over_the_known_values_by_hand() -> None:
    values = np.array([1.0, np.nan, 3.0, 5.0, np.nan, np.nan])
    found = picture._running_mean(values, 2)
    assert found[:5].tolist() == [1, 1, 3, 4, 5]
    assert np.isnan(found[5])
    assert picture._running_mean(values, 1)[2] == 3


def num_pixels_of(path: Path, colour: str) -> int:
    with Image.open(path) as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    return int((pixels == ImageColor.getrgb(colour)).all(axis=-1).sum())


@pytest.mark.parametrize("num_rows", [1, 2, 200])
def test_a_picture_shows_every_class_in_its_colour(tmp_path: Path, num_rows: int) -> None:
    run = replace(run_of(tmp_path), stages=(StageMark(0.5, (8, 8)), StageMark(1.0, (16, 16))))
    rows = [row_of(epoch + 1, (0.3, 0.6)) for epoch in range(num_rows)]
    draw_progress(tmp_path / "progress.png", run, rows)
    for index in (0, 1):
        assert num_pixels_of(tmp_path / "progress.png", class_colour(index)) > 40


def test_odd_runs_are_drawn(tmp_path: Path) -> None:
    path, run = tmp_path / "progress.png", run_of(tmp_path)
    draw_progress(path, run, [replace(row_of(1), class_dice=(None, None), loss=float("nan"))])
    draw_progress(path, replace(run, total_seconds=None, total_steps=1000), [row_of(1), row_of(2)])
    names = tuple(f"class {index}" for index in range(60))
    draw_progress(path, replace(run, class_names=names), [row_of(1, (0.5,) * 60)])
    draw_progress(path, run, [replace(row_of(1), elapsed_seconds=0.0, learning_rate=0.0)])
    assert [file.name for file in tmp_path.iterdir()] == ["progress.png"]


# --- other places ---


def test_an_unknown_logger_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"unknown logger 'wanb'. Did you mean 'wandb'\?"):
        RunLog(run_of(tmp_path), ("wanb",))


@pytest.mark.parametrize("name", sorted(LOGGERS))
def test_a_logger_that_is_not_installed_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in ("torch.utils.tensorboard", "wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RequestError, match=rf"pip install 'autounet\[{name}\]'"):
        RunLog(run_of(tmp_path), (name,))


class FakeTracker(ModuleType):
    """Stands in for `wandb` or `mlflow`: any call is noted, its result answers any further one."""

    def __init__(self, name: str, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> None:
        super().__init__(name)
        self.calls = calls
        self.id = self.run_id = self.experiment_id = "run-7"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "info":
            return self

        def call(*arguments: Any, **options: Any) -> FakeTracker:
            self.calls.append((name, arguments, options))
            return self

        return call


Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]


def tracked(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, *, resumed_at: int = 0) -> Calls:
    calls: Calls = []
    monkeypatch.setitem(sys.modules, name, FakeTracker(name, calls))
    notes = Notes()
    log = RunLog(run_of(folder), (name,), notes)
    log.truncate(resumed_at)
    log.append(row_of(resumed_at + 1))
    log.close()
    assert notes.lines == []
    return calls


@pytest.mark.usefixtures("undrawn")
def test_wandb_gets_configuration_figures_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tracked(monkeypatch, tmp_path, "wandb")
    assert [name for name, _, _ in calls] == ["init", "log", "Image", "log", "finish"]
    begun = calls[0][2]
    assert begun["config"]["num_epochs"] == 1000
    assert begun["name"] == "Dataset001_A  2d  fold 0"
    assert begun["id"] is None
    assert calls[1][2] == {"step": 10}
    assert calls[1][1][0] == {
        "loss": 1.0,
        "learning_rate": 0.01,
        "elapsed_seconds": 30.0,
        "validation_dice": 0.5,
        "validation_dice/organ": 0.5,
    }
    resumed = tracked(monkeypatch, tmp_path, "wandb", resumed_at=1)
    assert resumed[0][2]["id"] == "run-7"


@pytest.mark.usefixtures("undrawn")
def test_mlflow_gets_configuration_figures_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tracked(monkeypatch, tmp_path, "mlflow")
    names = [name for name, _, _ in calls]
    assert names[:3] == ["MlflowClient", "get_experiment_by_name", "create_run"]
    assert names[-2:] == ["log_artifact", "set_terminated"]
    assert ("log_param", ("run-7", "num_epochs", 1000), {}) in calls
    assert ("log_metric", ("run-7", "validation_dice/organ", 0.5), {"step": 10}) in calls
    resumed = tracked(monkeypatch, tmp_path, "mlflow", resumed_at=1)
    assert [name for name, _, _ in resumed][:2] == ["MlflowClient", "log_metric"]


@pytest.mark.usefixtures("undrawn")
def test_names_that_mlflow_refuses_are_written_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Calls = []
    monkeypatch.setitem(sys.modules, "mlflow", FakeTracker("mlflow", calls))
    log = RunLog(run_of(tmp_path), ("mlflow",))
    log.append(row_of(1, (None, 0.25)))
    assert ("log_metric", ("run-7", "validation_dice/cost in _", 0.25), {"step": 10}) in calls


@pytest.mark.usefixtures("undrawn")
def test_tensorboard_is_used_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Calls = []
    monkeypatch.setattr(run_log, "_installed", lambda: ("tensorboard",))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", FakeTracker("torch.utils.tensorboard", calls))
    log = RunLog(run_of(tmp_path), ("tensorboard",))
    log.append(row_of(1))
    log.close()
    assert [name for name, _, _ in calls] == ["SummaryWriter", "add_text", *["add_scalar"] * 5, "flush", "close"]
    assert calls[0][2] == {"purge_step": None}
    resumed = RunLog(run_of(tmp_path))
    resumed.truncate(1)
    resumed.append(row_of(2))
    assert [options for name, _, options in calls if name == "SummaryWriter"][-1] == {"purge_step": 11}


@pytest.mark.usefixtures("undrawn")
def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = RunLog(run_of(tmp_path), ("tensorboard",))
    for epoch in (1, 2, 3):
        log.append(row_of(epoch))
    resumed = RunLog(run_of(tmp_path), ("tensorboard",))
    resumed.truncate(2)
    resumed.append(row_of(3, (0.75, None)))
    resumed.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("validation_dice/organ")
    assert [(event.step, event.value) for event in scalars] == [(10, 0.5), (20, 0.5), (30, 0.75)]
    log.close()
