"""Explicit registries: a name maps to a class or a function, nothing is searched for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from autounet.errors import RequestError
from autounet.records import nearest

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping from name to class or function.

    Entries are given as `module:attribute` and imported when first asked for, so that listing the names of the
    networks does not import torch. Other packages join through an entry point group of the registry's name, or
    by asking for `module:attribute` directly.

    Args:
        group: Entry point group, for example `autounet.networks`.
        kind: What an entry is, for error messages, for example `network`.
        entries: Name to `module:attribute`.
    """

    def __init__(self, group: str, kind: str, entries: Mapping[str, str]) -> None:
        self._group = group
        self._kind = kind
        self._entries = dict(entries)
        self._outside: dict[str, str] | None = None

    def __getitem__(self, name: str) -> T:
        if ":" in name:
            return cast(T, self._load(name))
        known = self._all_entries()
        if name not in known:
            raise KeyError(name)
        return cast(T, self._load(known[name]))

    def find(self, name: str) -> T:
        """The entry of that name.

        Raises:
            RequestError: No such entry; the message lists all names and the nearest one.
        """
        try:
            return self[name]
        except KeyError:
            names = sorted(self)
            raise RequestError(
                f"unknown {self._kind} '{name}'.{nearest(name, names)} Known: {', '.join(names)}."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._all_entries())

    def __len__(self) -> int:
        return len(self._all_entries())

    def _all_entries(self) -> dict[str, str]:
        # Asking every installed package for its entry points takes milliseconds, and readers are looked up per file.
        if self._outside is None:
            self._outside = {point.name: point.value for point in entry_points(group=self._group)}
        return self._outside | self._entries

    def _load(self, target: str) -> Any:
        module, _, attribute = target.partition(":")
        if not module or module.startswith(".") or not attribute:
            raise RequestError(f"{self._kind} '{target}' is no place to import from: write 'package.module:Name'")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise RequestError(f"{self._kind} '{target}' cannot be imported: {error}") from error


def split_choice(text: str, kind: str) -> tuple[str, dict[str, str]]:
    """`NAME` or `NAME,key=value,...` as the name and what is written of each key.

    Args:
        text: As typed.
        kind: What is chosen, for the error message.

    Raises:
        RequestError: Something is no `key=value`.
    """
    name, *pairs = (part.strip() for part in text.split(","))
    written = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise RequestError(f"'{pair}' is no option of the {kind} '{name}': write {name},key=value")
        written[key] = value
    return name, written
