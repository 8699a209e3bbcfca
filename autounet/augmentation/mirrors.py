"""Mirror images of the samples of a batch; where left and right are told apart, their labels change places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autounet.geometry import Array
from autounet.laterality import Mirroring, ValuePairs


def draw_mirrors(num_samples: int, axes: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which axes of which sample are flipped, each with probability 1/2: `(num_samples, len(axes))`."""
    # The global generator, which the sampler seeds for every batch: batchgenerators draws from it too.
    return np.asarray(np.random.uniform(size=(num_samples, len(axes))) < 0.5)  # noqa: NPY002


def mirrored(image: Array, label: Array, flips: npt.NDArray[np.bool_], mirroring: Mirroring) -> tuple[Array, Array]:
    """Flip samples of a batch.

    Args:
        image: `(B, C, *patch_size)`.
        label: `(B, *patch_size)`.
        flips: `(B, len(mirroring.axes))`, as drawn.
        mirroring: What the columns of `flips` stand for, and what they do to labels.

    Returns:
        New arrays.
    """
    image, label = image.copy(), label.copy()
    for index, row in enumerate(flips):
        axes = tuple(axis for axis, is_flipped in zip(mirroring.axes, row, strict=True) if is_flipped)
        if axes:
            image[index] = np.flip(image[index], tuple(axis + 1 for axis in axes))
            label[index] = np.flip(label[index], axes)
        if mirroring.swap_axis in axes:
            label[index] = with_sides_swapped(label[index], mirroring.pairs)
    return image, label


def with_sides_swapped(label: Array, pairs: ValuePairs) -> Array:
    """A label map in which the two values of each pair have changed places."""
    swapped = label.copy()
    for left, right in pairs:
        swapped[label == left], swapped[label == right] = right, left
    return swapped
