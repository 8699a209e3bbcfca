"""Changes of what an earlier stage of a cascade found, so that the second stage does not trust it blindly.

nnU-Net v2's: a class grows, shrinks, or is closed or opened by a ball; one of its small components is lost. The map of
label values is changed, and only then made into one channel a value, so no voxel ever belongs to two of them: what a
class gains the others lose, and what it loses becomes background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.geometry import Array
from autounet.labels import BACKGROUND

Operation = Literal["dilate", "erode", "close", "open"]
Mask = npt.NDArray[np.bool_]

_OPERATIONS: tuple[Operation, ...] = ("dilate", "erode", "close", "open")


@dataclass(frozen=True)
class PreviousChanges:
    """How often, and how much, the map of the earlier stage is changed.

    Attributes:
        p_morphology: Probability per sample.
        p_morphology_label: Of each value of such a sample.
        radius: Of the ball in voxels, evenly drawn, both ends included.
        p_removal: Probability per sample that components are lost.
        p_removal_label: Of each value of such a sample; one component of it goes.
        removal_share: Only components of fewer voxels than this share of the patch are lost.
    """

    p_morphology: float = 0.0
    p_morphology_label: float = 0.5
    radius: tuple[int, int] = (1, 8)
    p_removal: float = 0.0
    p_removal_label: float = 0.5
    removal_share: float = 0.15


@dataclass(frozen=True)
class Morphology:
    """One value of one sample is changed by a ball of `radius` voxels."""

    sample: int
    value: int
    operation: Operation
    radius: int


@dataclass(frozen=True)
class Removal:
    """One value of one sample loses a component smaller than `share` of the patch; `pick` in [0, 1) says which."""

    sample: int
    value: int
    share: float
    pick: float


@dataclass(frozen=True)
class PreviousParameters:
    """What is done to the earlier stage's maps of a batch.

    Attributes:
        values: Label values that become input channels, ascending.
        changes: In this order.
    """

    values: tuple[int, ...]
    changes: tuple[Morphology | Removal, ...]


def draw_previous(
    changes: PreviousChanges, values: Sequence[int], generator: np.random.Generator, num_samples: int
) -> PreviousParameters:
    """Draw for a batch; every sample by itself. Values are changed in any order, components are lost last."""
    drawn: list[Morphology | Removal] = []
    for sample in range(num_samples):
        if generator.random() < changes.p_morphology:
            for value in _struck(values, changes.p_morphology_label, generator):
                operation = _OPERATIONS[generator.integers(len(_OPERATIONS))]
                radius = int(generator.integers(changes.radius[0], changes.radius[1] + 1))
                drawn.append(Morphology(sample, value, operation, radius))
        if generator.random() < changes.p_removal:
            drawn += [
                Removal(sample, value, changes.removal_share, float(generator.random()))
                for value in _struck(values, changes.p_removal_label, generator)
            ]
    return PreviousParameters(tuple(values), tuple(drawn))


def apply_previous(parameters: PreviousParameters, maps: Array) -> npt.NDArray[np.float32]:
    """The input channels of a batch.

    Args:
        parameters: As drawn.
        maps: `(B, *patch_size)` label values of the earlier stage; changed in place.

    Returns:
        `(B, num_values, *patch_size)`, 1 where a map has the value.
    """
    for change in parameters.changes:
        label = maps[change.sample]
        before = label == change.value
        if isinstance(change, Morphology):
            after = morphed(before, change.operation, change.radius)
        else:
            after = without_component(before, change.share * label.size, change.pick)
        label[before & ~after] = BACKGROUND
        label[after] = change.value
    return np.stack([maps == value for value in parameters.values], axis=1).astype(np.float32)


def morphed(mask: Mask, operation: Operation, radius: int) -> Mask:
    """A mask after an operation with a ball of whole radius.

    What lies beyond the patch is not known, so nothing grows from there, and nothing is worn away from there.
    """
    if operation == "dilate":
        return _dilated(mask, radius)
    if operation == "erode":
        return _eroded(mask, radius)
    if operation == "close":
        return _eroded(_dilated(mask, radius), radius)
    return _dilated(_eroded(mask, radius), radius)


def without_component(mask: Mask, max_voxels: float, pick: float) -> Mask:
    """A mask without one of its components (voxels that touch by a corner hang together) below a size, if any is."""
    components, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    small = np.flatnonzero(sizes < max_voxels) + 1
    if not len(small):
        return mask
    return np.asarray(mask & (components != small[int(pick * len(small))]))


def _struck(values: Sequence[int], probability: float, generator: np.random.Generator) -> list[int]:
    order = generator.permutation(len(values))
    return [values[index] for index in order if generator.random() < probability]


def _dilated(mask: Mask, radius: int) -> Mask:
    """Voxels whose centres are within the radius of one of the mask's.

    A transform of distances costs the same for every radius, where a ball of radius 8 has 2109 voxels.
    """
    box = _box(mask, radius)
    if box is None:
        return mask
    result = np.zeros_like(mask)
    result[box] = ndimage.distance_transform_edt(~mask[box]) <= radius
    return result


def _eroded(mask: Mask, radius: int) -> Mask:
    """Voxels of the mask without a known voxel outside it within the radius."""
    box = _box(mask, 1)
    if box is None or mask[box].all():
        return mask
    result = np.zeros_like(mask)
    result[box] = ndimage.distance_transform_edt(mask[box]) > radius
    return result


def _box(mask: Mask, margin: int) -> tuple[slice, ...] | None:
    """Where the mask is, and as much around it; `None` of an empty one."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    return tuple(slice(max(0, part.start - margin), part.stop + margin) for part in found[0])
