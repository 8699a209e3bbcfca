"""How well objects come out of reference masks; run from the checkout.

    python tests/benchmarks/instances.py DATASET_FOLDER

DATASET_FOLDER holds `labelsTr` and, under the same names, `instancesTr` with the true objects. Compares three ways:
with the border class, without it (borders count as inside) cut where narrow, and connected parts alone. Prints a table
in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autounet.data.description import DatasetDescription
from autounet.data.io import label_ending, read_label
from autounet.geometry import Array
from autounet.inference.instances import InstanceOptions, ObjectClass, object_classes, separate


@dataclass(frozen=True)
class Compared:
    """Objects of one image; matched are those that overlap by more than half (IoU)."""

    num_true: int
    num_found: int
    num_matched: int

    @property
    def precision(self) -> float:
        """AP at an IoU of 0.5: matched over all that are in either map."""
        return self.num_matched / max(1, self.num_true + self.num_found - self.num_matched)


def compared(truth: Array, found: Array) -> Compared:
    """Compare two maps of objects `(Z, Y, X)`."""
    pairs, shared = np.unique(np.stack([truth.reshape(-1), found.reshape(-1)]), axis=1, return_counts=True)
    true_sizes, found_sizes = (np.bincount(values.reshape(-1)) for values in (truth, found))
    union = true_sizes[pairs[0]] + found_sizes[pairs[1]] - shared
    matched = (pairs > 0).all(axis=0) & (shared > 0.5 * union)
    return Compared(
        int(np.count_nonzero(true_sizes[1:])), int(np.count_nonzero(found_sizes[1:])), int(np.count_nonzero(matched))
    )


def row(title: str, images: Sequence[Compared]) -> str:
    """A line of the table."""
    errors = np.array([abs(image.num_found - image.num_true) for image in images])
    shares = errors / np.array([image.num_true for image in images])
    true, found = (sum(getattr(image, name) for image in images) for name in ("num_true", "num_found"))
    precision = np.mean([image.precision for image in images])
    exact = np.count_nonzero(errors == 0)
    return f"| {title} | {true} | {found} | {errors.mean():.2f} | {shares.mean():.1%} | {exact} | {precision:.3f} |"


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    folder = parser.parse_args().dataset
    description = DatasetDescription.load(folder)
    classes = object_classes(description.labels)
    merged = [replace(entry, values=(*entry.values, *entry.border_values), border_values=()) for entry in classes]
    ways: dict[str, tuple[Sequence[ObjectClass], InstanceOptions]] = {
        "border class": (classes, InstanceOptions()),
        "no border class, cut where narrow": (merged, InstanceOptions()),
        "no border class, connected parts": (merged, InstanceOptions(split=False)),
    }
    found: dict[str, list[Compared]] = {title: [] for title in ways}
    paths = sorted((folder / "labelsTr").glob(f"*{label_ending(description.file_ending)}"))
    for path in paths:
        label, geometry = read_label(path)
        truth, _ = read_label(folder / "instancesTr" / path.name)
        for title, (entries, options) in ways.items():
            found[title].append(compared(truth, separate(label, geometry, entries, options).array))
    print(f"| {len(paths)} images | true | found | mean count error | of the true count | exact images | AP50 |")
    print("|---|---|---|---|---|---|---|")
    for title, images in found.items():
        print(row(title, images))


if __name__ == "__main__":
    main()
