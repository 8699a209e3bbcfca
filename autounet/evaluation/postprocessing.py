"""Which classes are kept in their largest component only, and doing so.

The rule is nnU-Net's (`postprocessing/remove_connected_components.py`): components are those of full connectivity, 26
neighbours in 3D and 8 in 2D; of several largest ones of the same size all stay; what is removed becomes background.
First the whole foreground is tried as one object, and taken if the foreground Dice rises and that of no class falls;
then, where there are several classes, each of them on top of that, and taken if its own Dice rises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from autounet.evaluation.tables import Table, class_means, foreground_mean
from autounet.geometry import Array
from autounet.labels import BACKGROUND, LabelSchema
from autounet.records import SCHEMA_VERSION, Record

FOREGROUND = "foreground"


class KeepLargest(Record):
    """Of the voxels of some values, all but the largest component become background.

    Attributes:
        name: The class, the region, or `foreground` for all of them as one object.
        values: Label values that make it up.
    """

    name: str
    values: tuple[int, ...]

    def apply(self, label: Array) -> Array:
        """The label map `(Z, Y, X)` without the smaller components; the same array where there are none."""
        mask = np.isin(label, self.values)
        (box,) = ndimage.find_objects(mask.view(np.uint8)) or [None]
        if box is None:
            return label
        # Numbering components costs far more than looking for the box that holds them.
        numbered, count = ndimage.label(mask[box], structure=np.ones((3,) * label.ndim))
        if count < 2:
            return label
        sizes = np.bincount(numbered.ravel())
        sizes[0] = 0
        removed = mask[box] & (sizes < sizes.max())[numbered]
        result = label.copy()
        result[box][removed] = BACKGROUND
        return result


class Postprocessing(Record):
    """What is done to a finished label map, in this order."""

    schema_version: Literal[1] = SCHEMA_VERSION
    steps: tuple[KeepLargest, ...] = ()

    def apply(self, label: Array) -> Array:
        """The label map `(Z, Y, X)` after all steps; the given one is not changed."""
        for step in self.steps:
            label = step.apply(label)
        return label

    def then(self, step: KeepLargest) -> Postprocessing:
        """The same with one step more."""
        return self.model_copy(update={"steps": (*self.steps, step)})


class StepTrial(Record):
    """What came of one step on predictions of cases that the networks had not seen.

    Attributes:
        step: The step.
        before: Mean Dice of what it is meant for (the class, or the foreground) without it.
        after: The same with it; `None` where no case has a score.
        accepted: Whether it is done from now on.
        reason: Why, in a sentence.
    """

    step: KeepLargest
    before: float | None
    after: float | None
    accepted: bool
    reason: str


# The Dice `(num_cases, num_classes)` after the steps taken so far, and after each of some further ones.
ScoreSteps = Callable[[Postprocessing, Sequence[KeepLargest]], tuple[Table, list[Table]]]


def decide_postprocessing(labels: LabelSchema, score: ScoreSteps) -> tuple[Postprocessing, tuple[StepTrial, ...]]:
    """Decide which steps help, as nnU-Net does.

    Args:
        labels: The classes.
        score: Scores the predictions of all cases after some steps, NaN where there is nothing to score; called with
            several steps at once where they do not touch each other's voxels, so that every case is read once for all
            of them.
    """
    taken = Postprocessing()
    trials: list[StepTrial] = []
    for steps in _rounds(labels):
        before, tables = score(taken, steps)
        for step, after in zip(steps, tables, strict=True):
            trial = _trial(labels, step, before, after)
            trials.append(trial)
            taken = taken.then(step) if trial.accepted else taken
    return taken, tuple(trials)


def _rounds(labels: LabelSchema) -> Iterator[list[KeepLargest]]:
    """The steps to try, those together that have no value in common: one does not change the scores of the other."""
    yield [KeepLargest(name=FOREGROUND, values=labels.foreground_values)]
    waiting: list[KeepLargest] = []
    for entry in labels.classes if labels.num_classes > 1 else ():
        if any(set(entry.values) & set(step.values) for step in waiting):
            yield waiting
            waiting = []
        waiting.append(KeepLargest(name=entry.name, values=entry.values))
    if waiting:
        yield waiting


def _trial(labels: LabelSchema, step: KeepLargest, before: Table, after: Table) -> StepTrial:
    if step.name == FOREGROUND and step.values == labels.foreground_values:
        values = foreground_mean(before), foreground_mean(after)
        worse = [
            name
            for name, old, new in zip(labels.class_names, class_means(before), class_means(after), strict=True)
            if new < old
        ]
    else:
        index = labels.class_names.index(step.name)
        values, worse = (float(class_means(before)[index]), float(class_means(after)[index])), []
    accepted = values[1] > values[0] and not worse
    if worse and values[1] > values[0]:
        reason = f"the Dice of {', '.join(worse)} would fall"
    else:
        reason = f"Dice {values[0]:.4f} without, {values[1]:.4f} with ({values[1] - values[0]:+.5f})"
    known = [None if np.isnan(value) else value for value in values]
    return StepTrial(step=step, before=known[0], after=known[1], accepted=accepted, reason=reason)
