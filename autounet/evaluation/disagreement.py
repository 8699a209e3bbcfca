"""How a case's labels and a prediction of them disagree: how much, where, and of which kind.

A network that has not seen a case is right about most of its voxels, and wrong along edges. An error in a label looks
otherwise: it is thick, it moves the whole object, or it calls the object by another class's name. Each is measured.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.evaluation.overlap import ClassScore, Confusion, confusion, score_confusion
from autounet.geometry import Array, Box, Triple, bounding_box
from autounet.labels import LabelSchema
from autounet.records import Record

Mask = npt.NDArray[np.bool_]
Place = tuple[int, int, int]


class Disagreement(Record):
    """One class of one case.

    Attributes:
        dice: Of label and prediction.
        depth_mm: Radius of the largest ball in which they disagree throughout; edges are shallow, errors are deep.
        place: Centre of that ball, as index `(z, y, x)`.
        volume_mm3: Of the connected disagreement about it.
        in_label: Whether it is the label, and not the prediction, that shows the class there.
        offset_mm: From the prediction's centre to the label's `(z, y, x)`; `None` where one of them lacks the class.
        aligned_dice: Dice once the label is moved by it, to whole voxels.
        confused_share: Of the voxels of the class in either, those that the other gives to another class.
        confused_with: The class that most of these are given to; `None` where there are none.
        num_reference: Voxels of the class in the label.
        num_predicted: Voxels of the class in the prediction.
    """

    dice: float
    depth_mm: float
    place: Place
    volume_mm3: float
    in_label: bool
    offset_mm: Triple | None
    aligned_dice: float | None
    confused_share: float
    confused_with: str | None
    num_reference: int
    num_predicted: int

    @property
    def distance_mm(self) -> float | None:
        """How far apart the centres are."""
        return None if self.offset_mm is None else float(np.linalg.norm(self.offset_mm))


def measure_disagreement(
    reference: Array,
    prediction: Array,
    labels: LabelSchema,
    spacing_mm: Triple,
    annotated_classes: Collection[str] | None = None,
) -> dict[str, Disagreement]:
    """Measure every class of a case.

    Args:
        reference: `(Z, Y, X)` label values; voxels of the schema's ignore value do not count.
        prediction: `(Z, Y, X)` label values, by a network that has not seen the case.
        labels: What the values mean.
        spacing_mm: Voxel size `(z, y, x)`.
        annotated_classes: Classes that were annotated in the case; `None` for all.

    Returns:
        Class name to what was found; classes that neither shows, and that nobody annotated, are left out.

    Raises:
        RequestError: The shapes differ.
    """
    pairs = confusion(reference, prediction)
    scores = score_confusion(pairs, labels, annotated_classes)
    counted = labels.annotated_mask(reference)
    found = {}
    for index, name in enumerate(labels.class_names):
        if name not in scores or scores[name].dice is None:
            continue
        masks = [labels.class_mask(side, index) for side in (reference, prediction)]
        if counted is not None:
            masks = [mask & counted for mask in masks]
        share, other = _confused(pairs, labels, index)
        found[name] = _of_class(masks[0], masks[1], scores[name], spacing_mm, share, other)
    return found


def _of_class(
    reference: Mask, prediction: Mask, score: ClassScore, spacing_mm: Triple, share: float, other: str | None
) -> Disagreement:
    """Measure one class, in the part of the image that shows it: all else is background to both."""
    box = _rimmed(bounding_box(reference | prediction), reference.shape)
    in_label, predicted = reference[box.slices], prediction[box.slices]
    differs = in_label ^ predicted
    depth, place, num_voxels = _deepest(differs, spacing_mm)
    offset = _offset(in_label, predicted)
    assert score.dice is not None
    return Disagreement(
        dice=score.dice,
        depth_mm=depth,
        place=(place[0] + box.start[0], place[1] + box.start[1], place[2] + box.start[2]),
        volume_mm3=num_voxels * float(np.prod(spacing_mm)),
        in_label=bool(in_label[place]),
        offset_mm=None if offset is None else _scaled(offset, spacing_mm),
        aligned_dice=None if offset is None else _aligned_dice(in_label, predicted, offset),
        confused_share=share,
        confused_with=other,
        num_reference=score.num_reference,
        num_predicted=score.num_predicted,
    )


def _rimmed(box: Box, shape: tuple[int, ...]) -> Box:
    """A box with one voxel more on every side where the image has one: there both say background."""
    return Box(
        start=tuple(max(0, start - 1) for start in box.start),
        stop=tuple(min(size, stop + 1) for stop, size in zip(box.stop, shape, strict=True)),
    )


def _deepest(differs: Mask, spacing_mm: Triple) -> tuple[float, Place, int]:
    """Depth in mm and place of the deepest disagreement, and the voxels that are connected to it; zeros for none.

    Of several that are as deep, the one that most voxels are connected to.
    """
    if not differs.any():
        return 0.0, (0, 0, 0), 0
    if differs.all():  # to the ends of the image: nothing is left to measure a distance to
        lengths = [size * step for size, step in zip(differs.shape, spacing_mm, strict=True) if size > 1]
        z, y, x = (size // 2 for size in differs.shape)
        return min(lengths, default=min(spacing_mm)) / 2, (z, y, x), differs.size
    distances = ndimage.distance_transform_edt(differs, sampling=spacing_mm)
    components, _ = ndimage.label(differs)
    sizes = np.bincount(components.ravel())
    deepest = np.argwhere(distances == distances.max())
    sizes_there = sizes[components[tuple(deepest.T)]]
    z, y, x = deepest[int(sizes_there.argmax())].tolist()
    return float(distances.max()), (z, y, x), int(sizes_there.max())


def _offset(reference: Mask, prediction: Mask) -> Triple | None:
    """From the centre of the prediction to that of the label, in voxels."""
    if not (reference.any() and prediction.any()):
        return None
    z, y, x = (np.argwhere(reference).mean(axis=0) - np.argwhere(prediction).mean(axis=0)).tolist()
    return z, y, x


def _scaled(offset: Triple, spacing_mm: Triple) -> Triple:
    return offset[0] * spacing_mm[0], offset[1] * spacing_mm[1], offset[2] * spacing_mm[2]


def _aligned_dice(reference: Mask, prediction: Mask, offset: Triple) -> float:
    """Dice of the prediction and the label moved back by the offset."""
    places = np.argwhere(reference) - np.rint(offset).astype(np.intp)
    inside = places[((places >= 0) & (places < reference.shape)).all(axis=1)]
    return 2 * int(prediction[tuple(inside.T)].sum()) / (len(places) + int(prediction.sum()))


def _confused(pairs: Confusion, labels: LabelSchema, index: int) -> tuple[float, str | None]:
    """Share of a class's voxels, in either map, that the other map gives to another class, and to which the most.

    Regions overlap by intent, so that nothing of theirs is confused.
    """
    if labels.has_regions:
        return 0.0, None
    own = labels.class_mask(pairs.values, index)
    both = pairs.matrix + pairs.matrix.T
    counted = labels.annotated_mask(pairs.values)
    if counted is not None:
        both = both * counted * counted[:, None]
    total = int(both[own].sum())
    given = {
        name: int(both[np.ix_(own, labels.class_mask(pairs.values, other))].sum())
        for other, name in enumerate(labels.class_names)
        if other != index
    }
    if not total or not any(given.values()):
        return 0.0, None
    return sum(given.values()) / total, max(given, key=lambda name: given[name])
