"""What a case will take, told before it is begun."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from autounet.errors import RunError
from autounet.geometry import Shape3
from autounet.inference.export import SLAB_BYTES
from autounet.inference.predictor import Predictor
from autounet.progress import duration

# Feature maps of the finest stage that a U-Net holds at once: two of its own, one skip, and a copy to convolve.
_LIVE_MAPS = 4
# Copies of a tile's logits: as they come, flipped back, and their mean.
_LIVE_LOGITS = 3
_SMALLEST_SLAB_BYTES = 16 * 2**20
# Before anything was measured: interpolated values that a core decides in a second.
_VALUES_A_SECOND = 1e8
# Shorter ones are not worth a line.
_WORTH_TELLING_SECONDS = 10.0


@dataclass(frozen=True)
class CaseNeeds:
    """What predicting a case takes on this machine.

    Attributes:
        memory_bytes: At its peak, on the host.
        seconds: `None` where nothing was measured yet.
    """

    memory_bytes: int
    seconds: float | None

    def __str__(self) -> str:
        """`1.1 GiB, 40 s`."""
        memory = f"{self.memory_bytes / 2**30:.1f} GiB"
        return memory if self.seconds is None else f"{memory}, {duration(self.seconds)}"

    @property
    def is_worth_telling(self) -> bool:
        """Whether somebody would want to know before."""
        return self.memory_bytes > 2**30 or (self.seconds or 0) > _WORTH_TELLING_SECONDS


class Room:
    """Memory that the cases under way share: one that needs more than is left waits, unless it is alone.

    Args:
        max_bytes: For all of them together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._taken = max_bytes, 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, num_bytes: int) -> Iterator[None]:
        """Wait until there is room, and hold it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + num_bytes <= self._max_bytes)
            self._taken += num_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken -= num_bytes
                self._changed.notify_all()


@dataclass(frozen=True)
class _StageBytes:
    """What one predictor takes for a case: its input, its logits, and a batch of tiles on their way through it."""

    inputs: int
    results: int
    tiles: int

    @classmethod
    def of(cls, model: Predictor, shape: Shape3) -> _StageBytes:
        num_inputs = model.plan.num_inputs(model.configuration)
        on_cpu = model.device.type == "cpu"
        views = min(model.window.batch_size, model.num_views(shape)) if on_cpu else 1
        features = model.configuration.network.features[0] * _LIVE_MAPS if on_cpu else 0
        floats_a_voxel = num_inputs + features + _LIVE_LOGITS * model.plan.labels.num_outputs
        return cls(
            inputs=4 * num_inputs * math.prod(shape),
            results=model.results_bytes(shape),
            tiles=4 * math.prod(model.window.tile) * views * floats_a_voxel,
        )


def memory_bytes(
    models: Sequence[Predictor],
    image: Sequence[int],
    shapes: Sequence[Shape3],
    slab_bytes: int,
    first_shapes: Sequence[Shape3 | None] = (),
) -> int:
    """Host memory at the peak of a case.

    Args:
        models: Whose logits are held together.
        image: Shape of the raw image `(C, Z, Y, X)`.
        shapes: Of the prepared image, for each model.
        slab_bytes: What probabilities may take; 0 where none are written.
        first_shapes: Of the image as the first stage of each model takes it; `None` for one of a single stage.
    """
    label = math.prod(image[1:]) * np.dtype(models[0].plan.labels.dtype).itemsize
    raw = 4 * math.prod(image)
    stages = [_StageBytes.of(model, shape) for model, shape in zip(models, shapes, strict=True)]
    inputs = sum(stage.inputs for stage in stages)
    firsts = [model.first for model in models if model.first is not None]
    # The raw image is let go before the tiles begin, unless a first stage is to see it too.
    held = inputs + (raw if firsts else 0)
    peaks, results = [raw + inputs], 0
    for model, stage, first_shape in zip(models, stages, first_shapes or [None] * len(stages), strict=True):
        if model.first is not None and first_shape is not None:
            first = _StageBytes.of(model.first, first_shape)
            peaks.append(held + results + first.results + max(first.inputs + first.tiles, 2 * label))
        results += stage.results
        peaks.append(held + results + stage.tiles)
    # The tiles are let go before the export.
    peaks.append(results + 2 * label + slab_bytes)
    return _weights_bytes([*models, *firsts]) + max(peaks)


def _weights_bytes(models: Sequence[Predictor]) -> int:
    networks = [network for model in models for network in model.networks]
    return 4 * sum(parameter.numel() for network in networks for parameter in network.parameters())


def slab_bytes_within(max_bytes: int) -> int:
    """Memory for a slab of probabilities, where that of a case is limited."""
    return max(_SMALLEST_SLAB_BYTES, min(SLAB_BYTES, max_bytes // 8))


def require_room(needs: CaseNeeds, max_bytes: int) -> None:
    """Refuse a case that would exceed the memory given.

    Raises:
        RunError: It would; with what helps.
    """
    if needs.memory_bytes > max_bytes:
        raise RunError(
            f"needs about {needs.memory_bytes / 2**30:.2f} GiB of memory, more than the {max_bytes / 2**30:.2f} GiB "
            "that there are (--max-ram-gib)"
        )


class Pace:
    """How fast this machine has been so far; several threads may tell and ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._view_seconds: dict[int, float] = {}
        self._values_a_second = _VALUES_A_SECOND

    def predicted(self, model: int, num_views: int, seconds: float) -> None:
        """Tell how long the tiles and mirrors of a case took the model of that number."""
        with self._lock:
            self._view_seconds[model] = seconds / num_views

    def exported(self, num_values: int, seconds: float) -> None:
        """Tell how long the export of so many interpolated values took."""
        with self._lock:
            self._values_a_second = max(1.0, num_values / max(seconds, 1e-3))

    def seconds(self, num_views: Sequence[int], num_values: int) -> float | None:
        """What a case will take, by what others took; `None` where some model has done none yet."""
        with self._lock:
            if any(model not in self._view_seconds for model in range(len(num_views))):
                return None
            tiles = sum(self._view_seconds[model] * count for model, count in enumerate(num_views))
            return tiles + num_values / self._values_a_second
