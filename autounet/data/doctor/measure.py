"""Small figures of a case by which it is compared with the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autounet.data.appearance import percentiles_above_minimum
from autounet.data.likeness import digest, thumbnail
from autounet.geometry import Array, Geometry, Shape3, Triple


@dataclass(frozen=True)
class ImageFigures:
    """What is kept of an image.

    Attributes:
        digest: Of all voxels and the shape.
        shape: Voxels `(z, y, x)`.
        spacing_mm: Voxel size `(z, y, x)`.
        thumbnail: `(num_blocks,)` block means of all channels, centred, of length 1; zeros for a constant image.
        percentiles: `(C, 5)`, the `appearance.PERCENTILES` of each channel over the voxels above its minimum.
    """

    digest: str
    shape: Shape3
    spacing_mm: Triple
    thumbnail: npt.NDArray[np.float32]
    percentiles: npt.NDArray[np.float64]


def image_figures(array: npt.NDArray[np.float32], geometry: Geometry) -> ImageFigures:
    """Measure an image `(C, Z, Y, X)`; voxels that are no finite numbers do not count."""
    _, z, y, x = array.shape
    with np.errstate(invalid="ignore", over="ignore"):
        small = thumbnail(array)
        percentiles = np.array([percentiles_above_minimum(channel) for channel in array])
    return ImageFigures(
        digest=digest(array),
        shape=(z, y, x),
        spacing_mm=geometry.spacing_mm,
        thumbnail=small,
        percentiles=percentiles,
    )


def centroids_mm(label: Array, geometry: Geometry, values: Iterable[int]) -> dict[int, Triple]:
    """World place `(x, y, z)` in mm, RAS+, of the centre of each label value of a map `(Z, Y, X)` that occurs."""
    found: dict[int, Triple] = {}
    for value in values:
        places = np.nonzero(label == value)
        if len(places[0]):
            z, y, x = (float(axis.mean()) for axis in places)
            world = geometry.matrix @ (x, y, z, 1.0)
            found[value] = (float(world[0]), float(world[1]), float(world[2]))
    return found
