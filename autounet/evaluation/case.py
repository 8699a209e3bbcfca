"""Every score of one case: overlap of all classes at once, the other metrics class by class in a box around it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.evaluation.instances import instance_scores
from autounet.evaluation.lesions import lesion_scores
from autounet.evaluation.metrics import IOU_PERCENT, METRICS, Family, MetricChoice, Values
from autounet.evaluation.regions import region_scores
from autounet.evaluation.surfaces import surface_scores
from autounet.geometry import Array, Triple
from autounet.labels import BACKGROUND_NAME, LabelClass, LabelSchema

OBJECTS = LabelSchema(classes=(LabelClass(name="objects", values=(1,)),))
"""What is left of an instance map when the objects' numbers are forgotten."""

_MM3_PER_ML = 1000.0

Mask = npt.NDArray[np.bool_]
Boxes = list[tuple[slice, ...] | None]


@dataclass(frozen=True)
class _ClassMasks:
    """One class in the box that holds it in both maps.

    Attributes:
        reference: `(*spatial)`, three axes, or two where the image has one slice.
        prediction: Of the same shape.
        spacing_mm: Of the axes.
        voxel_ml: Volume of a voxel.
    """

    reference: Mask
    prediction: Mask
    spacing_mm: tuple[float, ...]
    voxel_ml: float


def class_metrics(
    reference: Array,
    prediction: Array,
    spacing_mm: Triple,
    labels: LabelSchema,
    choice: MetricChoice,
    annotated_classes: Collection[str] | None = None,
) -> dict[str, Values]:
    """The metrics beyond overlap, by class.

    Args:
        reference: `(Z, Y, X)` label values. Voxels of the schema's ignore value belong to no class, in either map.
        prediction: `(Z, Y, X)` label values.
        spacing_mm: Voxel size `(z, y, x)`.
        labels: What the values mean.
        choice: What to measure.
        annotated_classes: Classes that were annotated in the case; `None` for all.
    """
    families = [family for family in choice.families if family in _MEASURES]
    if not families and choice.regions_between is None:
        return {}
    voxel_ml = float(np.prod(spacing_mm)) / _MM3_PER_ML
    axes = _measured_axes(reference.shape)
    reference, prediction = (label.reshape([label.shape[axis] for axis in axes]) for label in (reference, prediction))
    boxes = [ndimage.find_objects(label) for label in (reference, prediction)]
    result = {}
    for index in range(labels.num_classes) if annotated_classes is None else labels.class_indices(annotated_classes):
        entry = labels.classes[index]
        box = _common_box(boxes, entry.values, len(axes))
        masks = _masks(reference[box], prediction[box], labels, index)
        pair = _ClassMasks(*masks, spacing_mm=tuple(spacing_mm[axis] for axis in axes), voxel_ml=voxel_ml)
        values = {name: value for family in families for name, value in _MEASURES[family](pair, choice).items()}
        if choice.regions_between in (entry.name, BACKGROUND_NAME):
            values |= _regions(reference, prediction, labels, index, inside=choice.regions_between == BACKGROUND_NAME)
        result[entry.name] = {name: value for name, value in values.items() if name in choice.names}
    return result


def object_metrics(reference: Array, prediction: Array, choice: MetricChoice) -> Values:
    """The metrics of two instance maps `(Z, Y, X)`: 0 for background and another number for each object."""
    scores = instance_scores(reference, prediction)
    values: Values = {
        "ap": scores.average_precision,
        **{f"ap_{percent}": value for percent, value in zip(IOU_PERCENT, scores.precision_at, strict=True)},
        "f1_50": scores.f1_at_50,
        "aji": scores.aji,
        "objects_reference": scores.num_reference,
        "objects_predicted": scores.num_predicted,
        "count_error": scores.num_predicted - scores.num_reference,
    }
    return {name: value for name, value in values.items() if name in choice.names}


def _measured_axes(shape: Sequence[int]) -> list[int]:
    """All three axes, or the two in which an image of one slice lies: its outline is a contour, not a surface."""
    flat = next((axis for axis, size in enumerate(shape) if size == 1), None)
    return [axis for axis in range(3) if axis != flat]


def _common_box(boxes: Sequence[Boxes], values: tuple[int, ...], num_axes: int) -> tuple[slice, ...]:
    """The box around some values in both maps; an empty one if neither has them."""
    found = [box for of_map in boxes for value in values if value <= len(of_map) and (box := of_map[value - 1])]
    if not found:
        return (slice(0, 0),) * num_axes
    return tuple(
        slice(min(part.start for part in of_axis), max(part.stop for part in of_axis))
        for of_axis in zip(*found, strict=True)
    )


def _masks(reference: Array, prediction: Array, labels: LabelSchema, index: int) -> tuple[Mask, Mask]:
    """Where either map shows a class, as far as the reference was annotated."""
    annotated = labels.annotated_mask(reference)
    first, second = labels.class_mask(reference, index), labels.class_mask(prediction, index)
    return (first, second) if annotated is None else (first & annotated, second & annotated)


def _volume(pair: _ClassMasks, choice: MetricChoice) -> Values:
    real, predicted = int(pair.reference.sum()), int(pair.prediction.sum())
    return {
        "volume_error_ml": (predicted - real) * pair.voxel_ml if real or predicted else None,
        "volume_error_relative": (predicted - real) / real if real else None,
    }


def _surface(pair: _ClassMasks, choice: MetricChoice) -> Values:
    scores = surface_scores(pair.reference, pair.prediction, pair.spacing_mm, choice.tolerance_mm)
    return {
        "hd95_mm": scores.hd95_mm,
        "assd_mm": scores.assd_mm,
        "surface_dice": scores.surface_dice,
        "boundary_f1": scores.boundary_f1,
    }


def _lesions(pair: _ClassMasks, choice: MetricChoice) -> Values:
    scores = lesion_scores(pair.reference, pair.prediction, choice.lesion_iou)
    return {
        "lesion_f1": scores.f1,
        "lesion_precision": scores.precision,
        "lesion_recall": scores.recall,
        "lesions_found": scores.found,
        "lesions_missed": scores.missed,
        "lesions_spurious": scores.spurious,
    }


def _regions(reference: Array, prediction: Array, labels: LabelSchema, index: int, *, inside: bool) -> Values:
    """Of the regions inside a class, or of those outside of it; in whole maps, as these reach beyond the class."""
    masks = [labels.class_mask(label, index) == inside for label in (reference, prediction)]
    annotated = labels.annotated_mask(reference)
    if annotated is not None:
        masks = [mask & annotated for mask in masks]
    scores = region_scores(*masks)
    if scores is None:
        return {name: None for name, metric in METRICS.items() if metric.family is Family.REGIONS}
    return {
        "v_rand": scores.rand.whole,
        "v_rand_split": scores.rand.split,
        "v_rand_merge": scores.rand.merge,
        "v_info": scores.info.whole,
        "v_info_split": scores.info.split,
        "v_info_merge": scores.info.merge,
    }


_MEASURES: Mapping[Family, Callable[[_ClassMasks, MetricChoice], Values]] = {
    Family.VOLUME: _volume,
    Family.SURFACE: _surface,
    Family.LESIONS: _lesions,
}
