"""Where an image lies in space: spacing, shape, axis order, boxes, and differences in millimetres.

Arrays are `(C, Z, Y, X)`; spacing and shapes are `(z, y, x)`; a 2D image has one slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from autounet.records import Record

Triple = tuple[float, float, float]
Shape3 = tuple[int, int, int]
Array = npt.NDArray[Any]
# Formats that tell where the patient's left is; in others the cases can only be compared with each other.
ORIENTED_ENDINGS = {".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".dcm"}


class Geometry(Record):
    """The place of a voxel grid in the patient or under the microscope.

    Attributes:
        spacing_mm: Voxel size `(z, y, x)` in mm; `(1, 1, 1)` where the file tells none.
        affine: Row-major 4 x 4 matrix from voxel index `(x, y, z)` to world `(x, y, z)` in mm, RAS+ as in NIfTI.
        num_spatial_dims: 2 for a single image, 3 for a volume, as the file has it.
        tells_spacing: Whether the file tells a voxel size; a PNG cannot, and then contradicts no other file.
    """

    spacing_mm: Triple
    affine: tuple[tuple[float, float, float, float], ...]
    num_spatial_dims: int = 3
    tells_spacing: bool = True

    @classmethod
    def from_spacing(cls, spacing_mm: Triple, num_spatial_dims: int = 3, *, tells_spacing: bool = True) -> Geometry:
        """An axis-aligned grid at the origin with this `(z, y, x)` spacing."""
        z, y, x = spacing_mm
        return cls(
            spacing_mm=spacing_mm,
            affine=((x, 0, 0, 0), (0, y, 0, 0), (0, 0, z, 0), (0, 0, 0, 1)),
            num_spatial_dims=num_spatial_dims,
            tells_spacing=tells_spacing,
        )

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The affine as a `(4, 4)` float64 array."""
        return np.asarray(self.affine, dtype=np.float64)


def left_right_axis(geometry: Geometry) -> tuple[int, bool]:
    """The array axis, of `(z, y, x)`, that runs most nearly between left and right.

    Returns:
        The axis, and whether its index grows towards the patient's left.
    """
    matrix = geometry.matrix[:3, :3]
    lengths = np.linalg.norm(matrix, axis=0)
    cosines = np.divide(matrix[0], lengths, out=np.zeros(3), where=lengths > 0)
    column = int(np.argmax(np.abs(cosines)))
    return 2 - column, bool(cosines[column] < 0)


def axis_codes(geometry: Geometry) -> str:
    """Where the voxel axes x, y and z run to: `LPS` is to the patient's left, to the back (posterior) and up."""
    matrix = geometry.matrix[:3, :3]
    lengths = np.linalg.norm(matrix, axis=0)
    cosines = np.divide(matrix, lengths, out=np.zeros((3, 3)), where=lengths > 0)
    codes = ""
    for column in cosines.T:
        world = int(np.argmax(np.abs(column)))
        codes += ("RAS" if column[world] >= 0 else "LPI")[world]
    return codes


def corner_displacement_mm(first: Geometry, second: Geometry, shape: Shape3) -> float:
    """How far apart, at most, the two geometries place a corner of a `(z, y, x)` volume, in mm.

    One number that a person can judge: float noise in a direction matrix is nothing, a shifted origin is something.
    """
    z, y, x = (size - 1 for size in shape)
    corners = np.array([[i, j, k, 1] for i in (0, x) for j in (0, y) for k in (0, z)], dtype=np.float64)
    difference = corners @ (first.matrix - second.matrix).T
    return float(np.linalg.norm(difference[:, :3], axis=1).max())


class Box(Record):
    """A half-open box of voxels, `start <= index < stop` on every axis."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """The box of a whole array."""
        return cls(start=(0,) * len(shape), stop=tuple(shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels on each axis."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the box in an array of the same number of axes."""
        return tuple(slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))


def bounding_box(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box that holds every true voxel; the whole array if there is none."""
    if not mask.any():
        return Box.whole(mask.shape)
    start, stop = [], []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        start.append(int(hits[0]))
        stop.append(int(hits[-1]) + 1)
    return Box(start=tuple(start), stop=tuple(stop))


def nonzero_box(image: Array) -> Box:
    """The box of an image `(C, Z, Y, X)` outside of which every channel is zero.

    nnU-Net fills holes in the mask first; filling holes does not change a bounding box, so it is left out here.
    """
    return bounding_box(np.logical_or.reduce(image != 0, axis=0))


def resampled_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], target_spacing_mm: Sequence[float]
) -> tuple[int, ...]:
    """Voxels on each axis after resampling to the target spacing, at least one.

    Rounds half to even, as nnU-Net does (its `compute_new_shape`).
    """
    return tuple(
        max(1, round(old / new * size)) for size, old, new in zip(shape, spacing_mm, target_spacing_mm, strict=True)
    )


def mirrored_indices(start: int, extent: int, size: int) -> npt.NDArray[np.intp]:
    """Indices of an axis, and beyond its ends those of its mirror image; the outermost voxels are not repeated.

    Args:
        start: The first one; it may lie before the axis.
        extent: How many.
        size: Of the axis.
    """
    period = max(1, 2 * (size - 1))
    inside = np.arange(start, start + extent) % period
    return np.minimum(inside, period - inside)


def permuted(values: Sequence[Any], order: Sequence[int]) -> tuple[Any, ...]:
    """`values` in another axis order: entry `i` of the result is `values[order[i]]`."""
    return tuple(values[axis] for axis in order)
