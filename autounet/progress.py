"""How long work tells of itself. The library reports; only the command line draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


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
