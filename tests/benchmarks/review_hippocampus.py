"""Whether `autounet review` finds labels that were damaged on purpose: Dataset004_Hippocampus; run from the checkout.

    python -m tests.benchmarks.review_hippocampus RAW_FOLDER [--folds 2] [--steps 400] [--seed 0] [--workspace DIR]

RAW_FOLDER holds Dataset004_Hippocampus. Ten of its 220 training labels are damaged: four shifted, three with their
classes swapped, three without half of a class. The folds are trained on the damaged dataset, so that every case is
judged by a network that has not seen it; by steps, not by the clock, so that the result is the same on a busy machine.
Prints where the ten are found, as a table in Markdown; folds of the workspace that are trained already stay.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from tests.benchmarks.verbs import run_verb

DATASET = "Dataset004_Hippocampus"
SHIFT_VOXELS = 4
FIRST = 20
Label = npt.NDArray[np.uint8]


def shifted(label: Label, rng: np.random.Generator) -> tuple[Label, str]:
    """The label moved by 4 mm along one axis."""
    axis, sign = int(rng.integers(3)), int(rng.choice([-1, 1]))
    moved = np.zeros_like(label)
    here, there = slice(SHIFT_VOXELS, None), slice(None, -SHIFT_VOXELS)
    source, target = (there, here) if sign > 0 else (here, there)
    index_from, index_to = [slice(None)] * 3, [slice(None)] * 3
    index_from[axis], index_to[axis] = source, target
    moved[tuple(index_to)] = label[tuple(index_from)]
    return moved, f"shifted by {sign * SHIFT_VOXELS} voxels along {'xyz'[axis]}"


def swapped(label: Label, rng: np.random.Generator) -> tuple[Label, str]:
    """Anterior and posterior exchanged."""
    return np.array([0, 2, 1], dtype=np.uint8)[label], "classes swapped"


def halved(label: Label, rng: np.random.Generator) -> tuple[Label, str]:
    """One class without the half beyond its middle along its longest axis."""
    value = int(rng.integers(1, 3))
    places = np.argwhere(label == value)
    axis = int(np.argmax(np.ptp(places, axis=0)))
    middle = int(np.median(places[:, axis]))
    keep_low = bool(rng.integers(2))
    beyond = places[places[:, axis] > middle] if keep_low else places[places[:, axis] < middle]
    cut = label.copy()
    cut[tuple(beyond.T)] = 0
    return cut, f"half of class {value} missing ({len(beyond)} of {len(places)} voxels)"


DAMAGES: tuple[Callable[[Label, np.random.Generator], tuple[Label, str]], ...] = (
    *(shifted,) * 4,
    *(swapped,) * 3,
    *(halved,) * 3,
)


def damage(raw: Path, target: Path, seed: int) -> dict[str, str]:
    """Copy the dataset with ten damaged labels.

    Returns:
        Case to what was done to it.
    """
    (target / "labelsTr").mkdir(parents=True)
    (target / "imagesTr").symlink_to((raw / "imagesTr").absolute())
    (target / "dataset.json").write_text((raw / "dataset.json").read_text(encoding="utf-8"), encoding="utf-8")
    rng = np.random.default_rng(seed)
    paths = sorted((raw / "labelsTr").glob("*.nii.gz"))
    chosen = rng.choice(len(paths), size=len(DAMAGES), replace=False)
    damages = dict(zip(chosen.tolist(), DAMAGES, strict=True))
    done = {}
    for index, path in enumerate(paths):
        if index not in damages:
            (target / "labelsTr" / path.name).symlink_to(path.absolute())
            continue
        image = nib.Nifti1Image.from_filename(path)
        label, what = damages[index](np.asarray(image.dataobj).astype(np.uint8), rng)
        nib.save(nib.Nifti1Image(label, image.affine), target / "labelsTr" / path.name)
        done[path.name.removesuffix(".nii.gz")] = what
    return done


def write_folds(path: Path, names: list[str], count: int, seed: int) -> None:
    """Folds at random, each a validation set in turn."""
    shuffled = np.random.default_rng(seed).permutation(names).tolist()
    parts = [sorted(shuffled[fold::count]) for fold in range(count)]
    folds = [{"train": sorted(set(names) - set(part)), "val": part} for part in parts]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(folds), encoding="utf-8")


def report(review: dict[str, Any], done: dict[str, str]) -> None:
    """Where the damaged cases are, and how well the networks do."""
    suspects = review["suspects"]
    found = [suspect for suspect in suspects if suspect["case"] in done]
    print("| rank | case | damage | score | class | told as |\n|---|---|---|---|---|---|")
    for suspect in found:
        worst = suspect["classes"][0]
        cells = (suspect["rank"], suspect["case"], done[suspect["case"]], f"{suspect['score']:.1f}")
        print(f"| {' | '.join(map(str, cells))} | {worst['class_name']} | {worst['what']} |")
    among = sum(suspect["rank"] <= FIRST for suspect in found)
    print(f"\n{among} of {len(done)} damaged cases are among the first {FIRST} of {len(suspects)}")
    print(f"median Dice out of fold: {', '.join(f'{name} {dice:.3f}' for name, dice in review['typical'].items())}")
    others = max(suspect["score"] for suspect in suspects if suspect["case"] not in done)
    print(f"highest score of a case that was left as it was: {others:.1f}")


def main() -> None:
    """Damage, train, review, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, default=None)
    options = parser.parse_args()
    workspace: Path = options.workspace or Path(tempfile.mkdtemp())
    workspace.mkdir(parents=True, exist_ok=True)
    os.environ["AUTOUNET_WORKSPACE"] = str(workspace)
    record = workspace / "damaged.json"
    if not record.exists():
        done = damage(options.raw / DATASET, workspace / "raw" / DATASET, options.seed)
        record.write_text(json.dumps(done, indent=1), encoding="utf-8")
        names = [path.name.removesuffix(".nii.gz") for path in sorted((options.raw / DATASET / "labelsTr").iterdir())]
        write_folds(workspace / "preprocessed" / DATASET / "splits_final.json", names, options.folds, options.seed)
        run_verb("plan_and_preprocess", "-d", "4", "-c", "3d_fullres", "--features", "16", "--batch-size", "2")
    run_verb("train", "4", "3d_fullres", "all-folds", "--recipe", "clock", "--steps", str(options.steps))
    started = time.perf_counter()
    run_verb("review", "4", "--top", str(FIRST), "-o", str(workspace / "review"))
    seconds = time.perf_counter() - started
    report(
        json.loads((workspace / "review" / "review.json").read_text(encoding="utf-8")), json.loads(record.read_text())
    )
    print(f"\n`autounet review 4`, pictures included: {seconds:.0f} s")


if __name__ == "__main__":
    main()
