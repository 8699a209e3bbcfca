"""Left and right classes: paired by their names, and confirmed by where they lie in the training cases.

Names alone do not do: a heart's left and right ventricle are no mirror images of each other, and `l` may mean anything.
Swapping their labels in a mirrored sample would teach what no patient has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from autounet.data.description import DatasetDescription
from autounet.fingerprint import CaseFingerprint
from autounet.geometry import ORIENTED_ENDINGS, Shape3
from autounet.labels import LabelClass
from autounet.laterality import Laterality, side_pairs, swapped_values
from autounet.planners.reasons import counted, listed
from autounet.planners.spacing import AXES
from autounet.plans import Decision

_NAME = "laterality"
_MIN_CASES = 3
# Share of the cases in which the left class must lie on the same side of the right one: for a swap, and to mean
# sides at all.
_CONFIRMING, _MAJORITY = 0.9, 0.75
# Paired organs lie across from each other: so much of the distance between their centres is along the left-right axis.
# Between the ventricles of a heart it is about two thirds.
_MIN_COSINE = 0.8
# Nor does one of a pair have more than twice the volume of the other, in the median case.
_MAX_VOLUME_RATIO = 2.0


class _Verdict(Enum):
    """What the places of a pair say."""

    CONFIRMED = "mirror images of each other"
    UNSEEN = "too few cases to tell"
    SIDELESS = "no sides"
    DOUBTFUL = "sides, but no mirror images"


@dataclass(frozen=True)
class _Evidence:
    """A pair by name, what its places say, and the clause that says why."""

    pair: tuple[LabelClass, LabelClass]
    verdict: _Verdict
    why: str


@dataclass(frozen=True)
class Sides:
    """What a plan says of left and right; both empty where no names pair."""

    laterality: Laterality | None = None
    decisions: tuple[Decision, ...] = ()


def plan_laterality(cases: Sequence[CaseFingerprint], description: DatasetDescription, order: Shape3) -> Sides:
    """Find the left and right classes and the axis along which a flip exchanges them.

    Args:
        cases: With the places of the classes, as measured.
        description: Names the classes.
        order: The plan's `transpose_forward`.
    """
    pairs = side_pairs(description.labels.classes)
    if not pairs:
        return Sides()
    oriented = description.file_ending.lower() in ORIENTED_ENDINGS
    evidence = [_judged(pair, cases) for pair in pairs]
    sided = [entry for entry in evidence if entry.verdict is not _Verdict.SIDELESS]
    whys = "; ".join(entry.why for entry in evidence)
    if not sided:
        reason = f"{whys}; so mirrors leave these labels as they are"
        return Sides(None, (Decision(name=_NAME, value="none", reason=reason),))
    axis, axis_why = _axis(cases, oriented=oriented)
    if axis is None:
        reason = f"{axis_why}, so no axis is mirrored. {whys}"
        undecided = Laterality(axis=None, pairs=(), confirmed=False)
        return Sides(undecided, (Decision(name=_NAME, value="no mirrors", reason=reason),))
    values = swapped_values(description.labels, [entry.pair for entry in sided])
    verdicts = {entry.verdict for entry in sided}
    # One pair that is confirmed vouches for the names of those that are hardly seen.
    confirmed = bool(values) and _Verdict.CONFIRMED in verdicts and _Verdict.DOUBTFUL not in verdicts
    laterality = Laterality(axis=order.index(axis), pairs=values or (), confirmed=confirmed)
    if values is None:
        whys += "; but no exchange of label values turns the regions of one side into those of the other"
    names = listed([f"{left.name} and {right.name}" for left, right in (entry.pair for entry in sided)])
    value = f"a flip along {AXES[axis]} swaps {names}" if confirmed else f"{AXES[axis]} is not mirrored"
    alternatives = ("--laterality no_flip: train without that flip",) if confirmed else ()
    ignoring = "--laterality ignore: flip, and leave the labels, as nnU-Net does"
    reason = f"{axis_why}; {whys}{_stored_both_ways(cases, oriented=oriented)}"
    return Sides(
        laterality, (Decision(name=_NAME, value=value, reason=reason, alternatives=(*alternatives, ignoring)),)
    )


def _judged(pair: tuple[LabelClass, LabelClass], cases: Sequence[CaseFingerprint]) -> _Evidence:
    """Whether one class lies on one side of the other, straight across, and is as large."""
    left, right = (entry.name for entry in pair)
    names = f"{left} and {right}"
    both = [case for case in cases if left in case.places_mm and right in case.places_mm]
    if len(both) < _MIN_CASES:
        why = f"{names} pair by name, but only {counted(len(both), 'case')} show both"
        return _Evidence(pair, _Verdict.UNSEEN, why)
    ways = np.array([np.subtract(case.places_mm[left], case.places_mm[right]) for case in both])
    num_same = max(int((ways[:, 0] > 0).sum()), int((ways[:, 0] < 0).sum()))
    seen = f"in {num_same} of {counted(len(both), 'case')} {left} lies on the same side of {right}"
    if num_same < _MAJORITY * len(both):
        return _Evidence(pair, _Verdict.SIDELESS, f"{names} pair by name but not by place: only {seen}")
    if num_same < _CONFIRMING * len(both):
        return _Evidence(pair, _Verdict.DOUBTFUL, f"{seen}, which is not nearly all (see autounet check)")
    lengths = np.linalg.norm(ways, axis=1)
    cosine = float(np.median(np.abs(ways[:, 0]) / np.where(lengths > 0, lengths, 1)))
    if cosine < _MIN_COSINE:
        why = f"{seen}, but only {cosine:.0%} of the way between them is along that axis: no mirror images"
        return _Evidence(pair, _Verdict.DOUBTFUL, why)
    ratio = float(np.median([case.num_voxels[left] / case.num_voxels[right] for case in both]))
    if not 1 / _MAX_VOLUME_RATIO <= ratio <= _MAX_VOLUME_RATIO:
        why = f"{seen}, but it has {ratio:.2g} times its volume: no mirror images"
        return _Evidence(pair, _Verdict.DOUBTFUL, why)
    return _Evidence(
        pair,
        _Verdict.CONFIRMED,
        f"{seen}, {cosine:.0%} of the way between them along that axis, and has {ratio:.2g} times its volume",
    )


def _axis(cases: Sequence[CaseFingerprint], *, oriented: bool) -> tuple[int | None, str]:
    """The images' left-right axis, and the clause that says why; `None` where they differ in it."""
    counts = Counter(case.left_right_axis for case in cases if case.left_right_axis is not None)
    if not oriented or not counts:
        return 2, "the files do not tell where left is, so x is taken for the left-right axis"
    if len(counts) > 1:
        stored = listed([f"{AXES[axis]} in {counted(count, 'case')}" for axis, count in counts.most_common()])
        return None, f"the images are stored in different orientations: the left-right axis is {stored}"
    (axis,) = counts
    return axis, f"{AXES[axis]} is the left-right axis by the orientation of the images"


def _stored_both_ways(cases: Sequence[CaseFingerprint], *, oriented: bool) -> str:
    """A warning where the place in the array does not tell the side."""
    num_to_left = sum(case.grows_to_left for case in cases)
    if not oriented or num_to_left in (0, len(cases)):
        return ""
    return (
        f"; {num_to_left} of {counted(len(cases), 'image')} are stored from right to left and the others from left to "
        f"right, so that a network cannot tell the sides by place: reorient them to one way"
    )
