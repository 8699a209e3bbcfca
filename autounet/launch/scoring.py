"""Scores of out-of-fold predictions, one case at a time in many processes: of models, ensembles, thresholds, steps.

Whatever is scored of a case, its files are read once, and probabilities slab by slab.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autounet.data.io import read_label
from autounet.errors import RequestError
from autounet.evaluation.overlap import Confusion, confusion, score_confusion
from autounet.evaluation.postprocessing import KeepLargest, Postprocessing
from autounet.evaluation.tables import Table, dice_row
from autounet.evaluation.thresholds import GRID, Thresholds
from autounet.geometry import Array
from autounet.inference.ensemble import average_label, mean_of, member_slabs, open_members
from autounet.inference.export import label_of_probabilities
from autounet.inference.raw_frame import Floats
from autounet.labels import LabelSchema

# Probabilities of a case that are held at a time; several processes hold as much each.
_SLAB_BYTES = 96 * 2**20


@dataclass(frozen=True)
class CaseFiles:
    """Where everything of a case lies.

    Attributes:
        case: Its name.
        reference: Its label file.
        annotated: Classes that were annotated in it; `None` for all.
        masks: Of each model.
        probabilities: Records of each model's probabilities; empty where none are needed.
    """

    case: str
    reference: Path
    annotated: tuple[str, ...] | None
    masks: tuple[Path, ...]
    probabilities: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is read."""
        return (self.reference, *self.masks, *(path.with_suffix(".b2nd") for path in self.probabilities))

    def of(self, members: Sequence[int]) -> CaseFiles:
        """The same of some models only."""
        probabilities = tuple(self.probabilities[member] for member in members) if self.probabilities else ()
        masks = tuple(self.masks[member] for member in members)
        return CaseFiles(self.case, self.reference, self.annotated, masks, probabilities)

    def prediction(self, labels: LabelSchema, thresholds: Thresholds | None = None) -> Array:
        """The label map `(Z, Y, X)` of all its models together."""
        if len(self.masks) == 1 and thresholds is None:
            return read_label(self.masks[0])[0]
        offsets = None if thresholds is None else thresholds.offsets(labels)
        return average_label(open_members(self.probabilities), offsets=offsets)

    def row(self, pairs: Confusion, labels: LabelSchema) -> Table:
        """Dice of each class."""
        return dice_row(score_confusion(pairs, labels, self.annotated), labels.class_names)


def score_members(files: CaseFiles, labels: LabelSchema, candidates: Sequence[Sequence[int]]) -> Table:
    """Dice `(num_candidates, num_classes)` of models, and of the mean of several, told by their places.

    Raises:
        RequestError: A prediction is not of the case.
    """
    reference = read_label(files.reference)[0]
    rows = {}
    for members in candidates:
        if len(members) == 1:
            mask = read_label(files.masks[members[0]])[0]
            _require_same_shape(mask.shape, reference, files.masks[members[0]])
            rows[tuple(members)] = files.row(confusion(reference, mask), labels)
    several = [tuple(members) for members in candidates if len(members) > 1]
    if several:
        opened = open_members(files.probabilities)
        _require_same_shape(opened[0].record.shape, reference, files.probabilities[0])
        maps = {members: np.empty(reference.shape, dtype=labels.dtype) for members in several}
        for start, slabs in member_slabs(opened, _SLAB_BYTES // len(opened)):
            for members, label in maps.items():
                mean = mean_of([slabs[member] for member in members])
                label[start : start + mean.shape[1]] = label_of_probabilities(mean, labels)
        rows |= {members: files.row(confusion(reference, label), labels) for members, label in maps.items()}
    return np.stack([rows[tuple(members)] for members in candidates])


def score_thresholds(files: CaseFiles, labels: LabelSchema) -> npt.NDArray[np.float64]:
    """Dice where the threshold of one class or region is changed and the others stay at one half.

    Returns:
        `(num_foreground_outputs, num_grid, num_classes)`, outputs as `labels.output_names` has them.
    """
    reference = read_label(files.reference)[0]
    names = tuple(name for name in labels.output_names if name in labels.class_names)
    counts = _ThresholdCounts(labels, names)
    members = open_members(files.probabilities)
    _require_same_shape(members[0].record.shape, reference, files.probabilities[0])
    for start, slabs in member_slabs(members, _SLAB_BYTES // len(members)):
        mean = mean_of(slabs)
        counts.add(mean, reference[start : start + mean.shape[1]])
    return np.array([[files.row(counts.pairs(k, b), labels) for b in range(len(GRID))] for k in range(len(names))])


@dataclass(frozen=True)
class Finishing:
    """What is tried on a case's prediction.

    Attributes:
        files: Of the case, of the chosen models only.
        thresholds: Chosen on other cases; `None` for one half.
        taken: Steps that are done already.
        steps: Each of which is tried on top of these.
    """

    files: CaseFiles
    thresholds: Thresholds | None
    taken: Postprocessing = field(default_factory=Postprocessing)
    steps: tuple[KeepLargest, ...] = ()


def score_finishing(work: Finishing, labels: LabelSchema) -> Table:
    """Dice `(1 + num_steps, num_classes)`: as it is, and after each of the steps."""
    reference = read_label(work.files.reference)[0]
    before = work.taken.apply(work.files.prediction(labels, work.thresholds))
    maps = [before, *(step.apply(before) for step in work.steps)]
    known = work.files.row(confusion(reference, before), labels)
    return np.stack([known if map_ is before else work.files.row(confusion(reference, map_), labels) for map_ in maps])


class _ThresholdCounts:
    """Counts of reference and predicted values at every threshold of every output.

    Nearly all voxels are of the same class at any threshold of the grid. They are counted once, the others anew.
    """

    def __init__(self, labels: LabelSchema, names: Sequence[str]) -> None:
        self._labels = labels
        self._values = np.array(labels.declared_values, dtype=np.int64)
        self._offsets = [[Thresholds(values={name: value}).offsets(labels) for value in GRID] for name in names]
        size = len(self._values)
        self._usual = np.zeros((size, size), dtype=np.int64)
        self._changes = np.zeros((len(names), len(GRID), size, size), dtype=np.int64)
        self._mildest, self._strictest = GRID.index(min(GRID)), GRID.index(max(GRID))

    def add(self, probabilities: Floats, reference: Array) -> None:
        """Count some slices: `(K, n, Y, X)` and `(n, Y, X)`."""
        self._usual += self._count(reference, label_of_probabilities(probabilities, self._labels))
        open_ = _undecided(probabilities, self._labels)
        probabilities, reference = probabilities[:, open_], reference[open_]
        for offsets, changes in zip(self._offsets, self._changes, strict=True):
            some, most = (self._label(probabilities, offsets[at]) for at in (self._strictest, self._mildest))
            moving = some != most
            shares, truth = probabilities[:, moving], reference[moving]
            usual = self._count(truth, label_of_probabilities(shares, self._labels))
            for change, offset in zip(changes, offsets, strict=True):
                change += self._count(truth, self._label(shares, offset)) - usual

    def pairs(self, name: int, threshold: int) -> Confusion:
        """The counts with one threshold changed."""
        return Confusion(values=self._values, matrix=self._usual + self._changes[name, threshold])

    def _label(self, probabilities: Floats, offset: Floats) -> Array:
        return label_of_probabilities(probabilities, self._labels, offset)

    def _count(self, reference: Array, label: Array) -> npt.NDArray[np.int64]:
        size = len(self._values)
        rows, columns = (np.searchsorted(self._values, array.ravel()) for array in (reference, label))
        return np.bincount(rows * size + columns, minlength=size**2).reshape(size, size)


def _undecided(probabilities: Floats, labels: LabelSchema) -> npt.NDArray[np.bool_]:
    """Where some threshold of the grid may change the class."""
    if labels.has_regions:
        return np.asarray(((probabilities >= min(GRID)) & (probabilities <= max(GRID))).any(axis=0))
    least = probabilities.max(axis=0) * np.float32(min(GRID) / max(GRID))  # odds change by their ratio at most
    return np.asarray((probabilities >= least).sum(axis=0) > 1)


def _require_same_shape(shape: tuple[int, ...], reference: Array, path: Path) -> None:
    if shape != reference.shape:
        raise RequestError(
            f"{path} has {shape} voxels (z, y, x), but the case's label {reference.shape}. The raw data changed since "
            "it was predicted; train again, or remove the file to have the case predicted anew."
        )
