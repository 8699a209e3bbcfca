"""Many cases over one device or several: read, predict, write; a case that fails does not stop the others.

Every device takes the next case of one queue when it is free. Beside a GPU, a thread reads the case after and
another writes the one before. A CPU works on several cases at once, each with a share of its cores: the cores then wait
neither for each other after every layer, nor for a file (1.3 times as fast on two, docs/benchmarks).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from autounet.data.dataset import RawCase
from autounet.data.io import Image, label_ending, read_image, write_label
from autounet.evaluation.finish import Finish
from autounet.geometry import Geometry
from autounet.inference.cascade import with_earlier
from autounet.inference.export import CaseLogits, export_case
from autounet.inference.failures import Failure, InterruptionError, failure_of
from autounet.inference.needs import CaseNeeds, Pace, Room, memory_bytes, require_room, slab_bytes_within
from autounet.inference.predictor import Predictor
from autounet.inference.probabilities import (
    SCALES,
    ProbabilityFormat,
    ProbabilityRecord,
    probability_path,
    probability_sink,
)
from autounet.inference.unlike import Watch
from autounet.parallel import available_cpus, available_memory_bytes
from autounet.preprocessing.case import PreparedCase
from autounet.progress import SILENT, Reporter

# Models of several configurations on one device; their probabilities are averaged.
Lane = tuple[Predictor, ...]
# More cases at once than this only take more memory.
_MOST_CPU_LANES = 4
# Timing a tile takes as long as two batches of them.
_VIEWS_WORTH_TIMING = 64
Result = TypeVar("Result")


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and within which memory.

    Attributes:
        probabilities: Write them too, in this format.
        max_bytes: Memory that prediction may take on the host.
        watch: Compares every case with the training data; what is unlike is told.
        finish: Thresholds, and what is done to a label map before it is written.
    """

    probabilities: ProbabilityFormat | None = None
    max_bytes: int = field(default_factory=available_memory_bytes)
    watch: Watch | None = None
    finish: Finish = field(default_factory=Finish)


@dataclass(frozen=True)
class _Ready:
    """A case as the networks will see it; with the raw image, where a first stage is to see that."""

    case: RawCase
    geometry: Geometry
    image: Image | None
    prepared: tuple[PreparedCase, ...]
    num_views: tuple[int, ...]
    num_values: int
    needs: CaseNeeds


@dataclass(frozen=True)
class _Outcome:
    case: RawCase
    failure: Failure | None


def _stages(lane: Lane) -> list[Predictor]:
    """All that are run on a case, in order: each model after its first stage, if it has one."""
    return _in_order([model.first for model in lane], lane)


def _in_order(firsts: Sequence[Result | None], seconds: Sequence[Result]) -> list[Result]:
    """What belongs to the first stages, where there are any, each before what belongs to its second."""
    return [entry for pair in zip(firsts, seconds, strict=True) for entry in pair if entry is not None]


def is_finished(output: Path, case: str, file_ending: str, probabilities: ProbabilityFormat | None) -> bool:
    """Whether all that was asked for lies there; the mask is written last."""
    wanted = [output / f"{case}{label_ending(file_ending)}"]
    if probabilities is not None:
        wanted.append(probability_path(output, case, probabilities))
    return all(path.exists() for path in wanted)


def predict_cases(
    lanes: Sequence[Lane],
    cases: Sequence[RawCase],
    output: Path,
    options: OutputOptions | None = None,
    reporter: Reporter = SILENT,
) -> list[Failure]:
    """Predict cases into a folder; each mask appears whole or not at all.

    Args:
        lanes: The models, once for every device; a CPU that is the only one shares its cores among several cases.
        cases: What to predict.
        output: Folder for the masks, `CASE` plus the ending of the model's labels.
        options: What is written.
        reporter: Shows the progress.

    Returns:
        The cases that could not be predicted, and why, in the order of the cases. Where a disk is full, cases
        that were not begun are not among them.
    """
    output.mkdir(parents=True, exist_ok=True)
    if len(lanes) == 1 and lanes[0][0].device.type == "cpu":
        lanes = [*lanes] * max(1, min(available_cpus(), len(cases), _MOST_CPU_LANES))
    num_threads = torch.get_num_threads()
    run = _Run(cases, output, options or OutputOptions(), len(lanes))
    threads = [threading.Thread(target=run.work, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    failures = {}
    try:
        for outcome in reporter.track(run.outcomes(len(threads), reporter), "predict", len(cases)):
            if outcome.failure is not None:
                failures[outcome.case.name] = outcome.failure
    finally:
        run.stop.set()
        for thread in threads:
            thread.join()
        torch.set_num_threads(num_threads)  # part of what a lane sets holds for the whole process
    return [failures[case.name] for case in cases if case.name in failures]


class _Run:
    """What the threads of a run share."""

    def __init__(self, cases: Sequence[RawCase], output: Path, options: OutputOptions, num_lanes: int) -> None:
        self.stop = threading.Event()
        self._output, self._options, self._num_lanes = output, options, num_lanes
        self._waiting: queue.SimpleQueue[RawCase] = queue.SimpleQueue()
        for case in cases:
            self._waiting.put(case)
        # A message to show, the outcome of a case, or `None` from a lane that has ended.
        self._told: queue.SimpleQueue[str | _Outcome | None] = queue.SimpleQueue()
        self._pace = Pace()
        self._room = Room(options.max_bytes)

    def outcomes(self, num_lanes: int, reporter: Reporter) -> Iterator[_Outcome]:
        """The outcomes as they come, until all lanes have ended; messages are shown on the way."""
        running = num_lanes
        while running:
            told = self._told.get()
            if told is None:
                running -= 1
            elif isinstance(told, str):
                reporter.say(told)
            else:
                yield told

    def work(self, lane: Lane) -> None:
        """Predict cases until none is left."""
        device = lane[0].device
        if device.type == "cpu" and self._num_lanes > 1:
            torch.set_num_threads(max(1, available_cpus() // self._num_lanes))
        beside = device.type != "cpu"
        try:
            with (
                ThreadPoolExecutor(1) if beside else nullcontext() as reader,
                ThreadPoolExecutor(1) if beside else nullcontext() as writer,
            ):
                self._work(lane, reader, writer)
        finally:
            self._told.put(None)

    def _work(self, lane: Lane, reader: ThreadPoolExecutor | None, writer: ThreadPoolExecutor | None) -> None:
        writing: Future[None] | None = None
        coming = self._begin(lane, reader)
        while coming is not None:
            ready = coming.result()
            # What is read ahead takes memory too, which must be there for both.
            has_room = ready is not None and 2 * ready.needs.memory_bytes <= self._options.max_bytes
            ahead = self._begin(lane, reader) if reader is not None and has_room else None
            if ready is not None:
                with self._room.taken(ready.needs.memory_bytes):
                    writing = self._finish(lane, ready, writer, writing)
            del ready
            coming = ahead or self._begin(lane, reader)

    def _finish(
        self, lane: Lane, ready: _Ready, writer: ThreadPoolExecutor | None, writing: Future[None] | None
    ) -> Future[None] | None:
        """Predict a case and write it, or hand it to the writer once that is done with the one before."""
        logits = self._guarded(ready.case, partial(self._predict, lane, ready))
        if logits is None:
            return writing
        if writing is not None:
            writing.result()
        if writer is not None:
            return writer.submit(self._write, lane, ready, logits)
        self._write(lane, ready, logits)
        return None

    def _begin(self, lane: Lane, reader: ThreadPoolExecutor | None) -> Future[_Ready | None] | None:
        """Take the next case from the queue and begin to read it; `None` at the end."""
        if self.stop.is_set():
            return None
        try:
            case = self._waiting.get_nowait()
        except queue.Empty:
            return None

        def read() -> _Ready | None:
            return self._guarded(case, lambda: self._read(lane, case))

        if reader is not None:
            return reader.submit(read)
        future: Future[_Ready | None] = Future()
        future.set_result(read())
        return future

    def _guarded(self, case: RawCase, stage: Callable[[], Result], *, is_writing: bool = False) -> Result | None:
        """The stage's result; `None`, and the failure told, where it failed."""
        try:
            return stage()
        except InterruptionError:
            return None
        except Exception as error:
            failure = failure_of(error, case, self._output, is_writing=is_writing)
            if failure.ends_all:
                self.stop.set()
            self._told.put(_Outcome(case, failure))
            return None

    def _read(self, lane: Lane, case: RawCase) -> _Ready:
        plan = lane[0].plan
        image = read_image(case.images, len(plan.channels))
        if self._options.watch is not None and (unlike := self._options.watch.look(case.name, image)):
            self._told.put(unlike)
        prepared = tuple(model.prepare_image(image) for model in lane)
        shapes = [entry.properties.shape for entry in prepared]
        first_shapes = [model.first_shape(entry.properties) for model, entry in zip(lane, prepared, strict=True)]
        stages = zip(_stages(lane), _in_order(first_shapes, shapes), strict=True)
        num_views = tuple(stage.num_views(shape) for stage, shape in stages)
        num_values = len(num_views) * plan.labels.num_outputs * image.array[0].size
        slab = 0 if self._options.probabilities is None else slab_bytes_within(self._options.max_bytes)
        memory = memory_bytes(lane, image.array.shape, shapes, slab, first_shapes)
        needs = CaseNeeds(memory, self._pace.seconds(num_views, num_values))
        require_room(needs, self._options.max_bytes)
        kept = image if any(shape is not None for shape in first_shapes) else None
        return _Ready(case, image.geometry, kept, prepared, num_views, num_values, needs)

    def _predict(self, lane: Lane, ready: _Ready) -> list[CaseLogits]:
        self._tell_needs(lane, ready)
        logits = []
        numbers = iter(range(len(ready.num_views)))
        for model, prepared in zip(lane, ready.prepared, strict=True):
            if model.first is not None:
                assert ready.image is not None
                first = self._logits(model.first, model.first.prepare(ready.image), ready, next(numbers))
                prepared = with_earlier(prepared, export_case([first]), model.plan)
                del first
            logits.append(self._logits(model, prepared, ready, next(numbers)))
        return logits

    def _logits(self, model: Predictor, prepared: PreparedCase, ready: _Ready, number: int) -> CaseLogits:
        """What one stage says, timed."""
        start = time.perf_counter()
        logits = model.case_logits(prepared, self._go_on)
        self._pace.predicted(number, ready.num_views[number], time.perf_counter() - start)
        return logits

    def _go_on(self, done: int, of: int) -> None:
        if self.stop.is_set():
            raise InterruptionError

    def _tell_needs(self, lane: Lane, ready: _Ready) -> None:
        """Say what the case takes, if that is much; a tile is timed where no case has told yet."""
        needs = ready.needs
        if needs.seconds is None and max(ready.num_views) > _VIEWS_WORTH_TIMING:
            for number, model in enumerate(_stages(lane)):
                num_inputs = model.plan.num_inputs(model.configuration)
                self._pace.predicted(number, 1, model.seconds_per_view(num_inputs))
        needs = CaseNeeds(needs.memory_bytes, self._pace.seconds(ready.num_views, ready.num_values))
        if needs.is_worth_telling:
            self._told.put(f"{ready.case.name} needs {needs}")

    def _write(self, lane: Lane, ready: _Ready, logits: list[CaseLogits]) -> None:
        def write() -> bool:
            start = time.perf_counter()
            self._export(lane, ready, logits)
            self._pace.exported(ready.num_values, time.perf_counter() - start)
            return True

        if self._guarded(ready.case, write, is_writing=True):
            self._told.put(_Outcome(ready.case, None))

    def _export(self, lane: Lane, ready: _Ready, logits: list[CaseLogits]) -> None:
        plan, name, form = lane[0].plan, ready.case.name, self._options.probabilities
        mask = self._output / f"{name}{label_ending(plan.file_ending)}"
        finish = self._options.finish.postprocessing.apply
        offsets = self._options.finish.offsets(plan.labels)
        if form is None:
            write_label(mask, finish(export_case(logits, offsets=offsets)), ready.geometry)
            return
        record = ProbabilityRecord(
            case=name,
            geometry=ready.geometry,
            shape=logits[0].properties.raw_shape(plan),
            labels=plan.labels,
            file_ending=plan.file_ending,
            channel_names=tuple(channel.name for channel in plan.channels),
            scale=SCALES[form],
        )
        with probability_sink(self._output, record) as sink:
            label = export_case(logits, sink, slab_bytes_within(self._options.max_bytes), offsets)
        write_label(mask, finish(label), ready.geometry)
