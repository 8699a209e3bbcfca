"""Patches out of prepared cases: where they are cut, how often foreground is forced, and reading ahead."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from autounet.augmentation import workers
from autounet.augmentation.patches import Augmentation, BatchParameters
from autounet.augmentation.policies import NONE
from autounet.errors import RunError
from autounet.geometry import Array, mirrored_indices
from autounet.labels import OUTSIDE
from autounet.laterality import Mirroring
from autounet.losses.label_maps import LabelMaps
from autounet.preprocessing.previous import PreviousStage
from autounet.preprocessing.store import ClassLocations, PreparedStore

Start = npt.NDArray[np.intp]
Window = tuple[str, Start]


@dataclass(frozen=True)
class PatchBatch:
    """What a training step sees.

    Attributes:
        image: `(B, C, *patch_size)` float32.
        label: `(B, *patch_size)` int16, the dataset's label values.
        annotated: `(B, num_classes)`, which classes were annotated in the patch's case; `None` where all were, so
            that the usual loss costs no more.
        maps: `(B, M, *patch_size)`, what the loss needs of the label map; `None` where it needs nothing.
        pending: What is still to be done on the device: `image` and `label` are then regions, -1 outside the body.
    """

    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.int16]
    annotated: npt.NDArray[np.bool_] | None = None
    maps: npt.NDArray[np.float32] | None = None
    pending: BatchParameters | None = None


class CaseCache:
    """Prepared cases at hand: in memory if they all fit, else memory-mapped.

    Args:
        store: Where they lie.
        names: Which of them.
        max_bytes: Memory that may be used.
        previous: What an earlier stage found in them, in a cascade; a second map of every label.
    """

    def __init__(
        self, store: PreparedStore, names: Sequence[str], max_bytes: int, previous: PreviousStage | None = None
    ) -> None:
        self._store = store
        self._previous = previous
        self.names = tuple(names)
        self._images = {name: store.image(name) for name in names}
        self._labels = {name: store.label(name) for name in names}
        found = {name: previous.segmentation(name) for name in names} if previous is not None else {}
        self._found: dict[str, Any] = found
        self._annotated = {name: store.record(name).annotated for name in names}
        self._locations = {name: _annotated_only(store.locations(name), self._annotated[name]) for name in names}
        total = sum(_num_bytes(array) for array in (*self._images.values(), *self._labels.values(), *found.values()))
        if total <= max_bytes:
            for name in names:
                self._images[name], self._labels[name] = store.load(name)
            self._found = {name: array[:] for name, array in found.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker as file names: every worker maps the same pages of memory."""
        return CaseCache, (self._store, self.names, 0, self._previous)

    @property
    def num_channels(self) -> int:
        """Channels of every case."""
        return int(self._images[self.names[0]].shape[0])

    def image(self, name: str) -> Any:
        """`(C, Z, Y, X)`, an array or a memory map."""
        return self._images[name]

    def label(self, name: str) -> Any:
        """`(1, Z, Y, X)`, an array or a memory map."""
        return self._labels[name]

    def maps(self, name: str) -> tuple[Any, ...]:
        """All that moves with the image, each `(1, Z, Y, X)`: the label map, then what an earlier stage found."""
        return (self._labels[name], self._found[name]) if self._found else (self._labels[name],)

    def locations(self, name: str) -> ClassLocations:
        """Where the case's classes are; a class that was not annotated is nowhere."""
        return self._locations[name]

    def annotated(self, names: Sequence[str]) -> npt.NDArray[np.bool_] | None:
        """`(num_names, num_classes)`, which classes were annotated in these cases; `None` where all were."""
        if all(self._annotated[name] is None for name in names):
            return None
        result = np.ones((len(names), len(self._locations[names[0]].per_class)), dtype=np.bool_)
        for row, name in zip(result, names, strict=True):
            known = self._annotated[name]
            if known is not None:
                row[:] = np.isin(np.arange(len(row)), known)
        return result


@dataclass(frozen=True)
class PatchSampler:
    """Makes batch number `step` as a pure function of the seed and the step, in whichever process it is asked.

    Attributes:
        cases: The training cases.
        augmentation: What is done to the patches; it also sets their size.
        batch_size: Patches a batch.
        foreground_share: Patches from the end of the batch that are centred on foreground.
        seed: Of the run.
        label_maps: Computes what the loss needs, from the label map as it comes out of augmentation.
        halo: Context that valid convolutions lose on each side of a patch: windows are drawn for what is left, and
            beyond the image lies its mirror image. Empty for padded ones, which see zeros there.
        on_device: Leave the changes to the device that trains; else they are made here. Not with `label_maps`, nor in
            a cascade.
    """

    cases: CaseCache
    augmentation: Augmentation
    batch_size: int
    foreground_share: float
    seed: int
    label_maps: LabelMaps | None = None
    halo: tuple[int, ...] = ()
    on_device: bool = False

    def __post_init__(self) -> None:
        assert not (self.on_device and self.label_maps), "maps follow augmentation"
        assert not (self.on_device and self.augmentation.previous_values), "torch cannot tell components apart"

    def batch(self, step: int) -> PatchBatch:
        """Cut, augment and stack the patches of a step."""
        generator, windows = self._windows(step)
        return self._cut_batch(windows, self._drawn(self.augmentation, generator, windows))

    def unchanged(self, step: int) -> PatchBatch:
        """The patches of a step as they were before `batch` changed them."""
        generator, windows = self._windows(step)
        still = replace(self.augmentation, policy=NONE, mirroring=Mirroring(axes=()))
        batch = self._cut_batch(windows, self._drawn(still, generator, windows))
        return replace(batch, label=np.maximum(batch.label, 0), pending=None)

    def drawn(self, step: int) -> BatchParameters:
        """What `batch` does to the patches of a step."""
        generator, windows = self._windows(step)
        return self._drawn(self.augmentation, generator, windows)

    def case_names(self, step: int) -> tuple[str, ...]:
        """The cases of a step's patches; no image is read for it."""
        return tuple(name for name, _ in self._windows(step)[1])

    def _windows(self, step: int) -> tuple[np.random.Generator, list[Window]]:
        """Where the patches of a step are cut, and what the rest of the step is drawn from."""
        generator = np.random.default_rng((self.seed, step))
        return generator, [self._window(generator, self._is_forced(index)) for index in range(self.batch_size)]

    def _drawn(
        self, augmentation: Augmentation, generator: np.random.Generator, windows: Sequence[Window]
    ) -> BatchParameters:
        return augmentation.draw(generator, len(windows), self.cases.num_channels)

    def _cut_batch(self, windows: Sequence[Window], pending: BatchParameters) -> PatchBatch:
        """Cut what the drawn changes need, no more, and make them if that is done here."""
        place = zip(windows, pending.spatial.region_start, strict=True)
        regions = [self._cut(name, start + _three(ahead, 0), pending) for (name, start), ahead in place]
        image = np.stack([region[0] for region in regions]).astype(np.float32)
        label = np.stack([region[1] for region in regions]).astype(np.int16)
        annotated = self.cases.annotated([name for name, _ in windows])
        if self.on_device:
            return PatchBatch(image, label[:, 0], annotated=annotated, pending=pending)
        image, label = workers.apply(pending, image, label)
        maps = None if self.label_maps is None else self.label_maps(label[:, 0])
        return PatchBatch(image, label[:, 0], annotated, maps)

    def _is_forced(self, index: int) -> bool:
        """Positional, as in nnU-Net: of two patches the second, of nine the last three."""
        return index >= round(self.batch_size * (1 - self.foreground_share))

    def _window(self, generator: np.random.Generator, forced: bool) -> Window:
        """The case of a patch, and the first voxel `(z, y, x)` of its window there."""
        name = self.cases.names[generator.integers(len(self.cases.names))]
        halo = np.array(_three(self.halo, 0), dtype=np.intp)
        initial = np.array(_three(self.augmentation.initial_patch_size)) - 2 * halo
        final = np.array(_three(self.augmentation.patch_size)) - 2 * halo
        centre = _centre(self.cases.locations(name), generator, forced)
        start = _patch_start(self.cases.label(name).shape[1:], initial.tolist(), final.tolist(), centre, generator)
        return name, np.array(start, dtype=np.intp) + (initial - final) // 2 - halo

    def _cut(self, name: str, start: Start, pending: BatchParameters) -> tuple[Array, Array]:
        """Image `(C, *region_size)` and maps `(L, *region_size)` of a region."""
        size, first = pending.spatial.region_size, start.tolist()
        if any(self.halo):
            cut_image = cut_mirrored(self.cases.image(name), first, _three(size))
            maps = [cut_mirrored(entry, first, _three(size)) for entry in self.cases.maps(name)]
        else:
            cut_image = cut_box(self.cases.image(name), first, _three(size), 0)
            maps = [cut_box(entry, first, _three(size), OUTSIDE) for entry in self.cases.maps(name)]
        cut_label = np.concatenate(maps)
        return (cut_image[:, 0], cut_label[:, 0]) if len(size) == 2 else (cut_image, cut_label)


def _annotated_only(locations: ClassLocations, annotated: tuple[int, ...] | None) -> ClassLocations:
    if annotated is None:
        return locations
    per_class = tuple(places if index in annotated else places[:0] for index, places in enumerate(locations.per_class))
    return ClassLocations(per_class, locations.annotated)


def _centre(locations: ClassLocations, generator: np.random.Generator, forced: bool) -> npt.NDArray[np.int32] | None:
    """A voxel to centre on: of a class drawn evenly among those present, or any annotated one, or none."""
    present = [places for places in locations.per_class if len(places)]
    if forced and present:
        places = present[generator.integers(len(present))]
    elif locations.annotated is not None and len(locations.annotated):
        places = locations.annotated
    else:
        return None
    centre: npt.NDArray[np.int32] = places[generator.integers(len(places))]
    return centre


def _patch_start(
    shape: Sequence[int],
    initial: Sequence[int],
    final: Sequence[int],
    centre: npt.NDArray[np.int32] | None,
    generator: np.random.Generator,
) -> list[int]:
    """First voxel of the region to cut, on each axis; it may lie outside, where padding fills it.

    As in nnU-Net, the region may overhang by the margin that turning needs, and by what the image is too small.
    Deviation: a forced patch is held inside on the far side too, where nnU-Net lets it overhang.
    """
    start = []
    for axis in range(3):
        need = max(initial[axis] - final[axis], initial[axis] - shape[axis])
        low, high = -need // 2, shape[axis] + need // 2 + need % 2 - initial[axis]
        if centre is None:
            start.append(int(generator.integers(low, high + 1)))
        else:
            start.append(min(max(low, int(centre[axis]) - initial[axis] // 2), high))
    return start


def cut_box(array: Any, start: Sequence[int], size: Sequence[int], fill: int) -> Array:
    """Cut `(C, *size)` from `(C, Z, Y, X)` at `start`, which may lie outside; missing voxels become `fill`."""
    shape = array.shape[1:]
    inside = [
        slice(max(0, first), min(edge, first + extent)) for first, extent, edge in zip(start, size, shape, strict=True)
    ]
    result = np.full((array.shape[0], *size), fill, dtype=array.dtype)
    place = tuple(slice(part.start - first, part.stop - first) for part, first in zip(inside, start, strict=True))
    if all(part.stop > part.start for part in inside):
        result[(slice(None), *place)] = array[(slice(None), *inside)]
    return result


def cut_mirrored(array: Any, start: Sequence[int], size: Sequence[int]) -> Array:
    """Cut `(C, *size)` from `(C, Z, Y, X)` at `start`; what lies outside is the mirror image."""
    taken = [mirrored_indices(*axis) for axis in zip(start, size, array.shape[1:], strict=True)]
    # A box of what is needed is read first: prepared cases lie on disk in chunks.
    box = array[(slice(None), *(slice(int(indices.min()), int(indices.max()) + 1) for indices in taken))]
    for axis, indices in enumerate(taken):
        box = np.take(box, indices - indices.min(), axis=axis + 1)
    return np.asarray(box)


class BatchStream:
    """Batches in order, read ahead in a thread, or in processes where a fast device would starve.

    Args:
        sampler: Makes the batches.
        first_step: Where to begin; a resumed run goes on with the batches that it would have seen.
        num_workers: Processes; 0 for one thread, which suits a CPU that trains at the same time.
        read_ahead: Batches kept ready.
    """

    def __init__(self, sampler: PatchSampler, first_step: int, num_workers: int, read_ahead: int = 3) -> None:
        self._sampler = sampler
        self._next = first_step
        self._pool: ThreadPoolExecutor | ProcessPoolExecutor
        self._make: Callable[[int], PatchBatch]
        if num_workers == 0:
            self._pool = ThreadPoolExecutor(1)
            self._make = partial(_batch_of, sampler)
        else:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(num_workers, context, initializer=_hold_sampler, initargs=(sampler,))
            self._make = _batch_of_held_sampler
        self._pending: deque[Future[PatchBatch]] = deque()
        self._read_ahead = max(read_ahead, 2 * num_workers)

    def __iter__(self) -> Iterator[PatchBatch]:
        return self

    def __next__(self) -> PatchBatch:
        while len(self._pending) < self._read_ahead:
            self._pending.append(self._pool.submit(self._make, self._next))
            self._next += 1
        try:
            return self._pending.popleft().result()
        except BrokenProcessPool:
            raise RunError(
                "a process that makes batches was killed, most likely because memory ran out. "
                "Free some memory, then go on with --resume."
            ) from None

    def close(self) -> None:
        """Stop reading ahead."""
        self._pool.shutdown(wait=True, cancel_futures=True)


_held: list[PatchSampler] = []


def _hold_sampler(sampler: PatchSampler) -> None:
    """Keep the sampler in a worker, so that cases travel there once and not with every batch."""
    _held[:] = [sampler]


def _batch_of_held_sampler(step: int) -> PatchBatch:
    return _batch_of(_held[0], step)


def _batch_of(sampler: PatchSampler, step: int) -> PatchBatch:
    """The batch, or an error that names its cases.

    The error is ours, as what a library raises may not survive the way out of a process; the process' own traceback
    comes with it and is shown by `--debug`.
    """
    try:
        return sampler.batch(step)
    except Exception as error:
        names = ", ".join(sorted(set(sampler.case_names(step))))
        raise RunError(
            f"the batch of step {step} could not be made of {names}: {type(error).__name__}: {error}. If a prepared "
            "case is damaged, delete its files in preprocessed/ and run autounet preprocess; then go on with --resume."
        ) from error


def _three(size: Sequence[int], fill: int = 1) -> tuple[int, int, int]:
    z, y, x = (fill,) * (3 - len(size)) + tuple(size)
    return (z, y, x)


def _num_bytes(array: Any) -> int:
    return int(np.prod(array.shape)) * int(np.dtype(array.dtype).itemsize)
