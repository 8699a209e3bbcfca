"""Slices of a case, made ready to be drawn: grey values in a window, the right way up, about the labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autounet.geometry import Array, Geometry, Triple, bounding_box
from autounet.report.panels import Panel

# A volume is shown this much wider than its labels, and at least this share of it: close enough to judge small
# organs, and their surroundings still show.
_MARGIN_FACTOR = 1.2
_MIN_SHOWN = 0.5
_AXIS_NAMES = ("axial z", "coronal y", "sagittal x")


@dataclass(frozen=True)
class ShownVolume:
    """A volume with its label maps, of which slices are drawn.

    Attributes:
        shown: `(Z, Y, X)` grey or `(Z, Y, X, 3)` colour, in 0 to 1.
        reference: `(Z, Y, X)` label values, drawn as lines, if there are any.
        prediction: `(Z, Y, X)` label values, drawn as fill.
        spacing_mm: Voxel size `(z, y, x)`.
        flips: Axes `(z, y, x)` to reverse so that z runs to the head, y to the back and x to the patient's left.
    """

    shown: Array
    reference: Array | None
    prediction: Array
    spacing_mm: Triple
    flips: tuple[bool, bool, bool]

    def panel(self, axis: int, index: int) -> Panel:
        """One slice along `z`, `y` or `x`, cut to the labels; the head is up, or the front."""
        rows, columns = (other for other in range(3) if other != axis)
        steps = self._step(rows), self._step(columns)

        def cut(volume: Array) -> Array:
            window = tuple(index if other == axis else self._view[other] for other in range(3))
            return np.asarray(volume[window][:: steps[0], :: steps[1]])

        image = cut(self.shown)
        return Panel(
            caption=f"{_AXIS_NAMES[axis]} = {index}" if len(self.shown) > 1 else "",
            image=image,
            fill=cut(self.prediction),
            lines=None if self.reference is None else cut(self.reference),
            size_mm=(image.shape[0] * self.spacing_mm[rows], image.shape[1] * self.spacing_mm[columns]),
        )

    def spot(self, axis: int, place: tuple[int, int, int]) -> tuple[int, int]:
        """Row and column of a voxel in the panel of the slice through it."""
        row, column = (
            view.stop - 1 - at if self._step(other) < 0 else at - view.start
            for other, (at, view) in enumerate(zip(place, self._view, strict=True))
            if other != axis
        )
        return row, column

    def _step(self, axis: int) -> int:
        """-1 where the axis is drawn in reverse: the first row is on top, and is to be the head's end of z."""
        return -1 if self.flips[axis] != (axis == 0 and self.shown.shape[0] > 1) else 1

    @cached_property
    def _view(self) -> tuple[slice, slice, slice]:
        labelled = self.prediction if self.reference is None else np.maximum(self.reference, self.prediction)
        return _view(labelled, self.spacing_mm)


def shown_image(image: Array) -> Array:
    """`(Z, Y, X)` grey or `(Z, Y, X, 3)` colour, in 0 to 1."""
    finite = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    # Three channels or more of a 2D image that keep to the range of bytes are colours, not modalities.
    if image.shape[0] >= 3 and image.shape[1] == 1 and finite.min() >= 0 and finite.max() <= 255:
        return np.asarray(np.moveaxis(finite[:3], 0, -1) / (255.0 if finite.max() > 1 else 1.0))
    grey = finite[0].astype(np.float32)
    # Air is mostly the lowest value and often most of the image; it would take the window for itself.
    body = grey[grey > grey.min()]
    low, high = np.percentile(body, (1.0, 99.5)) if body.size else (0.0, 1.0)
    return np.asarray(np.clip((grey - low) / max(float(high - low), 1e-6), 0.0, 1.0))


def upright_flips(geometry: Geometry | None) -> tuple[bool, bool, bool]:
    """Axes `(z, y, x)` to reverse so that z runs to the head, y to the back and x to the patient's left."""
    if geometry is None:
        return (False, False, False)
    x, y, z = (geometry.affine[axis][axis] for axis in range(3))  # RAS+: right, front and head are positive
    return (z < 0, y > 0, x > 0)


def _view(label: Array, spacing_mm: Triple) -> tuple[slice, slice, slice]:
    """The part `(z, y, x)` of a volume to show: a cube about all labels, where the volume does not end before."""
    box = bounding_box(label > 0)
    side_mm = max(
        max(_MARGIN_FACTOR * labelled, _MIN_SHOWN * size) * step
        for labelled, size, step in zip(box.shape, label.shape, spacing_mm, strict=True)
    )
    view = []
    for start, stop, size, step in zip(box.start, box.stop, label.shape, spacing_mm, strict=True):
        length = min(size, math.ceil(side_mm / step))
        first = min(max(0, (start + stop - length) // 2), size - length)
        view.append(slice(first, first + length))
    return view[0], view[1], view[2]
