"""What partial annotation saves: Dataset004_Hippocampus, of which most cases lack a class; run from the checkout.

    python -m tests.benchmarks.partial_annotation RAW_FOLDER [--keep 2] [--minutes 5] [--seed 0] [--workspace DIR]
                                                  [--modes told background all]

RAW_FOLDER holds Dataset004_Hippocampus. In `told` and `background` only every second case (or what `--keep` says) keeps
its posterior part; in the others those voxels become 0. `told` says so by `annotated` in dataset.json, `background`
does not, and `all` keeps every label. Each run takes the minutes given, one after the other. Prints the Dice of both
classes on the validation cases of fold 0, all of them with their whole labels, as a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.benchmarks.verbs import run_verb

SOURCE = "Dataset004_Hippocampus"
NUMBERS = {"told": 41, "background": 42, "all": 43}
LACKING, ITS_VALUE = "posterior", 2


def make(source: Path, folder: Path, mode: str, keep: int) -> None:
    """The dataset of one mode: images linked, labels linked or without one class."""
    (folder / "labelsTr").mkdir(parents=True)
    (folder / "imagesTr").symlink_to((source / "imagesTr").absolute())
    content = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    lacking = []
    for index, path in enumerate(sorted((source / "labelsTr").glob("*.nii.gz"))):
        target = folder / "labelsTr" / path.name
        if mode == "all" or index % keep == 0:
            target.symlink_to(path.absolute())
            continue
        image = nib.load(path)
        label = np.asarray(image.dataobj).copy()
        label[label == ITS_VALUE] = 0
        nib.save(nib.Nifti1Image(label, image.affine, image.header), target)
        lacking.append(path.name.removesuffix(".nii.gz"))
    if mode == "told":
        known = [name for name in content["labels"] if name not in ("background", LACKING)]
        content["annotated"] = dict.fromkeys(lacking, known)
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def scores(source: Path, workspace: Path, mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train fold 0, and score its validation cases against the labels that nothing was taken from."""
    folder = workspace / "raw" / f"Dataset{NUMBERS[mode]:03d}_{mode}"
    if not folder.exists():
        make(source, folder, mode, options.keep)
    number = str(NUMBERS[mode])
    run_verb("plan_and_preprocess", "-d", number, "-c", "3d_fullres")
    run_verb("train", number, "3d_fullres", "0", "--max-time", f"{options.minutes:g}m", "--seed", str(options.seed))
    (fold,) = (workspace / "results" / folder.name).glob("*__3d_fullres/fold_0")
    references = workspace / f"references_{mode}"
    references.mkdir()
    for path in sorted((fold / "validation").glob("*.nii.gz")):
        (references / path.name).symlink_to((source / "labelsTr" / path.name).absolute())
    (references / "dataset.json").symlink_to((source / "dataset.json").absolute())
    run_verb("evaluate", str(references), str(fold / "validation"), "-o", str(workspace / f"scores_{mode}.json"))
    found: dict[str, Any] = json.loads((workspace / f"scores_{mode}.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Make, train and score each way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--modes", nargs="+", choices=list(NUMBERS), default=list(NUMBERS))
    parser.add_argument("--keep", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, default=None)
    options = parser.parse_args()
    workspace: Path = options.workspace or Path(tempfile.mkdtemp())
    os.environ["AUTOUNET_WORKSPACE"] = str(workspace)
    print("| cases without posterior | cases | anterior | posterior | mean |\n|---|---|---|---|---|", flush=True)
    for mode in options.modes:
        found = scores(options.raw / SOURCE, workspace, mode, options)
        dice = [found["class_means"][name]["dice"] or 0.0 for name in ("anterior", LACKING)]
        cells = " | ".join(f"{value:.3f}" for value in (*dice, found["foreground_dice"] or 0.0))
        print(f"| {mode} | {found['num_cases']} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
