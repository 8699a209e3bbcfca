"""Cropping to the body: the smallest box that holds every voxel in which some channel is not zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.geometry import Box, bounding_box
from autounet.labels import OUTSIDE

Array = npt.NDArray[Any]


def nonzero_box(image: Array) -> Box:
    """The box of an image `(C, Z, Y, X)` outside of which every channel is zero.

    nnU-Net fills holes in the mask first; filling holes does not change a bounding box, so it is left out here.
    """
    return bounding_box((image != 0).any(axis=0))


def mark_outside(image: Array, label: Array) -> Array:
    """The label map `(Z, Y, X)` with its background voxels outside the body set to `OUTSIDE`.

    The body is where some channel is not zero, holes filled (nnU-Net's `create_nonzero_mask`).
    """
    body = ndimage.binary_fill_holes((image != 0).any(axis=0))
    return np.where((label == 0) & ~body, np.asarray(OUTSIDE, dtype=label.dtype), label)
