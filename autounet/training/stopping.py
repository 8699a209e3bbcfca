"""How a run is asked to end before its time: a signal, or a file named `stop` in its folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody asked for an end.

    Args:
        folder: A file `stop` in it is such a wish.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "stop"
        self._signal: str | None = None

    def reason(self) -> str | None:
        """Who asked, or `None`. Looking removes a stop file, so that the next run is not stopped too."""
        if self._signal is None and self._file.exists():
            self._file.unlink(missing_ok=True)
            self._signal = f"the file {self._file}"
        return self._signal

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch Ctrl-C and SIGTERM in this block; a second one ends the program as ever."""
        if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
            yield
            return
        before: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            signal.signal(number, before[number])

        for number in _SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
