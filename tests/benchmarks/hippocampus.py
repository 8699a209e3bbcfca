"""Figures of the whole pipeline on Dataset004_Hippocampus; run from the checkout.

    python -m tests.benchmarks.hippocampus RAW_FOLDER [--max-time 10m] [--workspace DIR]

RAW_FOLDER holds Dataset004_Hippocampus. Prints wall time, peak memory and scores of every step, as a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from tests.benchmarks.verbs import run_verb

DATASET = "Dataset004_Hippocampus"


def run(name: str, *arguments: str) -> None:
    """Run `autounet ARGUMENTS` and print what it took."""
    used = run_verb(*arguments)
    command = f"`autounet {' '.join(arguments[:6])}`"
    print(f"| {name} | {command} | {used.seconds:.1f} s | {used.peak_gib:.2f} GiB |", flush=True)


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
