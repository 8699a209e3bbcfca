"""The log of a run: table and picture always, and other places where they are asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from autounet.progress import SILENT, Reporter
from autounet.training.log import LoggedRun, LogRow, TrainingLog
from autounet.training.loggers import LOGGERS
from autounet.training.loggers.picture import ProgressPicture
from autounet.training.loggers.sink import LogSink

_TABLE = "training_log.csv"


class RunLog:
    """Hands every row to the table, the picture and the other sinks, none of which can end the run.

    Sinks begin with the first row, so that a run that is resumed has told which rows it keeps.

    Args:
        run: What is logged.
        loggers: Names of `LOGGERS`; TensorBoard is used without being named where it is installed.
        reporter: Is told, once a sink, that it failed.

    Raises:
        RequestError: A logger is unknown or not installed.
    """

    def __init__(self, run: LoggedRun, loggers: Sequence[str] = (), reporter: Reporter = SILENT) -> None:
        self._run = run
        self._reporter = reporter
        self._table = TrainingLog(run.folder / _TABLE)
        self._picture = ProgressPicture()
        names = dict.fromkeys((*loggers, *_installed()))
        self._sinks: list[LogSink] = [self._picture, *(LOGGERS.find(name)() for name in names)]
        self._has_begun = False
        self._told: set[str] = set()

    def truncate(self, num_rows: int) -> None:
        """Go on after the first rows of the table, as many as the checkpoint knows of."""
        self._attempt(_TABLE, True, lambda: self._table.truncate(num_rows))

    def append(self, row: LogRow) -> None:
        """Log a validation."""
        if not self._has_begun:
            earlier = self._table.rows
            self._each(lambda sink: sink.start(self._run, earlier))
            self._has_begun = True
        self._attempt(_TABLE, True, lambda: self._table.append(row))
        self._each(lambda sink: sink.row(row))

    def close(self) -> None:
        """End all sinks; further calls do nothing."""
        if self._has_begun:
            path = self._picture.path
            if path.exists():
                self._each(lambda sink: sink.picture(path))
            self._each(lambda sink: sink.close())
        self._sinks, self._has_begun = [], False

    def _each(self, action: Callable[[LogSink], None]) -> None:
        self._sinks = [
            sink
            for sink in self._sinks
            if self._attempt(sink.name, sink.mends_itself, lambda sink=sink: action(sink)) or sink.mends_itself  # type: ignore[misc]
        ]

    def _attempt(self, name: str, mends_itself: bool, action: Callable[[], None]) -> bool:
        """Whether it went well; if not, that is told, once."""
        try:
            action()
        except Exception as error:  # a full disk, a lost network, or whatever goes wrong in a foreign package
            if name not in self._told:
                self._told.add(name)
                what_now = "the next validation tries again" if mends_itself else "the run goes on without it"
                self._reporter.say(f"logging to {name} failed, {what_now}: {type(error).__name__}: {error}")
            return False
        return True


def _installed() -> tuple[str, ...]:
    return ("tensorboard",) if importlib.util.find_spec("tensorboard") else ()
