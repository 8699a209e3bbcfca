"""Work in several processes; the functions are the standard library's, so that workers can import them."""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from autounet import parallel
from autounet.errors import RequestError, RunError
from autounet.parallel import available_cpus, available_memory_bytes, map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Silent
from autounet.registry import Registry

T = TypeVar("T")
GIB = 2**30


class Counting(Silent):
    """Remembers what it was asked to track."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        self.calls.append((description, total))
        yield from items


def test_one_job_works_in_this_process_and_in_order() -> None:
    seen: list[tuple[int, int]] = []

    def note(item: int) -> int:
        seen.append((item, threading.get_ident()))
        return -item

    counting = Counting()
    assert list(map_ordered(note, [3, 1, 2], jobs=1, reporter=counting, description="Work")) == [-3, -1, -2]
    assert seen == [(item, threading.get_ident()) for item in (3, 1, 2)]
    assert counting.calls == [("Work", 3)]


def test_nothing_to_do_is_done_at_once() -> None:
    assert list(map_ordered(operator.neg, [], jobs=4, reporter=SILENT, description="Work")) == []


def test_every_item_is_done_once_in_other_processes() -> None:
    counting = Counting()
    results = list(map_ordered(operator.neg, range(5), jobs=2, reporter=counting, description="Work"))
    assert results == [0, -1, -2, -3, -4]
    assert counting.calls == [("Work", 5)]
    (process, *_) = map_ordered(eval, ["__import__('os').getpid()"] * 2, jobs=2, reporter=SILENT, description="Work")
    assert process != os.getpid()


def test_many_items_travel_together_and_come_back_in_order() -> None:
    results = list(map_ordered(operator.neg, range(100), jobs=2, reporter=SILENT, description="Work"))
    assert results == [-number for number in range(100)]


def test_workers_are_only_worth_their_start_for_large_files(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x")
    with large.open("wb") as file:
        file.truncate(40 * 2**20)
    assert worthwhile_jobs(4, [small]) == 1
    assert worthwhile_jobs(4, [small, large]) == 2
    assert worthwhile_jobs(4, [large] * 9) == 4
    # Hard work on a byte is worth a worker sooner.
    assert worthwhile_jobs(9, [large], effort=3) == 7


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_the_function_reaches_the_caller_as_it_is(jobs: int) -> None:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(map_ordered(math.sqrt, [1.0, -1.0], jobs=jobs, reporter=SILENT, description="Work"))


def test_our_own_errors_keep_their_class_across_processes() -> None:
    registry: Registry[object] = Registry("autounet.test_none", "thing", {"a": "math:sqrt"})
    with pytest.raises(RequestError, match="unknown thing 'b'"):
        list(map_ordered(registry.find, ["b", "b"], jobs=2, reporter=SILENT, description="Work"))


def test_a_killed_worker_is_told_with_the_remedy() -> None:
    with pytest.raises(RunError, match=r"^Prepare: a worker process was killed.*memory ran out.*\(--jobs 1\)"):
        list(map_ordered(os._exit, [9, 9], jobs=2, reporter=SILENT, description="Prepare"))


@pytest.fixture
def cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that stands for /sys/fs/cgroup, on a machine of 8 processors and 16 GiB."""
    monkeypatch.setattr(parallel, "Path", lambda text: tmp_path / Path(text).relative_to("/sys/fs/cgroup"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 16 * GIB // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("200000 100000", 2),
        ("max 100000", 8),
        ("50000 100000", 1),
        ("250000 100000", 2),
        ("9900000 100000", 8),
        ("", 8),
    ],
)
def test_processors_are_those_that_the_container_allows(quota: str, expected: int, cgroup: Path) -> None:
    (cgroup / "cpu.max").write_text(f"{quota}\n")
    assert available_cpus() == expected


@pytest.mark.parametrize(("limit", "expected"), [(str(4 * GIB), 4 * GIB), ("max", 16 * GIB), (str(64 * GIB), 16 * GIB)])
def test_memory_is_what_the_container_allows(limit: str, expected: int, cgroup: Path) -> None:
    (cgroup / "memory.max").write_text(f"{limit}\n")
    assert available_memory_bytes() == expected


def test_without_a_container_the_machine_counts(cgroup: Path) -> None:
    assert available_cpus() == 8
    assert available_memory_bytes() == 16 * GIB
