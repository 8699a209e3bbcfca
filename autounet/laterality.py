"""Left and right: which classes are each other's mirror image, and what a mirrored sample then means.

A flip along the left-right axis turns a left organ into what looks like a right one. Its label must follow (`swap`), or
that axis must not be flipped (`no_flip`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Literal

from pydantic import Field, model_validator

from autounet.labels import LabelClass, LabelSchema
from autounet.records import Record

LateralityMode = Literal["swap", "no_flip", "ignore"]
ValuePairs = tuple[tuple[int, int], ...]

_LEFT, _RIGHT = {"left", "l", "lh", "lt"}, {"right", "r", "rh", "rt"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


class Laterality(Record):
    """What a plan knows of left and right; a dataset without such classes has none.

    Attributes:
        axis: The left-right axis, in the plan's axis order; `None` where the cases differ in it.
        pairs: Label values `(left, right)` that a flip along the axis swaps.
        confirmed: Whether the places of the classes bear out what their names say; only then are labels swapped.
    """

    axis: int | None = Field(None, ge=0, le=2)
    pairs: ValuePairs
    confirmed: bool

    @model_validator(mode="after")
    def _sound(self) -> Laterality:
        values = [value for pair in self.pairs for value in pair]
        if len(set(values)) < len(values):
            raise ValueError(f"pairs {self.pairs} name a label value twice")
        if self.confirmed and (self.axis is None or not self.pairs):
            raise ValueError("laterality can be confirmed only with an axis and pairs")
        return self


class Mirroring(Record):
    """How patches of a configuration are mirrored.

    Attributes:
        axes: Spatial axes of the patch that are mirrored.
        side_axis: The patch's left-right axis, where left and right classes are to be kept apart; else `None`.
        pairs: Label values that a flip along `side_axis` swaps; empty where that axis is not mirrored.
    """

    axes: tuple[int, ...]
    side_axis: int | None = None
    pairs: ValuePairs = ()

    @property
    def swap_axis(self) -> int | None:
        """The axis along which a flip swaps labels."""
        return self.side_axis if self.pairs and self.side_axis in self.axes else None


def mirroring(
    laterality: Laterality | None, mode: LateralityMode, axes: Sequence[int], num_spatial_dims: int
) -> Mirroring:
    """What of the mirrors of a policy is used, and what they do to labels.

    Applied to its own result's axes, it changes nothing more.

    Args:
        laterality: The plan's.
        mode: `swap` the labels where that is confirmed, and do not flip the axis where not; `no_flip` it ever; or
            `ignore` that left and right are different things, as nnU-Net does.
        axes: Spatial axes of the patch that the policy mirrors.
        num_spatial_dims: Of the patch. One of two axes lies in the plan's last two.
    """
    if laterality is None or mode == "ignore":
        return Mirroring(axes=tuple(axes))
    if laterality.axis is None:
        # Any axis may be left-right in some case.
        return Mirroring(axes=())
    axis = laterality.axis - (3 - num_spatial_dims)
    if axis < 0:  # left and right lie in different slices
        return Mirroring(axes=tuple(axes))
    if mode == "swap" and laterality.confirmed:
        return Mirroring(axes=tuple(axes), side_axis=axis, pairs=laterality.pairs)
    return Mirroring(axes=tuple(other for other in axes if other != axis), side_axis=axis)


def side_pairs(classes: Sequence[LabelClass]) -> list[tuple[LabelClass, LabelClass]]:
    """Pairs of a left and a right class whose names differ in the side alone."""
    left, right = (_by_rest_of_name(classes, side) for side in (_LEFT, _RIGHT))
    return [(entries[0], right[rest][0]) for rest, entries in left.items() if len(entries) == len(right[rest]) == 1]


def swapped_values(labels: LabelSchema, pairs: Sequence[tuple[LabelClass, LabelClass]]) -> ValuePairs | None:
    """Label values `(left, right)` to swap, so that of each pair of classes one becomes the other and the rest stay.

    A value is known by the classes that it belongs to. With regions, its partner is the one that belongs to the
    partners of those.

    Returns:
        The pairs; `None` where no exchange of values maps the classes onto each other.
    """
    names = [entry.name for entry in labels.classes]
    partner = {index: index for index in range(len(names))}
    for left, right in pairs:
        first, second = names.index(left.name), names.index(right.name)
        partner[first], partner[second] = second, first
    groups: dict[frozenset[int], list[int]] = defaultdict(list)
    for value in sorted({value for entry in labels.classes for value in entry.values}):
        groups[frozenset(index for index, entry in enumerate(labels.classes) if value in entry.values)].append(value)
    found: dict[int, int] = {}
    for members, values in groups.items():
        others = groups.get(frozenset(partner[index] for index in members), [])
        if len(others) != len(values):
            return None
        found |= dict(zip(values, others, strict=True))
    lefts = {value for left, _ in pairs for value in left.values}
    chosen: list[tuple[int, int]] = []
    for value in sorted(lefts):
        if found[value] != value and (found[value], value) not in chosen:
            chosen.append((value, found[value]))
    return tuple(chosen)


def is_one_sided(labels: LabelSchema, pairs: ValuePairs, annotated: Collection[str]) -> bool:
    """Whether of some pair one class was annotated and the other was not: swapped, their labels would be wrong."""
    known = {value for entry in labels.classes if entry.name in annotated for value in entry.values}
    return any((left in known) != (right in known) for left, right in pairs)


def swapped_channels(labels: LabelSchema, pairs: ValuePairs) -> tuple[int, ...]:
    """Which of a network's output channels takes the place of each, where label values are swapped.

    Raises:
        ValueError: The pairs do not map the classes onto each other.
    """
    other = {value: partner for left, right in pairs for value, partner in ((left, right), (right, left))}
    unknown = sorted(set(other) - set(labels.declared_values))
    if unknown:
        raise ValueError(f"the pairs of left and right labels hold {unknown}, which no class has")
    if labels.has_regions:
        before = [frozenset(entry.values) for entry in labels.classes]
    else:
        before = [frozenset((value,)) for value in labels.output_values]
    after = [frozenset(other.get(value, value) for value in values) for values in before]
    if set(after) != set(before):
        raise ValueError(f"the pairs of left and right labels {pairs} do not map the classes onto each other")
    return tuple(before.index(values) for values in after)


def _by_rest_of_name(classes: Sequence[LabelClass], side: set[str]) -> defaultdict[tuple[str, ...], list[LabelClass]]:
    """The classes of a side by what is left of their names without it."""
    found: defaultdict[tuple[str, ...], list[LabelClass]] = defaultdict(list)
    for entry in classes:
        rest = _without_side(entry.name, side)
        if rest != tuple(_words(entry.name)):
            found[rest].append(entry)
    return found


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _without_side(name: str, side: set[str]) -> tuple[str, ...]:
    """The words of a name with the one that tells the side marked, so that its partner's are the same."""
    words = _words(name)
    for index, word in enumerate(words):
        if word in side:
            return (*words[:index], "*", *words[index + 1 :])
    long = max(side, key=len)  # leftlung, lungright
    for index, word in enumerate(words):
        if word.startswith(long) or word.endswith(long):
            return (*words[:index], word.replace(long, "*"), *words[index + 1 :])
    return tuple(words)
