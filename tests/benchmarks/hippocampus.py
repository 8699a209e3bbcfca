"""Figures of the whole pipeline on Dataset004_Hippocampus; run from the checkout.

    python tests/benchmarks/hippocampus.py RAW_FOLDER [--max-time 10m] [--workspace DIR]

RAW_FOLDER holds Dataset004_Hippocampus. Prints wall time, peak memory and scores of every step, as a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATASET = "Dataset004_Hippocampus"


def run(name: str, *arguments: str) -> float:
    """Run `autounet ARGUMENTS` and print its wall time and the peak memory of its main process."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "autounet", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"autounet {' '.join(arguments)} ended with status {status}")
    peak_gib = usage.ru_maxrss / 2**20
    print(f"| {name} | `autounet {' '.join(arguments[:6])}` | {seconds:.1f} s | {peak_gib:.2f} GiB |", flush=True)
    return seconds


def main() -> None:
    """Run every step once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--max-time", default="10m")
    parser.add_argument("--workspace", type=Path, default=None)
    options = parser.parse_args()
    workspace: Path = options.workspace or Path(tempfile.mkdtemp())
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "raw").symlink_to(options.raw.absolute())
    os.environ["AUTOUNET_WORKSPACE"] = str(workspace)
    images = options.raw / DATASET / "imagesTs"
    print("| step | command | wall | peak memory |\n|---|---|---|---|")
    run("help", "--help")
    run("plan and preprocess, 220 cases", "plan_and_preprocess", "-d", "4")
    run("nothing left to do", "plan_and_preprocess", "-d", "4")
    run("train", "train", "4", "3d_fullres", "0", "--max-time", options.max_time)
    run("predict 40 cases, all mirrors", "predict", "-i", str(images), "-o", str(workspace / "masks"))
    run("predict again, all there", "predict", "-i", str(images), "-o", str(workspace / "masks"))
    fold = workspace / "results" / DATASET / "default__plain__3d_fullres" / "fold_0"
    references = options.raw / DATASET / "labelsTr"
    scores = json.loads((fold / "validation" / "scores.json").read_text(encoding="utf-8"))
    print(f"\nFold 0, {scores['num_cases']} whole validation cases against {references}:")
    print(f"mean foreground Dice {scores['foreground_dice']:.4f}")
    for name, mean in scores["class_means"].items():
        print(f"{name}: Dice {mean['dice']:.4f}, IoU {mean['iou']:.4f}")


if __name__ == "__main__":
    main()
