"""Why a case could not be predicted, told so that the user can mend it; and whether going on makes sense."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.data.dataset import RawCase
from autounet.data.io import FileError
from autounet.errors import AutounetError, DataError, Problem, RequestError, RunError, WorkError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_PLACE = (*_FULL, errno.EROFS)
# Less room than this on a disk is none: libraries that write in blocks do not always say why they failed.
_NO_ROOM_BYTES = 2**16
_MEMORY_REMEDY = (
    "try --accumulate float16, a device with more memory or a machine with more; more cases at a time need more "
    "(fewer --devices)"
)
_AGAIN = "then run the same command again; finished cases are kept"


@dataclass(frozen=True)
class Failure:
    """A case that was not predicted.

    Attributes:
        problem: What is wrong, and the way out.
        is_bad_input: The case is to blame, not the work.
        ends_all: No other case could be written either.
    """

    problem: Problem
    is_bad_input: bool
    ends_all: bool = False


class InterruptionError(Exception):
    """The run is being ended; this case is left for the next one."""


def failure_of(error: Exception, case: RawCase, output: Path, *, is_writing: bool) -> Failure:
    """Understand what went wrong with a case.

    Args:
        error: What was raised.
        case: The case.
        output: The folder that is written to.
        is_writing: It was raised while results were written.
    """
    file = case.images[0].name
    if isinstance(error, FileError):
        remedy = f"mend or replace the file, {_AGAIN}"
        return Failure(Problem(case.name, error.path.name, str(error), remedy), is_bad_input=True)
    if isinstance(error, RequestError):
        remedy = f"mend or replace the file, {_AGAIN}"
        return Failure(Problem(case.name, file, str(error), remedy), is_bad_input=True)
    if isinstance(error, RunError):
        return Failure(Problem(case.name, file, str(error), _MEMORY_REMEDY), is_bad_input=False)
    if is_writing and isinstance(error, (OSError, RuntimeError)):
        return _not_written(error, case, output)
    if isinstance(error, MemoryError) or "memory" in str(error).lower():
        what = f"memory ran out ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        return Failure(Problem(case.name, file, what, _MEMORY_REMEDY), is_bad_input=False)
    what = str(error) if isinstance(error, AutounetError) else f"{type(error).__name__}: {error}"
    return Failure(Problem(case.name, file, what, f"look at the case, {_AGAIN}"), is_bad_input=False)


def error_of(failures: Sequence[Failure], title: str) -> DataError:
    """All of them as one error. Failures of the work weigh more than bad input: trying again may help."""
    kind = DataError if all(failure.is_bad_input for failure in failures) else WorkError
    return kind(title, [failure.problem for failure in failures])


def _not_written(error: OSError | RuntimeError, case: RawCase, output: Path) -> Failure:
    number = error.errno if isinstance(error, OSError) else None
    is_full = number in _FULL or _has_no_room(output)
    if is_full:
        what, remedy = f"the disk of {output} is full", f"make room there, or choose another folder with -o, {_AGAIN}"
    else:
        reason = error.strerror if isinstance(error, OSError) else error
        what = f"the result cannot be written to {output} ({reason})"
        remedy = f"check the folder's permissions, quota and limits on file sizes, {_AGAIN}"
    return Failure(
        Problem(case.name, str(output), what, remedy), is_bad_input=False, ends_all=is_full or number in _NO_PLACE
    )


def _has_no_room(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NO_ROOM_BYTES
    except OSError:
        return False
