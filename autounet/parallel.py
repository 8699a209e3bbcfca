"""One function over many cases in several processes, with errors that name their cause."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_limits

from autounet.errors import RunError
from autounet.progress import Reporter

# Chunks are small enough that the workers finish together, and that the progress bar moves.
_MAX_CHUNK, _CHUNKS_PER_JOB = 8, 8
# A worker process takes about a second to start. This many bytes of image files are read and worked on in that time.
_BYTES_WORTH_A_WORKER = 16 * 2**20

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cpus() -> int:
    """Processors that this process may use, by its affinity and the cgroup's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, round(int(quota) / int(period))))


def available_memory_bytes() -> int:
    """Memory of this machine, or of the cgroup if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return total if limit == "max" else min(total, int(limit))


def map_ordered(
    function: Callable[[Item], Result], items: Sequence[Item], *, jobs: int, reporter: Reporter, description: str
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order.

    Args:
        function: Importable and without side effects on this process; errors that it raises reach the caller.
        items: What to work on; sent to the workers by value, several at a time where there are many.
        jobs: Worker processes; 1 works in this process.
        reporter: Shows the progress.
        description: The progress bar's title.

    Raises:
        RunError: A worker process was ended from outside, mostly for want of memory.
    """
    if jobs <= 1 or len(items) <= 1:
        yield from reporter.track(map(function, items), description, len(items))
        return
    # Spawned workers inherit no threads and no locks, on every platform.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(items)), mp_context=context, initializer=_use_one_thread)
    try:
        # Sending a small item costs as much as working on it.
        chunk = max(1, min(_MAX_CHUNK, len(items) // (jobs * _CHUNKS_PER_JOB)))
        yield from reporter.track(pool.map(function, items, chunksize=chunk), description, len(items))
    except BrokenProcessPool:
        raise RunError(
            f"{description}: a worker process was killed, most likely because memory ran out. "
            f"Try again with fewer processes (--jobs {max(1, jobs // 2)})."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def worthwhile_jobs(jobs: int, files: Iterable[Path], effort: int = 1) -> int:
    """How many of the worker processes pay for their start, by the size of the files that they read.

    Args:
        jobs: At most so many.
        files: What they read.
        effort: How many times as long the work on a file takes as reading it and going through it once.
    """
    return max(1, min(jobs, effort * sum(path.stat().st_size for path in files) // _BYTES_WORTH_A_WORKER))


def _use_one_thread() -> None:
    """Keep a worker's linear algebra to one thread: the other cores belong to the other workers."""
    threadpool_limits(limits=1)
