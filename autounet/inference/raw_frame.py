"""The logits of a case as they would lie in its raw image, one class and one block at a time.

Linear interpolation draws on two neighbours along each axis. All that it does to a voxel is told by their indices and
one weight an axis, so any block of any class can be had without the others, and is the same to the last bit whatever
block it is asked for in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autounet.geometry import Array, Box, Shape3, permuted
from autounet.plans import Plan
from autounet.preprocessing.case import CaseProperties
from autounet.resample import LINEAR, Matrix, matrices_for, separated_axis

Floats = npt.NDArray[np.float32]

# Columns first, then rows: the last axis to grow, on which most of the work falls, copies whole rows.
_ORDER = (0, 2, 1)


@dataclass(frozen=True)
class Taps:
    """Which two samples an interpolated one lies between, and how near it is to the second.

    Attributes:
        low: Index of the first, ascending.
        high: Index of the second; that of the first where one sample is all.
        weight: Share of the second.
    """

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]

    @classmethod
    def of(cls, matrix: Matrix) -> Taps:
        """The taps of a matrix of linear or nearest interpolation, `(new, old)`."""
        used = matrix != 0
        low = used.argmax(axis=1)
        high = matrix.shape[1] - 1 - used[:, ::-1].argmax(axis=1)
        assert (high - low <= 1).all(), "cubic interpolation draws on more than two samples"
        rows = np.arange(len(matrix))
        weight = np.where(high > low, matrix[rows, high], np.float32(0))
        return cls(low, high, weight.astype(np.float32))

    def samples(self, start: int, stop: int) -> tuple[int, int]:
        """The range of samples that the interpolated ones from `start` to `stop` draw on."""
        return int(self.low[start]), int(self.high[stop - 1]) + 1

    def apply(self, samples: Floats, axis: int, start: int, stop: int) -> Floats:
        """Interpolate along an axis; `samples` holds only those of `self.samples(start, stop)`."""
        if axis == samples.ndim - 1:  # picking whole rows is faster than picking from each
            turned = self.apply(np.ascontiguousarray(samples.swapaxes(-1, -2)), axis - 1, start, stop)
            return np.ascontiguousarray(turned.swapaxes(-1, -2))
        first = int(self.low[start])
        lower = samples.take(self.low[start:stop] - first, axis=axis)
        weight = self.weight[start:stop]
        if not weight.any():
            return lower
        upper = samples.take(self.high[start:stop] - first, axis=axis)
        shape = [1] * samples.ndim
        shape[axis] = -1
        upper -= lower
        upper *= weight.reshape(shape)
        lower += upper
        return lower


@dataclass(frozen=True)
class RawFrame:
    """Logits on a network's grid, seen from the raw image.

    Attributes:
        logits: `(K, z, y, x)` on the prepared grid, axes in the raw order; float32 or float16.
        taps: Of each axis; `None` where the size stays.
        crop: Where the logits lie in the raw image `(Z, Y, X)`; all else is background.
        shape: Of the raw image.
    """

    logits: Array
    taps: tuple[Taps | None, Taps | None, Taps | None]
    crop: Box
    shape: Shape3

    @classmethod
    def of(cls, logits: Array, properties: CaseProperties, plan: Plan) -> RawFrame:
        """Place a case's logits `(K, Z, Y, X)`, axes in the plan's order, in its raw image."""
        cropped: Shape3 = properties.crop.shape  # type: ignore[assignment]
        shape: Shape3 = tuple(logits.shape[1:])
        # nnU-Net's rule for probabilities: linear, and slices of an anisotropic grid are taken as they are.
        separated = separated_axis(properties.target_spacing_mm, properties.spacing_mm)
        matrices = matrices_for(shape, cropped, order=LINEAR, separated=separated)
        taps = [None if matrix is None else Taps.of(matrix) for matrix in matrices]
        back = plan.transpose_backward
        return cls(
            logits=logits.transpose(0, *(axis + 1 for axis in back)),
            taps=(taps[back[0]], taps[back[1]], taps[back[2]]),
            crop=Box(start=permuted(properties.crop.start, back), stop=permuted(properties.crop.stop, back)),
            shape=permuted(properties.shape_before_crop, back),
        )

    def samples(self, block: Box) -> Array:
        """The logits `(K, z, y, x)` that a block of the crop draws on; a view."""
        index: list[slice] = [slice(None)]
        for taps, start, stop in zip(self.taps, block.start, block.stop, strict=True):
            index.append(slice(start, stop) if taps is None else slice(*taps.samples(start, stop)))
        return self.logits[tuple(index)]

    def interpolated(self, samples: Array, block: Box) -> Floats:
        """Some classes' logits `(N, Z, Y, X)` of a block of the crop, float32, from what `samples` gave for them."""
        result: Floats = np.array(samples, dtype=np.float32, order="C")  # the caller works in place
        for axis in _ORDER:
            taps = self.taps[axis]
            if taps is not None:
                result = taps.apply(result, axis + 1, block.start[axis], block.stop[axis])
        return result
