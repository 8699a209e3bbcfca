"""Elastic deformation: displacements on a coarse grid, splines between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autounet.augmentation.parameters import BatchShape, Values
from autounet.resample import CUBIC, axis_matrix

# A deformed patch is looked at in so many places along an axis; between them a place is off by less than this share of
# the largest displacement.
_PROBES = 17
_PROBE_ERROR = 0.05


@dataclass(frozen=True)
class Elastic:
    """Random displacements on a coarse grid over the patch, cubic splines between (U-Net, 2015, section 3.1).

    Attributes:
        p: Probability per sample.
        num_nodes: Of the grid along each axis, at the centres of equal parts of the patch.
        sigma: Standard deviation of each component of a displacement, in voxels.
    """

    p: float
    num_nodes: int = 3
    sigma: float = 10.0


def draw_displacements(
    elastic: Elastic | None, generator: np.random.Generator, shape: BatchShape
) -> tuple[Values | None, npt.NDArray[np.bool_]]:
    """`(B, D, *nodes)`, zero in samples that are not deformed; and which are. Slices are deformed alike."""
    num_samples, num_dims = shape.num_samples, len(shape.patch_size)
    if elastic is None:
        return None, np.zeros(num_samples, dtype=bool)
    deformed = generator.random(num_samples) < elastic.p
    nodes = (elastic.num_nodes,) * num_dims
    drawn = generator.normal(0, elastic.sigma, (num_samples, num_dims, *nodes))
    if shape.slice_wise:
        drawn[:, 0] = 0
        drawn[:] = drawn[:, :, :1]
    drawn[~deformed] = 0
    return (drawn if deformed.any() else None), deformed


def elastic_weights(size: int, num_nodes: int) -> npt.NDArray[np.float32]:
    """`(size, num_nodes)`: how the displacement of a voxel follows from those of the nodes along one axis."""
    return np.asarray(axis_matrix(num_nodes, size, CUBIC))


def displacement_field(displacement: Values, weights: Sequence[npt.NDArray[np.float32]]) -> Values:
    """Displacements at places along each axis, from those at the nodes.

    Args:
        displacement: `(..., D, *nodes)`.
        weights: For each axis, `(places, nodes)` as `elastic_weights` gives them.

    Returns:
        `(..., D, *places)`.
    """
    field = displacement
    for axis, matrix in enumerate(weights, start=-len(weights)):
        field = np.moveaxis(np.tensordot(field, matrix, axes=(axis, 1)), -1, axis)
    return field


def deformed_extent(matrix: Values, displacement: Values, patch: tuple[int, ...]) -> tuple[Values, Values]:
    """Least and greatest place `(B, D)` that a deformed patch is read at, counted from the window's centre."""
    lines = [np.unique(np.linspace(0, edge - 1, _PROBES).round().astype(np.intp)) for edge in patch]
    weights = [elastic_weights(edge, displacement.shape[2])[line] for edge, line in zip(patch, lines, strict=True)]
    grid = np.stack(
        np.meshgrid(*[line - (edge - 1) / 2 for line, edge in zip(lines, patch, strict=True)], indexing="ij")
    )
    field = displacement_field(displacement, weights)
    places = matrix @ (grid + field).reshape(*field.shape[:2], -1)
    slack = _PROBE_ERROR * np.abs(displacement).max(axis=tuple(range(1, displacement.ndim)))[:, None]
    return places.min(axis=2) - slack, places.max(axis=2) + slack
