"""Turning an image until its axes run to the right, to the front and up (RAS), and its label map back."""

from __future__ import annotations

import numpy as np

from autounet.geometry import Array, Geometry, Shape3
from autounet.records import Record


class Turn(Record):
    """A change of axes `(z, y, x)`: first their order, then which of them are mirrored.

    Attributes:
        order: Axis `i` of the result is axis `order[i]` of the array.
        mirrored: Axes of the result that run the other way.
    """

    order: Shape3
    mirrored: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        """`(C, Z, Y, X)` in the new axes, a view."""
        ordered = array.transpose(0, *(axis + 1 for axis in self.order))
        return np.flip(ordered, tuple(axis + 1 for axis in self.mirrored))

    def undo(self, label: Array) -> Array:
        """`(Z, Y, X)` in the old axes again, a view."""
        return np.flip(label, self.mirrored).transpose(np.argsort(self.order))


def turn_to_ras(geometry: Geometry) -> Turn:
    """What brings an image with that geometry nearest to RAS, as nibabel's `io_orientation` has it."""
    # Here, so that reading other formats does not wait for it.
    from nibabel.orientations import io_orientation

    order, mirrored = [0, 1, 2], []
    # Rows are voxel axes x, y, z; array axes count the other way round.
    for axis, (world, direction) in enumerate(io_orientation(geometry.matrix)):
        order[2 - int(world)] = 2 - axis
        if direction < 0:
            mirrored.append(2 - int(world))
    return Turn(order=(order[0], order[1], order[2]), mirrored=tuple(sorted(mirrored)))
