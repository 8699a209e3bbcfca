"""How well objects come out of reference masks; run from the checkout.

    python tests/benchmarks/instances.py DATASET_FOLDER

DATASET_FOLDER holds `labelsTr` and, under the same names, `instancesTr` with the true objects. Compares the ways:
with the border class, without it (borders count as inside) cut where narrow, and connected parts alone. Prints a table
in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from autounet.data.description import DatasetDescription
from autounet.data.io import label_ending, read_label
from autounet.evaluation.instances import InstanceScores, instance_scores
from autounet.inference.instances import InstanceOptions, ObjectClass, object_classes, separate


def row(title: str, images: Sequence[InstanceScores]) -> str:
    """A line of the table."""
    errors = np.array([abs(image.num_predicted - image.num_reference) for image in images])
    shares = errors / np.array([image.num_reference for image in images])
    true, found = (sum(getattr(image, name) for image in images) for name in ("num_reference", "num_predicted"))
    precision = np.mean([image.precision_at[0] or 0.0 for image in images])
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
        "border class, objects of 10 voxels or more": (classes, InstanceOptions(min_voxels=10)),
        "no border class, cut where narrow": (merged, InstanceOptions()),
        "no border class, connected parts": (merged, InstanceOptions(split=False)),
    }
    found: dict[str, list[InstanceScores]] = {title: [] for title in ways}
    paths = sorted((folder / "labelsTr").glob(f"*{label_ending(description.file_ending)}"))
    for path in paths:
        label, geometry = read_label(path)
        truth, _ = read_label(folder / "instancesTr" / path.name)
        for title, (entries, options) in ways.items():
            found[title].append(instance_scores(truth, separate(label, geometry, entries, options).array))
    print(f"| {len(paths)} images | true | found | mean count error | of the true count | exact images | AP50 |")
    print("|---|---|---|---|---|---|---|")
    for title, images in found.items():
        print(row(title, images))


if __name__ == "__main__":
    main()
