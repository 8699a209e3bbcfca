"""How long scoring takes; run from the checkout.

    python tests/benchmarks/evaluation.py RAW_FOLDER [--dataset 4] [--repeats 3]

RAW_FOLDER holds Dataset004_Hippocampus (or the other one asked for). Its labels, dilated here and shifted there, stand
for predictions. Prints, as a table in Markdown, the wall time of the whole command `autounet evaluate` with all metrics
and with overlap alone, of `autounet compare`, and of the surface metrics of two volumes of 256^3 voxels.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from autounet.data.io import read_label, write_label
from autounet.evaluation.case import class_metrics
from autounet.evaluation.metrics import MetricChoice, metric_names
from autounet.labels import LabelClass, LabelSchema
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


def invent_predictions(labels: Path, folder: Path, seed: int) -> int:
    """Write label maps that are wrong here and there; returns how many."""
    generator = np.random.default_rng(seed)
    paths = sorted(path for path in labels.iterdir() if not path.name.startswith("."))
    for path in paths:
        label, geometry = read_label(path)
        grown = ndimage.maximum_filter(label, 3)
        # Noise that is smooth makes errors that hang together.
        wrong = ndimage.gaussian_filter(generator.normal(size=label.shape), 2) > 0.05
        label = np.roll(np.where(wrong, grown, label), int(generator.integers(-1, 2)), axis=1)
        write_label(folder / path.name, label.astype(np.uint8), geometry)
    return len(paths)


def volume_of_256(radius: float) -> float:
    """Seconds for the surface metrics of two balls in volumes of 256^3 voxels, from the label maps on."""
    z, y, x = np.indices((256, 256, 256), sparse=True)
    balls = [
        ((z - centre) ** 2 + (y - centre) ** 2 + (x - centre) ** 2 < size**2).astype(np.uint8)
        for centre, size in ((128, radius), (130, 0.95 * radius))
    ]
    labels = LabelSchema(classes=(LabelClass(name="ball", values=(1,)),))
    choice = MetricChoice(names=metric_names(["surface"]))
    return fastest(lambda: class_metrics(balls[0], balls[1], (2.0, 0.8, 0.8), labels, choice), 3)


def autounet(arguments: Sequence[object], repeats: int) -> float:
    """Seconds of a command."""
    command = [sys.executable, "-m", "autounet", *map(str, arguments)]
    return fastest(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True), repeats)


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
        labels = options.raw / Workspace.at(workspace).find_dataset(options.dataset) / "labelsTr"
        first, second = workspace / "first", workspace / "second"
        count = invent_predictions(labels, first, seed=0)
        invent_predictions(labels, second, seed=1)
        print(f"| {count} pairs, {available_cpus()} cores | shortest of {options.repeats} |\n|---|---|")
        rows = {
            "evaluate, all metrics": ["evaluate", labels, first],
            "evaluate, all metrics, one process": ["evaluate", labels, first, "--jobs", 1],
            "evaluate --metrics overlap": ["evaluate", labels, second, "--metrics", "overlap"],
            "compare --reference": ["compare", first, second, "--reference", labels],
        }
        for name, arguments in rows.items():
            print(f"| `autounet {name}` | {autounet(arguments, options.repeats):.1f} s |", flush=True)
        for radius in (15, 100):
            print(f"| surface metrics, 256^3, balls of radius {radius} | {volume_of_256(radius):.2f} s |", flush=True)


if __name__ == "__main__":
    main()
