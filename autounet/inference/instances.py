"""Single objects out of a label map: numbered, measured and counted.

Two ways, by what the label map tells of a class:

- It has a border class (`nucleus` and `nucleus_border`): what is left without the borders falls apart into objects, and
  each border voxel goes to the object that is nearest on a way through the class (watershed on the distance).
- It has none: a connected part is cut where it is narrow, as two discs that touch are: watershed on the distance to the
  background (Beucher and Meyer 1993, "The morphological approach to segmentation"), from the maxima that stand out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.errors import RequestError
from autounet.geometry import Array, Geometry, bounding_box
from autounet.labels import LabelClass, LabelSchema
from autounet.records import nearest

_BORDER_WORDS = {"border", "boundary", "contour", "edge", "outline"}
# Two parts are cut where the neck between them is narrower than this share of the narrower one's width.
_NECK = 0.85
# Distances are smoothed by so many voxels, as steps of the outline make maxima too.
_SMOOTHING_VOXELS = 1.0
_MAX_16_BITS = 65_535

Mask = npt.NDArray[np.bool_]
InstanceMap = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


@dataclass(frozen=True)
class ObjectClass:
    """A class whose objects are told apart.

    Attributes:
        name: Its name.
        values: Label values inside the objects.
        border_values: Label values of their borders, which belong to them; none where no class marks them.
    """

    name: str
    values: tuple[int, ...]
    border_values: tuple[int, ...] = ()


@dataclass(frozen=True)
class InstanceOptions:
    """How objects are told apart.

    Attributes:
        classes: Names of the classes; all by default.
        split: Cut connected parts of a class without borders where they are narrow.
        min_voxels: Smaller objects are left out.
    """

    classes: tuple[str, ...] = ()
    split: bool = True
    min_voxels: int = 1


@dataclass(frozen=True)
class FoundObject:
    """One object of an image.

    Attributes:
        number: Its value in the map.
        class_name: Its class.
        num_voxels: Its size.
        size: In mm3, of a 2D image in mm2; `None` where the file tells no voxel size.
        centroid: Mean voxel index `(z, y, x)`.
        touches_edge: Whether it reaches the edge of the image, so that some of it may be missing.
    """

    number: int
    class_name: str
    num_voxels: int
    size: float | None
    centroid: tuple[float, float, float]
    touches_edge: bool


@dataclass(frozen=True)
class Instances:
    """The objects of an image.

    Attributes:
        array: `(Z, Y, X)`, 0 for background and each object's number; uint16, or uint32 of more than 65,535 objects.
        objects: In the order of their numbers.
    """

    array: InstanceMap
    objects: tuple[FoundObject, ...]


def object_classes(labels: LabelSchema, wanted: Sequence[str] = ()) -> tuple[ObjectClass, ...]:
    """The classes whose objects are told apart, each with its border class by the names.

    Args:
        labels: What the values mean.
        wanted: Names of classes; all by default.

    Raises:
        RequestError: A name is unknown or that of a border class, or classes overlap.
    """
    borders = _borders(labels.classes)
    names = [entry.name for entry in labels.classes if entry.name not in borders.values()]
    for name in wanted:
        if name not in names:
            known = ", ".join(names)
            raise RequestError(f"there is no class '{name}' of objects.{nearest(name, names)} There are: {known}.")
    values = {entry.name: entry.values for entry in labels.classes}
    chosen = tuple(
        ObjectClass(name, values[name], values[borders[name]] if name in borders else ())
        for name in names
        if not wanted or name in wanted
    )
    taken = [value for entry in chosen for value in (*entry.values, *entry.border_values)]
    if len(set(taken)) < len(taken):
        raise RequestError(
            f"the classes {', '.join(entry.name for entry in chosen)} overlap, so one map cannot hold the objects of "
            "all. Choose those that do not: autounet instances --class NAME"
        )
    return chosen


def separate(
    label: Array, geometry: Geometry, classes: Sequence[ObjectClass], options: InstanceOptions | None = None
) -> Instances:
    """Tell the objects of a label map `(Z, Y, X)` apart, class after class."""
    options = options or InstanceOptions()
    array = np.zeros(label.shape, dtype=np.uint32)
    objects: list[FoundObject] = []
    for entry in classes:
        inside = np.isin(label, entry.values)
        border = np.isin(label, entry.border_values)
        whole = inside | border
        if not whole.any():
            continue
        box = bounding_box(whole).slices
        if entry.border_values:
            found = _by_borders(inside[box], whole[box])
        elif options.split:
            found = _by_width(whole[box], geometry.spacing_mm)
        else:
            found, _ = ndimage.label(whole[box])
        found = _renumbered(found, options.min_voxels, len(objects))
        array[box] = np.where(found, found, array[box])
        objects += _measured(array, entry.name, geometry, len(objects))
    return Instances(array.astype(np.uint16) if len(objects) <= _MAX_16_BITS else array, tuple(objects))


def _borders(classes: Sequence[LabelClass]) -> dict[str, str]:
    """The border class of each class that has one: its name and a word for border, or that word alone."""
    words = {entry.name: [word.lower() for word in re.findall(r"[A-Za-z][a-z]*|\d+", entry.name)] for entry in classes}
    rest = {name: [word for word in found if word not in _BORDER_WORDS] for name, found in words.items()}
    marking = [name for name in words if rest[name] != words[name]]
    others = [name for name in words if name not in marking]
    named = {other: name for name in marking for other in others if words[other] == rest[name]}
    if not named and len(marking) == len(others) == 1 and not rest[marking[0]]:
        return {others[0]: marking[0]}
    return named


def _by_borders(inside: Mask, whole: Mask) -> Array:
    """Objects `(Z, Y, X)` of what is inside the borders, grown over these."""
    from skimage.segmentation import watershed

    markers, _ = ndimage.label(inside)
    # Objects so small that all of them is border get a marker too.
    markers = _in_every_part(markers, whole)
    return np.asarray(watershed(ndimage.distance_transform_edt(markers == 0), markers, mask=whole))


def _by_width(whole: Mask, spacing_mm: Sequence[float]) -> Array:
    """Objects `(Z, Y, X)` of a class, cut where it is narrow."""
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    # The image's edge is no outline: an object that it cuts is as wide as it looks.
    distance = ndimage.distance_transform_edt(whole, sampling=spacing_mm)
    axes = [_SMOOTHING_VOXELS if size > 1 else 0.0 for size in whole.shape]
    # Of logarithms, a difference is a ratio: what stands out does not depend on the size of the objects.
    width = np.log(np.maximum(ndimage.gaussian_filter(distance, axes), 1e-6 * min(spacing_mm)))
    width[~whole] = width.min()
    faces = ndimage.generate_binary_structure(3, 1)
    peaks, _ = ndimage.label(h_maxima(width, -math.log(_NECK), faces))
    return np.asarray(watershed(-width, _in_every_part(peaks, whole), mask=whole))


def _in_every_part(markers: Array, whole: Mask) -> Array:
    """Markers with another one for every connected part of the class `(Z, Y, X)` that holds none."""
    parts, count = ndimage.label(whole)
    has_marker = np.zeros(count + 1, dtype=bool)
    has_marker[parts[markers > 0]] = True
    lost = whole & ~has_marker[parts]
    return np.where(lost, parts + markers.max(), markers)


def _renumbered(found: Array, min_voxels: int, first: int) -> npt.NDArray[np.uint32]:
    """Objects numbered from `first + 1` on without gaps, those that are too small left out."""
    sizes = np.bincount(found.reshape(-1))
    kept = np.flatnonzero(sizes >= max(1, min_voxels))
    kept = kept[kept > 0]
    numbers = np.zeros(len(sizes), dtype=np.uint32)
    numbers[kept] = np.arange(first + 1, first + 1 + len(kept))
    renumbered: npt.NDArray[np.uint32] = numbers[found]
    return renumbered


def _measured(array: InstanceMap, class_name: str, geometry: Geometry, first: int) -> list[FoundObject]:
    """The objects of a map that are numbered from `first + 1` on."""
    is_2d = geometry.num_spatial_dims == 2
    voxel_mm = math.prod(geometry.spacing_mm[1:] if is_2d else geometry.spacing_mm)
    axes = (1, 2) if array.shape[0] == 1 else (0, 1, 2)
    at_edge: set[int] = set()
    for axis in axes:
        at_edge.update(np.unique(np.take(array, (0, -1), axis=axis)).tolist())
    places = np.nonzero(array > first)
    order = array[places].astype(np.int64) - first - 1
    counts = np.bincount(order)
    sums = [np.bincount(order, weights=place) for place in places]
    return [
        FoundObject(
            number=first + 1 + index,
            class_name=class_name,
            num_voxels=int(count),
            size=float(count * voxel_mm) if geometry.tells_spacing else None,
            centroid=(float(sums[0][index] / count), float(sums[1][index] / count), float(sums[2][index] / count)),
            touches_edge=first + 1 + index in at_edge,
        )
        for index, count in enumerate(counts)
    ]
