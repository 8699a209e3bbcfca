"""Running the command line in several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def together() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a verb in two processes that share its batches, a thread each."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611", "-m", "autounet"]
        return subprocess.run(
            [sys.executable, *torchrun, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return run
