"""Several folds: one after another here, or each on a device of its own in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from autounet.errors import RunError
from autounet.progress import Reporter


def train_side_by_side(
    folds: Sequence[int], devices: Sequence[str], arguments: Sequence[str], logs: Path, reporter: Reporter
) -> None:
    """Train each fold by a command of its own, as many at once as there are devices.

    Args:
        folds: Their numbers.
        devices: Each takes one fold at a time.
        arguments: Of `autounet train`, without fold and device; `{fold}` stands for the fold.
        logs: Folder for what the commands print: `train_fold_0.log`.
        reporter: Is told when a fold begins and ends.

    Raises:
        RunError: Some folds failed; the others were trained to their end.
    """
    free: SimpleQueue[str] = SimpleQueue()
    for device in devices:
        free.put(device)
    logs.mkdir(parents=True, exist_ok=True)

    def train(fold: int) -> int:
        device = free.get()
        log = logs / f"train_fold_{fold}.log"
        reporter.say(f"fold {fold} on {device}: {log}")
        command = [part.format(fold=fold) for part in arguments]
        try:
            with log.open("w", encoding="utf-8") as file:
                done = subprocess.run(
                    [sys.executable, "-m", "autounet", *command, "--device", device],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
        finally:
            free.put(device)
        reporter.say(f"fold {fold}: {'trained' if done.returncode == 0 else f'failed, see {log}'}")
        return done.returncode

    with ThreadPoolExecutor(len(devices)) as pool:
        codes = list(pool.map(train, folds))
    failed = [str(fold) for fold, code in zip(folds, codes, strict=True) if code]
    if failed:
        raise RunError(f"folds {', '.join(failed)} failed; what they said is in {logs}")
