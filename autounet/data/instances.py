"""Label maps out of maps of single objects."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.geometry import Array


def touching(instances: Array) -> npt.NDArray[np.bool_]:
    """Where objects touch: the voxels of an object next to a voxel of another, corners included.

    Set to background (as Ronneberger et al. 2015, "U-Net", section 3), or to a class of their own, these keep objects
    apart in a label map, which tells classes and no objects.

    Args:
        instances: `(*spatial)` integers, 0 for background and another number for each object.
    """
    is_object = instances > 0
    largest = ndimage.maximum_filter(instances, 3)
    smallest = ndimage.minimum_filter(np.where(is_object, instances, instances.max()), 3)
    return np.asarray(is_object & ((largest != instances) | (smallest != instances)))
