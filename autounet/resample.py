"""The one resampler: interpolation along an axis is a matrix, and a volume takes one matrix product an axis.

Cubic B-splines with their prefilter, linear and nearest interpolation are all linear and separable, so the matrix of
an axis is SciPy's own one-dimensional operator applied to the identity and nothing is re-derived. Products run in
float32 through BLAS, all channels at once. Rules follow nnU-Net's `resample_data_or_seg_to_shape`: half-pixel centres,
edges repeated, results of cubic interpolation clipped to the range of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from autounet.geometry import Array, Shape3, Triple
from autounet.records import Record

NEAREST, LINEAR, CUBIC = 0, 1, 3

Matrix = npt.NDArray[np.float32]
Matrices = tuple[Matrix | None, Matrix | None, Matrix | None]


class Interpolation(Record):
    """How values between samples are found; the numbers are orders of splines.

    Attributes:
        order: 0 nearest, 1 linear, 3 cubic.
        order_across: Along a separated axis, whose slices are far apart; 0 repeats or drops slices.
        separate: Whether the coarsest axis is separated; by default where the grid is anisotropic.
        anisotropy: A grid is, where its voxels are longer than this many times their width.
    """

    order: int = Field(ge=0, le=5)
    order_across: int = Field(NEAREST, ge=0, le=5)
    separate: bool | None = None
    anisotropy: float = 3.0


# nnU-Net's choices (`resampling_fn_*_kwargs` of its plans).
IMAGE_INTERPOLATION = Interpolation(order=CUBIC)
LABEL_INTERPOLATION = Interpolation(order=LINEAR)
LOGITS_INTERPOLATION = Interpolation(order=LINEAR)


def separated_axis(
    spacing_mm: Triple, target_spacing_mm: Triple, interpolation: Interpolation = IMAGE_INTERPOLATION
) -> int | None:
    """The axis along which slices are interpolated apart from the others; `None` to treat all axes alike.

    It is the coarsest axis of the current spacing if that is anisotropic, else that of the target spacing; where
    several axes share the largest spacing, none is separated.
    """
    if interpolation.separate is False:
        return None
    for candidate in (spacing_mm, target_spacing_mm):
        if interpolation.separate or max(candidate) / min(candidate) > interpolation.anisotropy:
            coarsest = [axis for axis in range(3) if candidate[axis] == max(candidate)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


@lru_cache(maxsize=64)
def axis_matrix(size: int, new_size: int, order: int) -> Matrix:
    """The `(new_size, size)` float32 matrix that interpolates one axis.

    Args:
        size: Samples before.
        new_size: Samples after.
        order: 0 nearest, 1 linear, 3 cubic B-spline with prefilter.
    """
    if order == NEAREST:
        centres = (np.arange(new_size) + 0.5) * (size / new_size)
        matrix = np.zeros((new_size, size), dtype=np.float32)
        matrix[np.arange(new_size), np.clip(np.floor(centres).astype(int), 0, size - 1)] = 1.0
        return matrix
    if size == 1:
        return np.ones((new_size, 1), dtype=np.float32)
    operator = ndimage.zoom(np.eye(size), (new_size / size, 1.0), order=order, mode="nearest", grid_mode=True)
    assert operator.shape == (new_size, size)
    return np.ascontiguousarray(operator, dtype=np.float32)


def matrices_for(
    shape: Shape3, new_shape: Shape3, *, order: int, separated: int | None, order_across: int = NEAREST
) -> Matrices:
    """One matrix an axis, `None` where the size stays; the separated axis has an order of its own."""

    def matrix(axis: int) -> Matrix | None:
        if shape[axis] == new_shape[axis]:
            return None
        return axis_matrix(shape[axis], new_shape[axis], order_across if axis == separated else order)

    return (matrix(0), matrix(1), matrix(2))


def apply_matrices(array: Array, matrices: Matrices) -> npt.NDArray[np.float32]:
    """Interpolate `(C, Z, Y, X)` along every axis that has a matrix; axes that shrink most go first."""
    result = np.ascontiguousarray(array, dtype=np.float32)
    growth = [1.0 if matrix is None else matrix.shape[0] / matrix.shape[1] for matrix in matrices]
    for axis in sorted(range(3), key=growth.__getitem__):
        matrix = matrices[axis]
        if matrix is not None:
            result = _apply_along(result, matrix, axis)
    return result


def _apply_along(array: npt.NDArray[np.float32], matrix: Matrix, axis: int) -> npt.NDArray[np.float32]:
    channels, z, y, x = array.shape
    result: npt.NDArray[np.float32]
    if axis == 2:
        result = np.matmul(array, matrix.T)
    elif axis == 1:
        result = np.matmul(matrix, array)
    else:
        result = np.matmul(matrix, array.reshape(channels, z, y * x)).reshape(channels, matrix.shape[0], y, x)
    return result


def resample_image(
    image: Array,
    new_shape: Sequence[int],
    spacing_mm: Triple,
    target_spacing_mm: Triple,
    interpolation: Interpolation = IMAGE_INTERPOLATION,
) -> npt.NDArray[np.float32]:
    """Resample an image `(C, Z, Y, X)`, clipped to the range of each channel.

    Where an axis is separated, each slice is interpolated and clipped to its own range before slices are mixed.
    """
    shape, target = _shape3(image.shape[1:]), _shape3(new_shape)
    if shape == target:
        return np.ascontiguousarray(image, dtype=np.float32)
    separated = separated_axis(spacing_mm, target_spacing_mm, interpolation)
    order, across_order = interpolation.order, interpolation.order_across
    matrices = matrices_for(shape, target, order=order, separated=separated, order_across=across_order)
    in_plane = tuple(axis + 1 for axis in range(3) if axis != separated)
    low, high = image.min(axis=in_plane, keepdims=True), image.max(axis=in_plane, keepdims=True)
    if separated is None:
        return np.clip(apply_matrices(image, matrices), low, high)
    between = list(matrices)
    between[separated] = None
    result = np.clip(apply_matrices(image, (between[0], between[1], between[2])), low, high)
    across: list[Matrix | None] = [None, None, None]
    across[separated] = matrices[separated]
    return apply_matrices(result, (across[0], across[1], across[2]))


def resample_label(label: Array, new_shape: Sequence[int], spacing_mm: Triple, target_spacing_mm: Triple) -> Array:
    """Resample a label map `(Z, Y, X)`: each value's indicator linearly, set where it reaches one half.

    Values go in ascending order and later ones overwrite earlier ones, as in nnU-Net's `resize_segmentation`.
    """
    shape, target = _shape3(label.shape), _shape3(new_shape)
    if shape == target:
        return label
    separated = separated_axis(spacing_mm, target_spacing_mm, LABEL_INTERPOLATION)
    matrices = matrices_for(shape, target, order=LABEL_INTERPOLATION.order, separated=separated)
    result = np.zeros(target, dtype=label.dtype)
    for index, value in enumerate(np.unique(label)):
        # Zero is there already, unless a lower value was written before.
        if value != 0 or index > 0:
            result[apply_matrices((label == value)[None], matrices)[0] >= 0.5] = value
    return result


def _shape3(shape: Sequence[int]) -> Shape3:
    z, y, x = shape
    return (int(z), int(y), int(x))
