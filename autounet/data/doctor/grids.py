"""Two voxel grids over one field of view: whether they are, and a label map brought from one to the other."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from autounet.geometry import Array, Geometry, Shape3

# Share of a voxel that the outer corners of one field of view may lie off.
_SAME_CORNER = 0.5


def show_same_view(first: Geometry, first_shape: Shape3, second: Geometry, second_shape: Shape3) -> bool:
    """Whether two volumes `(z, y, x)` fill the same box in space, whatever their voxels, axis order and directions."""
    if not (first.tells_spacing and second.tells_spacing) or (first.num_spatial_dims, second.num_spatial_dims) != (
        3,
        3,
    ):
        return False
    one, other = _outer_corners(first, first_shape), _outer_corners(second, second_shape)
    distances = np.linalg.norm(one[:, None] - other[None], axis=2)
    tolerance = _SAME_CORNER * max(min(first.spacing_mm), min(second.spacing_mm))
    return bool(distances.min(axis=0).max() <= tolerance and distances.min(axis=1).max() <= tolerance)


def resampled_label(label: Array, place: Geometry, target: Geometry, shape: Shape3) -> Array:
    """The label map `(Z, Y, X)` on another grid: each voxel gets the value of the nearest one in space."""
    from scipy import ndimage

    to_source = np.linalg.inv(place.matrix) @ target.matrix
    # Nearest, also beyond the edge: fields of view agree to less than a voxel.
    moved = ndimage.affine_transform(
        label.T, to_source[:3, :3], to_source[:3, 3], output_shape=shape[::-1], order=0, mode="nearest"
    )
    return np.ascontiguousarray(moved.T)


def _outer_corners(place: Geometry, shape: Shape3) -> npt.NDArray[np.float64]:
    """World places `(8, 3)` of the corners of the box that the voxels fill, half a voxel beyond their centres."""
    z, y, x = shape
    ends = [(-0.5, size - 0.5) for size in (x, y, z)]
    corners = np.array([(*corner, 1.0) for corner in itertools.product(*ends)])
    return np.asarray((corners @ place.matrix.T)[:, :3])
