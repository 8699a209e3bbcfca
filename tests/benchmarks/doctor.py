"""How long the doctor takes on a raw dataset; run from the checkout.

    python tests/benchmarks/doctor.py RAW_FOLDER [--dataset 4] [--repeats 3]

RAW_FOLDER holds Dataset004_Hippocampus (or the other one asked for). Prints, as a table in Markdown, the wall time of
the whole command `autounet check` and of the check alone, with one process and with one a core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from autounet.data.doctor.checkup import examine
from autounet.parallel import available_cpus
from autounet.workspace import Workspace


def fastest(work: Callable[[], object], repeats: int) -> float:
    """The shortest of several wall times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Time it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--dataset", default="4")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        workspace = Path(place)
        (workspace / "raw").symlink_to(options.raw.absolute())
        folder = options.raw / Workspace.at(workspace).find_dataset(options.dataset)
        command = [sys.executable, "-m", "autounet", "check", "-d", options.dataset, "-w", str(workspace)]
        print(f"| {folder.name}, {available_cpus()} cores | shortest of {options.repeats} |\n|---|---|")
        whole = fastest(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=False), options.repeats)
        print(f"| `autounet check -d {options.dataset}` | {whole:.2f} s |")
        for jobs in dict.fromkeys((1, available_cpus())):
            seconds = fastest(lambda jobs=jobs: examine(folder, jobs=jobs), options.repeats)  # type: ignore[misc]
            print(f"| the check alone, at most {jobs} processes | {seconds:.2f} s |")


if __name__ == "__main__":
    main()
