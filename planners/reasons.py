"""A value together with the sentence that says why, and how numbers are written in such sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from autounet.plans import Decision

T = TypeVar("T")


@dataclass(frozen=True)
class Reasoned(Generic[T]):
    """A value that a rule derived.

    Attributes:
        value: The value.
        text: The value as a person reads it.
        reason: One sentence that cites the evidence.
    """

    value: T
    text: str
    reason: str

    def decision(self, name: str) -> Decision:
        """The record of it for the plan."""
        return Decision(name=name, value=self.text, reason=self.reason)


def number(value: float) -> str:
    """Four significant digits, whole numbers in full: `0.7676`, `1e-05`, `1234`."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.4g}"


def by_axis(values: Sequence[float]) -> str:
    """One number an axis: `36 x 50 x 35`."""
    return " x ".join(number(value) for value in values)


def millimetres(values: Sequence[float]) -> str:
    """One spacing an axis: `5 x 1.562 x 1.562 mm`."""
    return f"{by_axis(values)} mm"


def by_stage(stages: Sequence[Sequence[int]]) -> str:
    """One entry a stage: `1x1x1, 1x2x2, 2x2x2`."""
    return ", ".join("x".join(str(value) for value in stage) for stage in stages)


def millions(value: float) -> str:
    """`452.8 million`."""
    return f"{value / 1e6:.1f} million"


def gib(size_bytes: float) -> str:
    """GiB rounded up to hundredths, so that planning with that number succeeds."""
    return f"{math.ceil(size_bytes / 2**30 * 100) / 100:.2f}".rstrip("0").rstrip(".")


def listed(words: Sequence[str]) -> str:
    """`z`, `y and x`, or `z, y and x`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def counted(count: int, word: str) -> str:
    """`1 case`, `3 cases`."""
    return f"{count} {word}{'' if count == 1 else 's'}"
