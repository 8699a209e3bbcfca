"""What became of every tensor of a network that starts from another one's weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import prod
from typing import Literal

from autounet.errors import some_of
from autounet.records import SCHEMA_VERSION, Record

_NAMES_SHOWN = 2


class TransferredTensor(Record):
    """One tensor of the new network.

    Attributes:
        name: In the network.
        shape: In the network.
        reason: What was done to it, or why nothing could be; empty where it is the source's as it was.
    """

    name: str
    shape: tuple[int, ...]
    reason: str = ""

    @property
    def num_parameters(self) -> int:
        """Numbers that it holds."""
        return prod(self.shape)


class TransferReport(Record):
    """Where the weights of a network come from.

    Attributes:
        source: The file.
        loaded: Taken over as they were.
        adapted: Taken over in part: the source has other channels or classes.
        new: Freshly initialised.
        unused: Tensors of the source without a place in the network.
        remarks: What to know before the scores are believed.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    source: str
    loaded: tuple[TransferredTensor, ...]
    adapted: tuple[TransferredTensor, ...]
    new: tuple[TransferredTensor, ...]
    unused: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def share_taken_over(self) -> float:
        """Parameters that are the source's, adapted ones included, of all of the network's, in [0, 1]."""
        taken, new = (
            sum(entry.num_parameters for entry in entries) for entries in (self.loaded + self.adapted, self.new)
        )
        return taken / (taken + new)

    def lines(self) -> Iterator[str]:
        """The report for people: a summary, then one line a reason."""
        counts = f"{len(self.loaded)} tensors loaded, {len(self.adapted)} adapted, {len(self.new)} new"
        yield f"starting from {self.source}: {counts}; {self.share_taken_over:.1%} of the parameters are its own"
        yield from _by_reason("adapted", self.adapted)
        yield from _by_reason("new", self.new)
        if self.unused:
            yield f"unused: {some_of(self.unused, _NAMES_SHOWN)}"
        yield from self.remarks


def _by_reason(verb: str, entries: Sequence[TransferredTensor]) -> Iterator[str]:
    ordered = sorted(entries, key=lambda entry: entry.reason)  # stable: names keep the network's order
    for reason, group in groupby(ordered, key=lambda entry: entry.reason):
        yield f"{verb}: {some_of([entry.name for entry in group], _NAMES_SHOWN)}: {reason}"
