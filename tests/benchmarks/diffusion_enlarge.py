"""Whether drawn images help to segment: the same network trained with and without them; run from the checkout.

    python -m tests.benchmarks.diffusion_enlarge DATASET_FOLDER WORKSPACE --draw-time 2h --segment-time 10m

Fold 0 of a 2D dataset. A network learns to draw the training cases, draws `--copies` images for each of their label
maps, and `plain` is trained for the same time with and without these, once a seed. Validation cases are real, and
neither network has seen them. `--cases` keeps so many training cases only: the fewer there are, the more there is to
gain. Prints a table in Markdown. What is there already in WORKSPACE is used again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import numpy as np

from autounet.data.description import DatasetDescription
from autounet.data.io import label_ending
from autounet.data.splits import SPLITS_FILE, Split, make_splits, write_splits
from tests.benchmarks.verbs import run_verb

REAL, ENLARGED = "Dataset991_Real", "Dataset992_Enlarged"


def copy_cases(source: Path, target: Path, names: list[str], ending: str) -> None:
    """Images and labels of some cases; `dataset.json` is the caller's."""
    for part in ("imagesTr", "labelsTr"):
        (target / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        for path in (*source.glob(f"imagesTr/{name}_0*"), source / "labelsTr" / f"{name}{label_ending(ending)}"):
            shutil.copy(path, target / path.parent.name / path.name)


def describe(source: Path, target: Path) -> None:
    """The dataset's description for as many cases as there are."""
    content = json.loads((source / "dataset.json").read_text()) | {"name": target.name}
    content["numTraining"] = len(list((target / "labelsTr").iterdir()))
    (target / "dataset.json").write_text(json.dumps(content, indent=1))


def prepare(workspace: Path, dataset: str, split: Split, *further: str) -> None:
    """Plan and prepare a dataset, then set its one fold."""
    run_verb("plan_and_preprocess", "-d", dataset[7:10], "-c", "2d", *further)
    write_splits(workspace / "preprocessed" / dataset / SPLITS_FILE, [split])


def dice(workspace: Path, dataset: str, time: str, seed: int) -> float:
    """Mean foreground Dice of the real validation cases after training to segment."""
    options = ("--network", "plain", "--max-time", time, "--seed", str(seed), "--overwrite")
    run_verb("train", dataset[7:10], "2d", "0", *options)
    scores = workspace / "results" / dataset / "default__plain__2d" / "fold_0" / "validation" / "scores.json"
    return float(json.loads(scores.read_text())["foreground_dice"])


def main() -> None:
    """Draw, train both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--draw-time", default="2h")
    parser.add_argument("--segment-time", default="10m")
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--steps", default="50")
    parser.add_argument("--guidance", default="2")
    parser.add_argument("--network", default="diffusion_unet", help="that draws, with its options")
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--learning-rate", default="5e-4")
    given = parser.parse_args()
    source, workspace = given.dataset, given.workspace
    os.environ["AUTOUNET_WORKSPACE"] = str(workspace)
    ending = DatasetDescription.load(source).file_ending
    names = sorted(path.name.removesuffix(label_ending(ending)) for path in (source / "labelsTr").iterdir())
    fold = make_splits(names)[0]
    split = Split(train=fold.train[: given.cases], validation=fold.validation)

    real, enlarged = (workspace / "raw" / name for name in (REAL, ENLARGED))
    copy_cases(source, real, [*split.train, *split.validation], ending)
    describe(source, real)
    sizes = ("--patch", *[str(given.patch)] * 2, "--features", str(given.features), "--stages", "3")
    prepare(workspace, REAL, split)
    drawing = ("--network", given.network)
    prepare(workspace, REAL, split, *drawing, *sizes, "--batch-size", "8")
    if not list((workspace / "results" / REAL).glob("*diffusion_unet*__2d/fold_0/validation/diffusion.json")):
        length = ("--max-time", given.draw_time, "--learning-rate", given.learning_rate, "--overwrite")
        run_verb("train", REAL[7:10], "2d", "0", *drawing, *length)
    maps, drawn = workspace / "maps", workspace / "drawn"
    copy_cases(source, maps, list(split.train), ending)
    places = ("-i", str(maps / "labelsTr"), "-o", str(drawn))
    how = ("--copies", str(given.copies), "--steps", given.steps, "--guidance", given.guidance)
    run_verb("sample", REAL[7:10], *places, *how)

    made = sorted(path.name.removesuffix(label_ending(ending)) for path in (drawn / "labelsTr").iterdir())
    copy_cases(real, enlarged, [*split.train, *split.validation], ending)
    copy_cases(drawn, enlarged, made, ending)
    describe(source, enlarged)
    prepare(workspace, ENLARGED, Split(train=(*split.train, *made), validation=split.validation))
    cases = f"{len(split.validation)} real validation cases"
    print(f"| trained on | Dice of {cases}, {given.seeds} seeds | spread | each seed |")
    print("|---|---|---|---|")
    for dataset, title in ((REAL, f"{len(split.train)} real"), (ENLARGED, f"and {len(made)} drawn")):
        scores = [dice(workspace, dataset, given.segment_time, seed) for seed in range(given.seeds)]
        spread = np.std(scores, ddof=1) if len(scores) > 1 else np.nan
        each = " ".join(f"{score:.4f}" for score in scores)
        print(f"| {title} | {np.mean(scores):.4f} | {spread:.4f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
