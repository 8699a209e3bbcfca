"""Maps that losses need of the label maps of a batch, computed where batches are made, after augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.geometry import Array
from autounet.labels import LabelSchema

Map = npt.NDArray[np.float32]


class LabelMaps(Protocol):
    """Computes maps from label maps; it travels to the processes that make batches."""

    @property
    def num_maps(self) -> int:
        """Channels of what it returns."""

    def __call__(self, label: Array) -> Map:
        """Of label maps `(B, *spatial)`, maps `(B, num_maps, *spatial)` float32."""


@dataclass(frozen=True)
class ClassMaps:
    """A map of each foreground class or region, from where it is and where it is known not to be.

    Attributes:
        labels: What the values mean; maps are in the order of the network's outputs.
        spacing: Of the voxels, in units of the finest axis, for as many axes as the label map has.
    """

    labels: LabelSchema
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, labels: LabelSchema, spacing_mm: Sequence[float], *more: Any) -> Self:
        """With spacings in mm; further fields follow."""
        return cls(labels, tuple(edge / min(spacing_mm) for edge in spacing_mm), *more)

    @property
    def num_maps(self) -> int:
        """One a foreground class or region."""
        return self.labels.num_classes

    def __call__(self, label: Array) -> Map:
        """See `LabelMaps`."""
        return np.stack([np.stack([self._map(*place) for place in self._places(sample)]) for sample in label])

    def _places(self, label: Array) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
        """Of each foreground output, where it is and where it is known not to be; ignored voxels are neither."""
        known = self.labels.annotated_mask(label)
        places = []
        for index in self.labels.class_of_output:
            inside = self.labels.class_mask(label, index)
            places.append((inside, ~inside if known is None else ~inside & known))
        return places

    def _map(self, inside: npt.NDArray[np.bool_], outside: npt.NDArray[np.bool_]) -> Map:
        raise NotImplementedError


@dataclass(frozen=True)
class SignedDistances(ClassMaps):
    """How far each voxel is from the class, and in it, as a negative number, from what is not the class.

    From centre to centre, so that the voxels on both sides of a boundary are at 1 and -1. Zero everywhere where a
    class fills the patch or is absent from it: it has no boundary there.
    """

    def _map(self, inside: npt.NDArray[np.bool_], outside: npt.NDArray[np.bool_]) -> Map:
        if not (inside.any() and outside.any()):
            return np.zeros(inside.shape, dtype=np.float32)
        to_class, to_rest = (ndimage.distance_transform_edt(~place, self.spacing) for place in (inside, outside))
        # An ignored voxel lies at some distance from both.
        return np.where(inside, -to_rest, np.where(outside, to_class, 0)).astype(np.float32)


@dataclass(frozen=True)
class GapWeights(ClassMaps):
    """Where two objects of a class come near each other, `w0 exp(-(d1 + d2)^2 / (2 sigma^2))`.

    Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", eq. 2, second term: `d1`
    and `d2` are the distances to the nearest and the second nearest object. Objects are connected components (corners
    connect), and voxels of the class itself have no such weight.

    Deviation: distances over five sigma count as infinite, which changes no weight by more than `4e-6 w0`.

    Attributes:
        w0: Weight in a gap of width zero.
        sigma: Width of a gap at which the weight has fallen to `0.61 w0`, in voxels of the finest axis.
    """

    w0: float
    sigma: float

    def _map(self, inside: npt.NDArray[np.bool_], outside: npt.NDArray[np.bool_]) -> Map:
        nearest, second = two_nearest(inside, self.spacing, 5 * self.sigma)
        weights = self.w0 * np.exp(-((nearest + second) ** 2) / (2 * self.sigma**2))
        return np.where(inside, 0, weights).astype(np.float32)


def two_nearest(
    objects: npt.NDArray[np.bool_], spacing: Sequence[float], reach: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distances to the nearest and to the second nearest connected component; infinite beyond `reach`.

    Each component's distances are computed within reach of it only: patches may hold hundreds.

    Args:
        objects: `(*spatial)`, where objects are; corners connect.
        spacing: Of each axis.
        reach: In the same unit.
    """
    components, _ = ndimage.label(objects, np.ones((3,) * objects.ndim))
    nearest = np.full(objects.shape, np.inf)
    second = nearest.copy()
    margins = [int(reach / edge) + 1 for edge in spacing]
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        around = tuple(
            slice(max(0, part.start - margin), part.stop + margin) for part, margin in zip(box, margins, strict=True)
        )
        distance = ndimage.distance_transform_edt(components[around] != number, spacing)
        distance[distance > reach] = np.inf
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    return nearest, second
