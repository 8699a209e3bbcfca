"""Predict with a model that nnU-Net trained: this package and nnUNetv2_predict, from command to finished files.

    python tests/benchmarks/nnunet_model.py NNUNET_MODEL IMAGES --nnunet-bin VENV/bin [--threads 2] [--trainers DIR]

`NNUNET_MODEL` is nnU-Net's folder TRAINER__PLANS__CONFIGURATION, `IMAGES` a folder like imagesTs. Both use all mirrors,
on the CPU. nnU-Net runs as `nnUNetv2_predict_from_modelfolder`, `nnUNetv2_predict` by folder; a trainer class that its
installation does not know is looked for in `--trainers`. The import is timed apart. Rounds of both alternate; prints
times and the agreement of the masks, case by case the worst.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autounet.data.io import known_ending, read_label


def timed(command: list[str], threads: int, extra: dict[str, str] | None = None) -> float:
    """Run a command; its seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **(extra or {})}
    start = time.perf_counter()
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")
    return time.perf_counter() - start


def agreement(ours: Path, theirs: Path) -> tuple[int, float, str]:
    """Number of cases, and the smallest share of equal voxels with its case."""
    shares = []
    for path in sorted(theirs.iterdir()):
        if known_ending(path.name) and not path.name.endswith(".json"):
            expected, found = read_label(path)[0], read_label(ours / path.name)[0]
            shares.append((float((expected == found).mean()), path.name))
    worst, name = min(shares)
    return len(shares), worst, name


def main() -> None:
    """Time both and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--nnunet-bin", type=Path, required=True, help="bin folder of nnU-Net's environment")
    parser.add_argument("--trainers", type=Path, help="folder with the trainer class of the checkpoint")
    parser.add_argument("--folds", nargs="+", default=["0"])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    ours, theirs = [], []
    autounet = [sys.executable, "-m", "autounet"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        imported = timed(
            [*autounet, "import_nnunet", str(options.model), "-o", str(folder / "model"), "-f", *options.folds],
            options.threads,
        )
        roots = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), scratch)
        if options.trainers:
            roots["nnUNet_extTrainer"] = str(options.trainers)
        for turn in range(options.rounds):
            out, expected = folder / f"ours_{turn}", folder / f"theirs_{turn}"
            flags = ["-i", str(options.images), "-o"]
            model = ["--model", str(folder / "model"), "--device", "cpu"]
            ours.append(timed([*autounet, "predict", *flags, str(out), *model], options.threads))
            nnunet = str(options.nnunet_bin / "nnUNetv2_predict_from_modelfolder")
            source = ["-m", str(options.model), "-f", *options.folds, "-device", "cpu"]
            theirs.append(timed([nnunet, *flags, str(expected), *source], options.threads, roots))
        num_cases, worst, name = agreement(folder / "ours_0", folder / "theirs_0")
    print(f"import                  {imported:8.1f} s")
    for side, taken in (("autounet predict", ours), ("nnU-Net predict", theirs)):
        print(f"{side:16s} median {statistics.median(taken):8.1f} s of {', '.join(f'{one:.1f}' for one in taken)}")
    ratios = [after / before for before, after in zip(ours, theirs, strict=True)]
    listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"nnU-Net takes    median {statistics.median(ratios):8.2f} times as long, of {listed}")
    print(f"agreement of {num_cases} cases: at least {worst:.6f} of the voxels ({name})")


if __name__ == "__main__":
    main()
