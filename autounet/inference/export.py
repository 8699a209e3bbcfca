"""From logits on the network's grid to a label map in the image's own frame, slab by slab.

Resampling all classes at once would need the whole case for every class; one slab of output slices at a time needs the
whole only for the result, and gives the same label map: the arg-max of linearly resampled logits.
"""

from __future__ import annotations

import numpy as np

from autounet.geometry import Array, Shape3
from autounet.labels import LabelSchema
from autounet.plans import Plan
from autounet.preprocessing.case import CaseProperties, restore_label
from autounet.resample import (
    Matrices,
    Matrix,
    apply_matrices,
    matrices_for,
    separated_axis,
)

# Resampled logits held at once; small enough for any laptop, large enough for efficient products.
_SLAB_BYTES = 64 * 2**20


def export_label(logits: Array, properties: CaseProperties, plan: Plan) -> Array:
    """The label map of a case in its raw frame.

    Args:
        logits: `(K, Z, Y, X)` float32 on the prepared grid.
        properties: How the case was prepared.
        plan: Labels and axis order.

    Returns:
        `(Z, Y, X)`, uint8 or uint16, as the raw image lies.
    """
    cropped: Shape3 = properties.crop.shape  # type: ignore[assignment]
    back = properties.way_back
    separated = separated_axis(properties.target_spacing_mm, properties.spacing_mm, back)
    order, across_order = back.order, back.order_across
    matrices = matrices_for(logits.shape[1:], cropped, order=order, separated=separated, order_across=across_order)
    label = resampled_segmentation(logits, cropped, matrices, plan.labels)
    return restore_label(label, properties, plan)


def resampled_segmentation(
    logits: Array, shape: Shape3, matrices: Matrices, labels: LabelSchema, slab_bytes: int = _SLAB_BYTES
) -> Array:
    """Label map `(Z, Y, X)` of logits `(K, z, y, x)` after resampling, computed in slabs of output slices."""
    if all(matrix is None for matrix in matrices):
        return labels.segmentation(logits)
    num_slices = max(1, slab_bytes // (logits.shape[0] * shape[1] * shape[2] * 4))
    slabs = []
    for start in range(0, shape[0], num_slices):
        part, along_z = _slab(logits, matrices[0], start, min(shape[0], start + num_slices))
        slabs.append(labels.segmentation(apply_matrices(part, (along_z, matrices[1], matrices[2]))))
    return np.concatenate(slabs)


def _slab(logits: Array, matrix: Matrix | None, start: int, stop: int) -> tuple[Array, Matrix | None]:
    """The input slices that the output slices `start..stop` draw on, and the matrix between the two."""
    if matrix is None:
        return logits[:, start:stop], None
    rows = matrix[start:stop]
    used = np.flatnonzero(rows.any(axis=0))
    first, last = int(used[0]), int(used[-1]) + 1
    return logits[:, first:last], np.ascontiguousarray(rows[:, first:last])
