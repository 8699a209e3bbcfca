"""Verbs of the command line as users run them, with what they take; shared by benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Used:
    """What a command took.

    Attributes:
        seconds: Wall time.
        peak_gib: Most memory of its main process, that of the imported libraries included.
    """

    seconds: float
    peak_gib: float


def run_verb(*arguments: str) -> Used:
    """Run `autounet ARGUMENTS`; what it prints goes to standard error, apart from the figures of a benchmark.

    Raises:
        CalledProcessError: It failed.
    """
    command = [sys.executable, "-m", "autounet", *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Used(seconds=time.perf_counter() - start, peak_gib=usage.ru_maxrss / 2**20)
