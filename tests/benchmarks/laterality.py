"""What mirroring does to left and right organs: Dataset101_OpenKBPHeadNeckCT trained three ways; run from the checkout.

    python -m tests.benchmarks.laterality RAW_FOLDER [--minutes 5] [--modes swap no_flip ignore] [--seed 0]
                                          [--configuration 3d_fullres] [--workspace DIR]

RAW_FOLDER holds Dataset101_OpenKBPHeadNeckCT. `ignore` is what nnU-Net does by default. Each run takes the minutes
given, all on the same cores, one after the other. Prints the Dice of every class on the validation cases of fold 0, as
a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.verbs import run_verb

DATASET = "Dataset101_OpenKBPHeadNeckCT"
SIDED = ("parotid_left", "parotid_right")


def trained(workspace: Path, mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """The scores of fold 0 after a run with `--laterality MODE`, kept in the workspace, as the next overwrites them."""
    limit = ["--max-time", f"{options.minutes:g}m"]
    choices = ["--laterality", mode, "--seed", str(options.seed), "--overwrite"]
    run_verb("train", "101", options.configuration, "0", *limit, *choices)
    (fold,) = (workspace / "results" / DATASET).glob(f"*__{options.configuration}/fold_0")
    text = (fold / "validation" / "scores.json").read_text(encoding="utf-8")
    (workspace / f"scores_{mode}.json").write_text(text, encoding="utf-8")
    scores: dict[str, Any] = json.loads(text)
    return scores


def main() -> None:
    """Prepare once, train each way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--modes", nargs="+", default=["swap", "no_flip", "ignore"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--workspace", type=Path, default=None)
    options = parser.parse_args()
    workspace: Path = options.workspace or Path(tempfile.mkdtemp())
    workspace.mkdir(parents=True, exist_ok=True)
    if not (workspace / "raw").exists():
        (workspace / "raw").symlink_to(options.raw.absolute())
    os.environ["AUTOUNET_WORKSPACE"] = str(workspace)
    run_verb("plan_and_preprocess", "-d", "101", "-c", options.configuration)
    scores = {mode: trained(workspace, mode, options) for mode in options.modes}
    classes = list(scores[options.modes[0]]["class_means"])
    print(f"| `--laterality` | cases | mean | {' | '.join(classes)} | left and right |")
    print("|---" * (len(classes) + 4) + "|")
    for mode, found in scores.items():
        dice = {name: found["class_means"][name]["dice"] or 0.0 for name in classes}
        sided = sum(dice[name] for name in SIDED) / len(SIDED)
        cells = [found["foreground_dice"] or 0.0, *dice.values(), sided]
        print(f"| {mode} | {found['num_cases']} | {' | '.join(f'{value:.3f}' for value in cells)} |", flush=True)


if __name__ == "__main__":
    main()
