"""The body: where some channel is not zero, holes filled. Cases are cropped to its box (`geometry.nonzero_box`)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from autounet.geometry import Array
from autounet.labels import OUTSIDE


def mark_outside(image: Array, label: Array) -> Array:
    """The label map `(Z, Y, X)` with its background voxels outside the body set to `OUTSIDE`.

    The body is where some channel is not zero, holes filled (nnU-Net's `create_nonzero_mask`).
    """
    body = ndimage.binary_fill_holes((image != 0).any(axis=0))
    return np.where((label == 0) & ~body, np.asarray(OUTSIDE, dtype=label.dtype), label)
