"""Changes of place: what a policy says of them, and what is drawn for the samples of a batch.

A voxel of the patch that comes out, `x` counted from its centre, is read from the case at `matrix @ (x + field(x)) +
shift`, counted from the centre of the window that was cut there without any change. Rotation, scaling, quarter turns,
mirrors and elastic deformation are all in this one mapping, so an image is interpolated once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from batchgenerators.augmentations.utils import (
    create_matrix_rotation_2d,
    create_matrix_rotation_x_3d,
    create_matrix_rotation_y_3d,
    create_matrix_rotation_z_3d,
)

from autounet.augmentation.elastic import Elastic, deformed_extent, draw_displacements
from autounet.augmentation.intensity import Generator, Range, about_one
from autounet.augmentation.parameters import BatchShape, Rows, Values
from autounet.laterality import Mirroring

# A patch this many times longer than its first axis is augmented slice by slice: turning it about the other axes
# would mix voxels of very different sizes.
ANISOTROPIC_PATCH = 3.0
_ELONGATED_2D_PATCH = 1.5
_ROTATION_3D = np.deg2rad(30)
_ROTATION_ELONGATED_2D = np.deg2rad(15)
# Interpolation weights below this are lost, so that rounding makes no region a voxel larger.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Spatial:
    """Changes of place.

    Attributes:
        p_rotation: Probability per sample; the angles follow from the patch (`largest_angles`).
        p_rotation_axis: Probability of each axis of a rotated sample.
        p_scaling: Probability per sample, apart from rotation.
        scale: Range of the factor on distances in the case: above 1, objects shrink.
        scale_law: `uniform`, or below or above 1 with the same probability.
        scale_axes: One factor for all axes, or one for `each`.
        p_quarter_turn: Probability of 0 to 3 quarter turns in a plane of two axes of equal size.
        p_transpose: Probability that axes of equal size change places in any way.
        shift: Largest displacement as a share of the patch's edge, drawn evenly per axis.
        elastic: Deformation, if any.
        margin: The region that a patch may reach into is the patch, turned most, divided by this; nnU-Net leaves out
            what lies beyond, so that the corners of the largest regions are empty.
    """

    p_rotation: float = 0.0
    p_rotation_axis: float = 1.0
    p_scaling: float = 0.0
    scale: Range = (0.7, 1.4)
    scale_law: Literal["uniform", "about_one"] = "uniform"
    scale_axes: Literal["all", "each"] = "all"
    p_quarter_turn: float = 0.0
    p_transpose: float = 0.0
    shift: float = 0.0
    elastic: Elastic | None = None
    margin: float = 0.85

    @property
    def changes(self) -> bool:
        """Whether anything is ever moved."""
        probabilities = (self.p_rotation, self.p_scaling, self.p_quarter_turn, self.p_transpose, self.shift)
        return any(probabilities) or self.elastic is not None


@dataclass(frozen=True)
class WholeMove:
    """A move by whole voxels, of an array `(C, *region_size)`: cut, then exchange axes, then mirror.

    Attributes:
        window: What to cut of the spatial axes.
        axes: Which axis comes where, the channels first.
        flipped: Axes to mirror then.
    """

    window: tuple[slice, ...]
    axes: tuple[int, ...]
    flipped: tuple[int, ...]


@dataclass(frozen=True)
class SpatialParameters:
    """Where every voxel of a batch comes from.

    Attributes:
        patch_size: What comes out, of `D` axes.
        matrix: `(B, D, D)`, see the module.
        shift: `(B, D)` in voxels.
        displacement: `(B, D, *nodes)` in voxels at the nodes of the coarse grid, or `None` where no sample is deformed.
        interpolated: `(B,)`, whether voxels come from between voxels; others are only turned about by whole voxels.
        swapped: `(B,)`, whether left and right labels change places.
        region_start: `(B, D)`, first voxel of the region to cut, counted from the first voxel of the unchanged window.
        region_size: Of every region, as large as the largest one must be.
    """

    patch_size: tuple[int, ...]
    matrix: Values
    shift: Values
    displacement: Values | None
    interpolated: npt.NDArray[np.bool_]
    swapped: npt.NDArray[np.bool_]
    region_start: Rows
    region_size: tuple[int, ...]

    @property
    def origin(self) -> Values:
        """`(B, D)`, the centre of the unchanged window counted from the first voxel of the region."""
        return (np.array(self.patch_size) - 1) / 2 - self.region_start

    def whole_move(self, sample: int) -> WholeMove:
        """How a sample is turned about that is not interpolated."""
        assert not self.interpolated[sample]
        matrix, size = self.matrix[sample], np.array(self.patch_size)
        source = np.abs(matrix).argmax(axis=0)
        window = tuple(slice(-start, edge - start) for start, edge in zip(self.region_start[sample], size, strict=True))
        mirrored = [axis + 1 for axis in range(len(size)) if matrix[source[axis], axis] < 0]
        return WholeMove(window, (0, *(int(axis) + 1 for axis in source)), tuple(mirrored))


def is_slice_wise(patch_size: Sequence[int]) -> bool:
    """Whether the patch is so flat that its slices are turned in their own plane only (nnU-Net's dummy 2D)."""
    return len(patch_size) == 3 and max(patch_size) / patch_size[0] > ANISOTROPIC_PATCH


def largest_angles(patch_size: Sequence[int], side_axis: int | None = None) -> tuple[float, ...]:
    """Largest angle about each of three axes, or in the one plane, in radians (nnU-Net's table).

    Where left and right are to be told apart, patches are not turned about in their plane: half a turn together with a
    flip of the other axis is a flip of left and right, with the labels left as they were.
    """
    if len(patch_size) == 3 and not is_slice_wise(patch_size):
        return (_ROTATION_3D,) * 3
    elongated = len(patch_size) == 2 and max(patch_size) / min(patch_size) > _ELONGATED_2D_PATCH
    angle = _ROTATION_ELONGATED_2D if elongated else np.pi
    if side_axis is not None and side_axis in _plane(patch_size):
        angle = min(angle, _ROTATION_3D)
    return (angle, 0.0, 0.0) if len(patch_size) == 3 else (angle,)


def initial_patch_size(patch_size: Sequence[int], spatial: Spatial) -> tuple[int, ...]:
    """Size of the region that a patch may reach into.

    nnU-Net's `get_patch_size`: the largest extent over turns about each single axis by at most a quarter, divided by
    the margin, truncated; the slices of a slice-wise patch stay. Deformation and shifts add theirs.
    """
    if not spatial.changes:
        return tuple(patch_size)
    size = np.array(patch_size, dtype=float)
    angles = np.minimum(largest_angles(patch_size), np.pi / 2) if spatial.p_rotation else np.zeros(1)
    largest = size.copy()
    for axis, angle in enumerate(angles):
        alone = np.zeros(len(angles))
        alone[axis] = angle
        largest = np.maximum(largest, np.abs(rotation_matrix(alone, len(size)) @ size))
    region = (largest / spatial.margin).astype(int) + np.ceil(2 * spatial.shift * size).astype(int)
    if spatial.elastic is not None:
        region += 2 * int(np.ceil(3 * spatial.elastic.sigma))
    plane = _plane(patch_size)
    return tuple(int(region[axis]) if axis in plane else edge for axis, edge in enumerate(patch_size))


def rotation_matrix(angles: Sequence[float] | Values, num_dims: int) -> Values:
    """What turns a column `(z, y, x)` or `(y, x)`: about the first, then the second, then the third axis."""
    if num_dims == 2:
        return np.asarray(create_matrix_rotation_2d(angles[0])).T
    matrix = np.identity(3)
    about = (create_matrix_rotation_x_3d, create_matrix_rotation_y_3d, create_matrix_rotation_z_3d)
    for turn, angle in zip(about, angles, strict=False):
        matrix = turn(angle, matrix)
    # batchgenerators multiplies rows by its matrices.
    return np.asarray(matrix).T


def draw_spatial(spatial: Spatial, mirroring: Mirroring, generator: Generator, shape: BatchShape) -> SpatialParameters:
    """Draw for a batch; every sample by itself."""
    num_samples, num_dims = shape.num_samples, len(shape.patch_size)
    rotated = generator.random(num_samples) < spatial.p_rotation
    scaled = generator.random(num_samples) < spatial.p_scaling
    flips = generator.random((num_samples, len(mirroring.axes))) < 0.5
    rotation = _rotations(spatial, mirroring, generator, shape) * rotated[:, None]
    factor = np.where(scaled[:, None], _scales(spatial, generator, shape), 1.0)
    matrix = np.zeros((num_samples, num_dims, num_dims))
    for index in range(num_samples):
        exact = _whole_turn(spatial, mirroring, generator, shape.patch_size) @ _flip(mirroring, flips[index], num_dims)
        turn = rotation_matrix(rotation[index], num_dims) if rotated[index] else np.eye(num_dims)
        matrix[index] = np.diag(factor[index]) @ turn @ exact
    shift = generator.uniform(-1, 1, (num_samples, num_dims)) * spatial.shift * np.array(shape.patch_size)
    displacement, deformed = draw_displacements(spatial.elastic, generator, shape)
    if shape.slice_wise:
        shift[:, 0] = 0
    swaps = [axis == mirroring.swap_axis for axis in mirroring.axes]
    start, size = _regions(matrix, shift, displacement, shape.patch_size, initial_patch_size(shape.patch_size, spatial))
    return SpatialParameters(
        patch_size=shape.patch_size,
        matrix=matrix,
        shift=shift,
        displacement=displacement,
        interpolated=rotated | scaled | deformed | shift.any(axis=1),
        swapped=(flips & np.array(swaps, dtype=bool)).any(axis=1),
        region_start=start,
        region_size=size,
    )


def _plane(patch_size: Sequence[int]) -> range:
    """The axes that are turned, scaled and deformed."""
    return range(1 if is_slice_wise(patch_size) else 0, len(patch_size))


def _rotations(spatial: Spatial, mirroring: Mirroring, generator: Generator, shape: BatchShape) -> Values:
    largest = np.array(largest_angles(shape.patch_size, mirroring.side_axis))
    angles = generator.uniform(-1, 1, (shape.num_samples, len(largest))) * largest
    kept = generator.random(angles.shape) < spatial.p_rotation_axis
    return np.where(kept, angles, 0.0)


def _scales(spatial: Spatial, generator: Generator, shape: BatchShape) -> Values:
    """`(B, D)` factors."""
    columns = len(shape.patch_size) if spatial.scale_axes == "each" else 1
    count = shape.num_samples * columns
    law = spatial.scale_law == "about_one"
    factors = about_one(generator, spatial.scale, count) if law else generator.uniform(*spatial.scale, count)
    scales = np.broadcast_to(factors.reshape(-1, columns), (shape.num_samples, len(shape.patch_size))).copy()
    if shape.slice_wise:
        scales[:, 0] = 1
    return scales


def _flip(mirroring: Mirroring, flips: npt.NDArray[np.bool_], num_dims: int) -> Values:
    signs = np.ones(num_dims)
    signs[list(mirroring.axes)] = np.where(flips, -1.0, 1.0)
    return np.diag(signs)


def _whole_turn(spatial: Spatial, mirroring: Mirroring, generator: Generator, patch_size: Sequence[int]) -> Values:
    """Quarter turns and exchanges of the axes that are as long as most; never of the left-right axis."""
    matrix = np.eye(len(patch_size))
    if not (spatial.p_quarter_turn or spatial.p_transpose):
        return matrix
    free = [axis for axis in _plane(patch_size) if axis != mirroring.side_axis]
    alike = [[axis for axis in free if patch_size[axis] == size] for size in {patch_size[axis] for axis in free}]
    axes = max(alike, key=lambda group: (len(group), group), default=[])
    if len(axes) < 2:
        return matrix
    if generator.random() < spatial.p_quarter_turn:
        first, second = generator.permutation(axes)[:2]
        quarter = np.eye(len(patch_size))
        quarter[[first, first, second, second], [first, second, first, second]] = [0, -1, 1, 0]
        matrix = np.linalg.matrix_power(quarter, int(generator.integers(4)))
    if generator.random() < spatial.p_transpose:
        order = np.arange(len(patch_size))
        order[axes] = generator.permutation(axes)
        matrix = matrix @ np.eye(len(patch_size))[order]
    return matrix


def _regions(
    matrix: Values, shift: Values, displacement: Values | None, patch: tuple[int, ...], initial: tuple[int, ...]
) -> tuple[Rows, tuple[int, ...]]:
    """What of the case a batch needs: start of each region and their common size, within nnU-Net's region."""
    half = (np.array(patch) - 1) / 2
    if displacement is None:
        extent = np.abs(matrix) @ half
        low, high = -extent, extent
    else:
        low, high = deformed_extent(matrix, displacement, patch)
    before = (np.array(initial) - np.array(patch)) // 2
    first = np.maximum(np.floor(half + shift + low + _ROUNDING), -before).astype(np.intp)
    last = np.minimum(np.ceil(half + shift + high - _ROUNDING), np.array(initial) - before - 1).astype(np.intp)
    size = (last - first + 1).max(axis=0)
    return first, tuple(int(edge) for edge in size)
