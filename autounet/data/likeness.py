"""Whether two images are the same: exactly, by a hash of the voxels, or nearly, by the correlation of thumbnails."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from autounet.geometry import Array

# Correlation above which two images are worth a look: two scans of one patient, or two neighbouring slices, stay below;
# a copy that was rounded, rescaled, smoothed or saved with losses stays above.
NEARLY_SAME = 0.995
# Above which they are taken for one without asking. Images of a registered head and neck reach .985 across patients,
# and copies as above .9999.
SAME = 0.999
# About a thousand blocks tell one patient from another; more would make comparing all pairs of cases slow.
_BLOCKS_2D, _BLOCKS_3D = 32, 10
_ROWS_AT_ONCE = 256  # so that a matrix of tens of thousands of cases stays below 100 MiB


def digest(array: Array) -> str:
    """A hash of the voxels and the shape, not of the file: compression and header make no difference."""
    hashed = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def thumbnail(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The `(num_blocks,)` block means of an image `(C, Z, Y, X)`, all channels, centred, of length 1.

    The product of two is their correlation. Zeros for a constant image; voxels that are no numbers spread no further
    than their block.
    """
    num_blocks = _BLOCKS_2D if array.shape[1] == 1 else _BLOCKS_3D
    means: Array = array
    for axis in (3, 2, 1):
        starts = _starts(array.shape[axis], num_blocks)
        widths = np.diff([*starts, array.shape[axis]])
        means = np.add.reduceat(means, starts, axis=axis)
        means = means / widths.reshape([-1 if other == axis else 1 for other in range(4)])
    flat = np.nan_to_num(means.reshape(len(array), -1), posinf=0.0, neginf=0.0)
    # Each channel weighs the same, whatever its unit.
    centred = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    return np.asarray(unit.reshape(-1) / np.sqrt(len(array)), dtype=np.float32)


def _starts(size: int, num_blocks: int) -> Sequence[int]:
    """Where each of at most `num_blocks` blocks of an axis starts."""
    count = min(size, num_blocks)
    return [index * size // count for index in range(count)]


def similar_pairs(
    shapes: Sequence[tuple[int, ...]], thumbnails: Sequence[npt.NDArray[np.float32]], above: float
) -> Iterator[tuple[int, int, float]]:
    """Pairs of images of one shape whose thumbnails correlate above a value: both indices, and the correlation.

    Args:
        shapes: Of the images, channels counted.
        thumbnails: Of the images, in the same order.
        above: Least correlation, not reached.
    """
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, (shape, own) in enumerate(zip(shapes, thumbnails, strict=True)):
        if own.any():
            alike[shape].append(index)
    for indices in alike.values():
        stacked = np.stack([thumbnails[index] for index in indices])
        for start in range(0, len(stacked), _ROWS_AT_ONCE):
            correlations = stacked[start : start + _ROWS_AT_ONCE] @ stacked[start:].T
            for row, column in np.argwhere(correlations > above).tolist():
                if column > row:
                    yield indices[start + row], indices[start + column], float(correlations[row, column])
