"""How long work tells of itself. The library reports; only the command line draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


def duration(seconds: float) -> str:
    """A time that a person can read: `45 s`, `2 min 30 s`, `3 h 20 min`, `4 days`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 72:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours / 24:.0f} days"


class Reporter(Protocol):
    """What the stages call while they work."""

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Pass the items through, counting them in a progress bar."""

    def say(self, message: str) -> None:
        """Tell the user one line."""

    def status(self, message: str) -> None:
        """Replace the live line by this one."""


class Silent:
    """Reports nothing; the default for use from Python."""

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Pass the items through."""
        yield from items

    def say(self, message: str) -> None:
        """Say nothing."""

    def status(self, message: str) -> None:
        """Show nothing."""


SILENT: Reporter = Silent()
