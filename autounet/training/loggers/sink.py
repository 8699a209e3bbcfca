"""The interface between a training run and what logs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from autounet.training.log import LoggedRun, LogRow


class LogSink(Protocol):
    """Takes in the rows of a run. Whatever it raises does not end the run.

    Attributes:
        name: For messages.
        mends_itself: Every row writes everything anew, so that a failure is made good by the next one; any other sink
            is left out after its first failure.
    """

    name: str
    mends_itself: bool

    def start(self, run: LoggedRun, rows: Sequence[LogRow]) -> None:
        """Begin, or go on with a resumed run after the rows that it has."""

    def row(self, row: LogRow) -> None:
        """Take in a validation."""

    def picture(self, path: Path) -> None:
        """Take in the picture of the whole run, at its end."""

    def close(self) -> None:
        """Send what is left."""
