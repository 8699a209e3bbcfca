"""The objects of a folder of label maps: a map of each, one table of all objects, and their counts."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from autounet.data.description import DatasetDescription
from autounet.data.io import FileError, label_ending, read_label, write_label
from autounet.errors import DataError, Problem, RequestError, some_of
from autounet.inference.instances import (
    FoundObject,
    InstanceOptions,
    ObjectClass,
    object_classes,
    separate,
)
from autounet.inference.probabilities import SUFFIX
from autounet.labels import BACKGROUND, LabelSchema
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Reporter
from autounet.records import write_text_atomically

OBJECTS, COUNTS = "objects.csv", "counts.csv"
_MAX_TOLD = 5


@dataclass(frozen=True)
class CountedImage:
    """What was found in one image.

    Attributes:
        name: Of the case.
        unit: Of the sizes: mm2, mm3, or nothing where the file tells no voxel size.
        objects: All of them.
        problem: What is wrong with the file, instead.
    """

    name: str
    unit: str = ""
    objects: tuple[FoundObject, ...] = ()
    problem: Problem | None = None


def separate_folder(
    masks: Path,
    output: Path,
    options: InstanceOptions | None = None,
    *,
    jobs: int = 1,
    reporter: Reporter = SILENT,
) -> list[CountedImage]:
    """Write the objects of every label map of a folder: a map each, `objects.csv` and `counts.csv`.

    Args:
        masks: Label maps, with a `dataset.json` beside them or in the folder above.
        output: Where to write; not the folder of the masks, whose names the maps have.
        options: How objects are told apart.
        jobs: Worker processes at most.
        reporter: Shows the progress.

    Returns:
        What was found, by image.

    Raises:
        RequestError: The folder holds no label maps or no `dataset.json`, or the classes asked for do not fit.
        DataError: Some files cannot be read or hold values without a class; all others were done.
    """
    description = _description(masks)
    if masks.resolve() == output.resolve():
        raise RequestError(f"{output} holds the masks, which the maps of objects would replace. Name another with -o.")
    ending = label_ending(description.file_ending)
    paths = sorted(
        path
        for path in masks.glob(f"*{ending}")
        if not path.name.startswith(".") and not path.name.endswith(f"{SUFFIX}{ending}")
    )
    if not paths:
        raise RequestError(f"{masks} holds no label map that ends in {ending}, as its dataset.json has it")
    options = options or InstanceOptions()
    classes = object_classes(description.labels, options.classes)
    work = partial(_separate_file, output=output, labels=description.labels, classes=classes, options=options)
    jobs = worthwhile_jobs(jobs, paths)
    found = list(map_ordered(work, paths, jobs=jobs, reporter=reporter, description="tell objects apart"))
    counted = [image for image in found if image.problem is None]
    write_text_atomically(output / OBJECTS, _objects_table(counted))
    write_text_atomically(output / COUNTS, _counts_table(counted, [entry.name for entry in classes]))
    problems = [image.problem for image in found if image.problem is not None]
    if problems:
        raise DataError(f"{masks} ({len(counted)} of {len(paths)} images were done)", problems)
    return counted


def _description(masks: Path) -> DatasetDescription:
    if not masks.is_dir():
        raise RequestError(f"{masks} is no folder. Name the folder that holds the masks.")
    for folder in (masks, masks.absolute().parent):
        if (folder / "dataset.json").is_file():
            return DatasetDescription.load(folder)
    raise RequestError(
        f"neither {masks} nor the folder above holds a dataset.json, which says what the values in the masks mean. "
        "Copy the dataset's there."
    )


def _separate_file(
    path: Path, output: Path, labels: LabelSchema, classes: Sequence[ObjectClass], options: InstanceOptions
) -> CountedImage:
    name = path.name.removesuffix("".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix)
    try:
        label, geometry = read_label(path)
        unknown = sorted(set(np.unique(label).tolist()) - {BACKGROUND, *labels.declared_values})
        if unknown:
            what = f"holds the values {some_of(unknown, _MAX_TOLD)}, which dataset.json does not declare"
            remedy = "give label maps of this dataset, not maps of objects, or declare the values"
            return CountedImage(name, problem=Problem(name, path.name, what, remedy))
        found = separate(label, geometry, classes, options)
        write_label(output / path.name, found.array, geometry)
    except FileError as error:
        return CountedImage(name, problem=Problem(name, path.name, error.what, error.remedy))
    unit = ("mm2" if geometry.num_spatial_dims == 2 else "mm3") if geometry.tells_spacing else ""
    return CountedImage(name, unit, found.objects)


def _objects_table(images: Sequence[CountedImage]) -> str:
    header = ("image", "object", "class", "voxels", "size", "unit", "centroid_z", "centroid_y", "centroid_x")
    rows = [
        (
            image.name,
            entry.number,
            entry.class_name,
            entry.num_voxels,
            "" if entry.size is None else f"{entry.size:.6g}",
            image.unit,
            *(f"{place:.2f}" for place in entry.centroid),
            "yes" if entry.touches_edge else "no",
        )
        for image in images
        for entry in image.objects
    ]
    return _csv([(*header, "touches_edge"), *rows])


def _counts_table(images: Sequence[CountedImage], classes: Sequence[str]) -> str:
    rows: list[tuple[object, ...]] = [("image", *classes, "all", "touching_the_edge")]
    for image in images:
        counts = Counter(entry.class_name for entry in image.objects)
        at_edge = sum(entry.touches_edge for entry in image.objects)
        rows.append((image.name, *(counts[name] for name in classes), len(image.objects), at_edge))
    return _csv(rows)


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
