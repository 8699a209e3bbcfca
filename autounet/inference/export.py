"""From logits on the network's grid to a label map in the image's own frame, block by block.

Resampling all classes at once would need the whole case for every class. Here one block of the raw image is decided at
a time, and in it one class after the other against the best so far: memory grows neither with the classes nor with the
image, and the label map is the one that resampling everything would give, to the last voxel.

A class that cannot win in a block is not interpolated at all. Interpolated values lie between those that they are drawn
from, so the lowest of one class bounds from below what wins, and the highest of another bounds what that one can reach.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from autounet.geometry import Array, Box
from autounet.inference.raw_frame import Floats, RawFrame
from autounet.labels import BACKGROUND, LabelSchema
from autounet.parallel import available_cpus
from autounet.plans import Plan
from autounet.preprocessing.case import CaseProperties

# Voxels `(z, y, x)` decided at a time: one class of them in float32 stays in a core's cache.
_BLOCK = (16, 128, 128)
# Probabilities of all classes are held for one slab of slices.
SLAB_BYTES = 256 * 2**20
# Interpolating in float32 may exceed its bounds by its rounding.
_ROUNDING = 1e-5


class ProbabilitySink(Protocol):
    """Takes the probabilities of a case, slab by slab.

    Attributes:
        scale: What a probability of 1 is stored as.
        dtype: Unsigned integers.
    """

    scale: int
    dtype: npt.DTypeLike

    def write(self, start: int, slab: npt.NDArray[Any]) -> None:
        """Take the slab `(K, n, Y, X)` of the raw image's slices from `start` on; slabs come in order."""


@dataclass(frozen=True)
class CaseLogits:
    """What one model says of a case.

    Attributes:
        logits: `(K, Z, Y, X)` on the prepared grid, axes in the plan's order; float32 or float16.
        properties: How the case was prepared for it.
        plan: The model's.
    """

    logits: Array
    properties: CaseProperties
    plan: Plan


def export_label(logits: Array, properties: CaseProperties, plan: Plan) -> Array:
    """The label map of a case in its raw frame.

    Args:
        logits: `(K, Z, Y, X)` on the prepared grid, float32 or float16.
        properties: How the case was prepared.
        plan: Labels and axis order.

    Returns:
        `(Z, Y, X)`, uint8 or uint16, as the raw image lies.
    """
    return export_case([CaseLogits(logits, properties, plan)])


def export_case(
    models: Sequence[CaseLogits],
    sink: ProbabilitySink | None = None,
    slab_bytes: int = SLAB_BYTES,
    offsets: Floats | None = None,
) -> Array:
    """The label map of a case that one model or several have looked at.

    One model's label is the arg-max of its resampled logits, or the regions' rule; that of several models is the same
    of the mean of their probabilities (softmax, or sigmoid for regions, of resampled logits).

    Args:
        models: What each says; all of the same labels and the same raw image.
        sink: Takes the probabilities, if they are wanted too.
        slab_bytes: Memory for probabilities.
        offsets: `(K,)` added to the logits before labels are decided; probabilities are those without.

    Returns:
        `(Z, Y, X)`, uint8 or uint16, as the raw image lies.
    """
    frames = [RawFrame.of(model.logits, model.properties, model.plan) for model in models]
    labels, first = models[0].plan.labels, frames[0]
    assert all(frame.crop == first.crop and frame.shape == first.shape for frame in frames)
    result = np.full(first.shape, BACKGROUND, dtype=labels.dtype)
    inside = result[first.crop.slices]

    def decide(block: Box) -> None:
        inside[block.slices] = _decided(frames, block, labels, offsets)

    if sink is None:
        _for_every(decide, list(_blocks(first.crop.shape)))
        return result
    num_outputs, depth = len(first.logits), first.shape[0]
    # A slice of a slab takes its stored form, and while it is worked on a few copies in float32.
    slice_bytes = num_outputs * first.shape[1] * first.shape[2] * np.dtype(sink.dtype).itemsize
    num_slices = max(1, slab_bytes // slice_bytes)
    for start in range(0, depth, num_slices):
        stop = min(depth, start + num_slices)
        slab = np.zeros((num_outputs, stop - start, *first.shape[1:]), dtype=sink.dtype)
        if not labels.has_regions:
            slab[0] = sink.scale
        _fill(slab, start, sink.scale, frames, inside, labels, offsets)
        sink.write(start, slab)
    return result


def _fill(
    slab: Array,
    start: int,
    scale: int,
    frames: Sequence[RawFrame],
    inside: Array,
    labels: LabelSchema,
    offsets: Floats | None,
) -> None:
    """Probabilities and labels of the slices from `start` on, as far as the crop reaches into them."""
    crop = frames[0].crop

    def decide(block: Box) -> None:
        inside[block.slices], probabilities = _decided_with_probabilities(frames, block, labels, offsets)
        probabilities *= scale
        slab[(slice(None), *_moved(block, crop.start, start))] = np.rint(probabilities, out=probabilities)

    _for_every(decide, list(_blocks_between(crop, start, start + slab.shape[1])))


def probabilities_of(logits: Floats, labels: LabelSchema) -> Floats:
    """Probabilities of logits `(K, ...)`: softmax over classes, sigmoid for regions."""
    if labels.has_regions:
        exps: Floats = np.exp(-np.abs(logits))  # of no positive number, which could overflow
        return np.where(logits >= 0, 1 / (1 + exps), exps / (1 + exps))
    exps = np.exp(logits - logits.max(axis=0))
    exps /= exps.sum(axis=0)
    return exps


def label_of_scores(scores: Floats, labels: LabelSchema) -> Array:
    """The label map `(Z, Y, X)` of scores `(K, Z, Y, X)`: the highest, or regions above 0."""
    return _label_of(enumerate(scores), scores.shape[1:], labels)


def label_of_probabilities(probabilities: Floats, labels: LabelSchema, offsets: Floats | None = None) -> Array:
    """The label map `(...)` of probabilities `(K, ...)`: the highest, or regions above one half.

    Args:
        probabilities: Of classes or regions.
        labels: What they stand for.
        offsets: `(K,)` as if added to the logits first.
    """
    if offsets is None:
        return label_of_scores(probabilities - np.float32(0.5), labels)
    # Added to logits, offsets multiply odds: a region's threshold moves, and classes weigh more or less.
    odds: Floats = np.exp(offsets).reshape(-1, *(1,) * (probabilities.ndim - 1))
    if labels.has_regions:
        return label_of_scores(probabilities - np.reciprocal(odds + np.float32(1)), labels)
    return label_of_scores(probabilities * odds, labels)


def _decided(frames: Sequence[RawFrame], block: Box, labels: LabelSchema, offsets: Floats | None) -> Array:
    """The label map of a block of the crop."""
    if len(frames) > 1:
        return _decided_with_probabilities(frames, block, labels, offsets)[0]
    (frame,) = frames
    samples = frame.samples(block).astype(np.float32)  # bounds of half precision take long to find
    if offsets is not None:  # what is added to all samples is added to what lies between them
        samples += offsets[:, None, None, None]
    outputs = _that_can_win(samples, labels)
    values = ((index, frame.interpolated(samples[index : index + 1], block)[0]) for index in outputs)
    return _label_of(values, block.shape, labels)


def _decided_with_probabilities(
    frames: Sequence[RawFrame], block: Box, labels: LabelSchema, offsets: Floats | None
) -> tuple[Array, Floats]:
    """The label map of a block, and the probabilities `(K, Z, Y, X)`, the mean of all models."""
    logits = frames[0].interpolated(frames[0].samples(block), block)
    mean = probabilities_of(logits, labels)
    if len(frames) == 1:
        shifted = logits if offsets is None else logits + offsets[:, None, None, None]
        return label_of_scores(shifted, labels), mean
    for frame in frames[1:]:
        mean += probabilities_of(frame.interpolated(frame.samples(block), block), labels)
    mean /= len(frames)
    return label_of_probabilities(mean, labels, offsets), mean


def _label_of(values: Iterable[tuple[int, Floats]], shape: Sequence[int], labels: LabelSchema) -> Array:
    """The label map of some outputs, ascending; those left out cannot win."""
    # The number of the output that has won so far; for regions one more, as 0 is none of them.
    winner = np.zeros(tuple(shape), dtype=labels.dtype)
    number_if_better = np.empty_like(winner)
    better = np.empty(tuple(shape), dtype=bool)
    best: Floats | None = None
    for index, score in values:
        if best is None and not labels.has_regions:
            best = score
            winner.fill(index)
            continue
        # On a draw the first class stays, as arg-max has it. Numbers ascend, so the larger of two is the later one.
        np.greater(score, 0 if best is None else best, out=better)
        np.multiply(better, winner.dtype.type(index + labels.has_regions), out=number_if_better)
        np.maximum(winner, number_if_better, out=winner)
        if best is not None:
            np.maximum(best, score, out=best)
    values_of = (BACKGROUND, *labels.region_order) if labels.region_order is not None else labels.output_values
    return np.asarray(np.array(values_of, dtype=labels.dtype)[winner])


def _that_can_win(samples: Floats, labels: LabelSchema) -> list[int]:
    """Outputs that may decide a voxel that is interpolated between these samples `(K, z, y, x)`."""
    lowest, highest = samples.min(axis=(1, 2, 3)), samples.max(axis=(1, 2, 3))
    slack = _ROUNDING * max(np.abs(lowest).max(), np.abs(highest).max())
    threshold = 0.0 if labels.has_regions else lowest.max()
    chosen: list[int] = np.flatnonzero(highest >= threshold - slack).tolist()
    return chosen


def _for_every(work: Callable[[Box], None], blocks: Sequence[Box]) -> None:
    """Work on every block, on all cores; NumPy lets go of the interpreter while it computes."""
    cores = min(available_cpus(), len(blocks))
    if cores <= 1:
        for block in blocks:
            work(block)
        return
    with ThreadPoolExecutor(cores) as pool:
        for _ in pool.map(work, blocks):
            pass


def _blocks(shape: Sequence[int]) -> Iterator[Box]:
    """Boxes that fill a volume."""
    starts = [range(0, size, edge) for size, edge in zip(shape, _BLOCK, strict=True)]
    for start in itertools.product(*starts):
        yield Box(start=start, stop=tuple(map(min, map(sum, zip(start, _BLOCK, strict=True)), shape)))


def _blocks_between(crop: Box, start: int, stop: int) -> Iterator[Box]:
    """Blocks of the crop, in its own coordinates, in the slices of the raw image from `start` to `stop`."""
    first, last = max(start, crop.start[0]) - crop.start[0], min(stop, crop.stop[0]) - crop.start[0]
    if first >= last:
        return
    for block in _blocks((last - first, *crop.shape[1:])):
        yield Box(start=(block.start[0] + first, *block.start[1:]), stop=(block.stop[0] + first, *block.stop[1:]))


def _moved(block: Box, crop_start: Sequence[int], slab_start: int) -> tuple[slice, ...]:
    """Where a block of the crop lies in a slab of the raw image."""
    offsets = (crop_start[0] - slab_start, *crop_start[1:])
    return tuple(
        slice(start + offset, stop + offset)
        for start, stop, offset in zip(block.start, block.stop, offsets, strict=True)
    )
