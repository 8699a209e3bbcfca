"""Several datasets as one: the union of their classes, each case with those that were annotated in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from autounet.data.dataset import RawCase, RawDataset
from autounet.data.description import write_dataset_json
from autounet.data.doctor.writing import WRITABLE
from autounet.data.draft import place_images, place_label
from autounet.data.integrity import label_problems, reading_problem, value_counts
from autounet.data.io import FileError, label_ending, read_label, write_label
from autounet.data.sources import SourceCase
from autounet.errors import DataError, Problem, RequestError
from autounet.labels import BACKGROUND, LabelClass, LabelSchema
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Reporter
from autounet.records import whole_folder


@dataclass(frozen=True)
class MergedCase:
    """A case of the merged dataset, and where it comes from.

    Attributes:
        name: What it will be called.
        source: Its files, and its name in its own dataset.
        dataset: Index of its dataset.
        annotated: The classes that were annotated in it.
    """

    name: str
    source: RawCase
    dataset: int
    annotated: tuple[str, ...]


@dataclass(frozen=True)
class Merge:
    """What will be made of the datasets.

    Attributes:
        folder: Where it will be.
        sources: The datasets.
        cases: Of all of them, sorted by name.
        labels: The union of the classes, with values of their own.
        value_maps: For each dataset, the new value of each of its values.
        remarks: What the user should look at.
    """

    folder: Path
    sources: tuple[RawDataset, ...]
    cases: tuple[MergedCase, ...]
    labels: LabelSchema
    value_maps: tuple[dict[int, int], ...]
    remarks: tuple[str, ...] = ()

    @property
    def file_ending(self) -> str:
        """Of the images: the first dataset's."""
        return self.sources[0].description.file_ending


def understand_merge(sources: Sequence[RawDataset], folder: Path) -> Merge:
    """Unite the classes of datasets by their names, and name their cases.

    Args:
        sources: At least two datasets with the same channels.
        folder: Where the merged dataset will be.

    Raises:
        RequestError: They cannot be one dataset.
    """
    if len({source.folder.resolve() for source in sources}) < max(2, len(sources)):
        raise RequestError("name at least two datasets to merge, each once")
    _require_same_channels(sources)
    _require_one_format(sources)
    labels, value_maps = _united(sources)
    return Merge(
        folder=folder,
        sources=tuple(sources),
        cases=_named_cases(sources),
        labels=labels,
        value_maps=value_maps,
        remarks=tuple(_alike(labels.class_names)),
    )


def write_merge(merge: Merge, *, copy: bool, jobs: int = 1, reporter: Reporter = SILENT) -> None:
    """Write the merged dataset, all or nothing: images are linked (or copied), labels get their new values.

    Images of another format than the first dataset's are written anew in that one, as float32.

    Raises:
        DataError: Label files cannot be read or hold values that they should not; all of them at once.
    """
    with whole_folder(merge.folder) as unfinished:
        place = partial(_place_case, merge=merge, root=unfinished, copy=copy)
        files = (path for case in merge.cases for path in case.source.files if path is not None)
        jobs = worthwhile_jobs(jobs, files)
        placed = map_ordered(place, merge.cases, jobs=jobs, reporter=reporter, description="merge")
        problems = [problem for found in placed for problem in found]
        if problems:
            raise DataError(f"{merge.folder.name} (nothing was written)", problems)
        write_dataset_json(
            unfinished,
            labels=merge.labels,
            channel_names=merge.sources[0].description.channel_names,
            file_ending=merge.file_ending,
            num_training=len(merge.cases),
            annotated={case.name: case.annotated for case in merge.cases},
        )


def _require_same_channels(sources: Sequence[RawDataset]) -> None:
    first = sources[0].description
    for source in sources[1:]:
        other = source.description
        if other.channel_names != first.channel_names:
            raise RequestError(
                f"the channels differ: {first.name} has {', '.join(first.channel_names)}, {other.name} has "
                f"{', '.join(other.channel_names)}. If they mean the same, give them the same names in dataset.json."
            )


def _require_one_format(sources: Sequence[RawDataset]) -> None:
    ending = sources[0].description.file_ending
    others = [source.description for source in sources if source.description.file_ending != ending]
    if others and ending not in WRITABLE:
        raise RequestError(
            f"{others[0].name} holds {others[0].file_ending} images, and they cannot be written anew as {ending}. "
            f"Name a dataset in one of {', '.join(WRITABLE)} first."
        )


def _united(sources: Sequence[RawDataset]) -> tuple[LabelSchema, tuple[dict[int, int], ...]]:
    """The union of the classes, and each dataset's way there."""
    schemas = [source.description.labels for source in sources]
    if any(schema.has_regions for schema in schemas):
        different = next((i for i, schema in enumerate(schemas) if schema != schemas[0]), None)
        if different is not None:
            raise RequestError(
                f"{sources[0].description.name} and {sources[different].description.name} have different labels, and "
                "regions can be merged only where 'labels' and 'regions_class_order' are the same in all datasets"
            )
        identity = {value: value for value in schemas[0].declared_values}
        return schemas[0], (identity,) * len(schemas)
    names = tuple(dict.fromkeys(name for schema in schemas for name in schema.class_names))
    new = {name: index for index, name in enumerate(names, start=1)}
    has_ignore = any(schema.ignore_value is not None for schema in schemas)
    united = LabelSchema(
        classes=tuple(LabelClass(name=name, values=(value,)) for name, value in new.items()),
        ignore_value=len(names) + 1 if has_ignore else None,
    )
    maps = []
    for schema in schemas:
        values = {BACKGROUND: BACKGROUND} | {entry.values[0]: new[entry.name] for entry in schema.classes}
        if schema.ignore_value is not None and united.ignore_value is not None:
            values[schema.ignore_value] = united.ignore_value
        maps.append(values)
    return united, tuple(maps)


def _named_cases(sources: Sequence[RawDataset]) -> tuple[MergedCase, ...]:
    """All cases; where two datasets have cases of the same name, every case gets its dataset's name in front."""
    counts = Counter(case.name for source in sources for case in source.cases)
    prefixes = [""] * len(sources)
    if any(count > 1 for count in counts.values()):
        full = [source.description.name for source in sources]
        plain = [re.sub(r"^Dataset\d{3}_", "", name) for name in full]
        chosen = plain if len(set(plain)) == len(plain) else full
        if len(set(chosen)) < len(chosen):
            raise RequestError(f"two datasets are called {', '.join(full)} and share names of cases. Rename a folder.")
        prefixes = [f"{name}_" for name in chosen]
    cases = [
        MergedCase(
            name=prefixes[index] + case.name,
            source=case,
            dataset=index,
            annotated=case.annotated or source.description.labels.class_names,
        )
        for index, source in enumerate(sources)
        for case in source.cases
    ]
    return tuple(sorted(cases, key=lambda case: case.name))


def _alike(names: Sequence[str]) -> list[str]:
    """Remarks on classes whose names differ in spelling only."""
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(re.sub(r"[\W_]+", "", name).lower(), []).append(name)
    return [
        f"The classes {' and '.join(map(repr, same))} are kept apart. If they are one, give them one name in the files "
        "dataset.json."
        for same in spelled.values()
        if len(same) > 1
    ]


def _place_case(case: MergedCase, merge: Merge, root: Path, copy: bool) -> list[Problem]:
    """Put the files of a case in place; what is wrong with them becomes a problem for the table."""
    files = case.source
    assert files.label is not None
    source = SourceCase(case.name, files.images, files.label)
    try:
        place_images(root / "imagesTr", source, merge.file_ending, copy=copy)
        return _place_label(source, files.label, merge, case, root, copy=copy)
    except FileError as error:
        return [reading_problem(files, error, error.path)]


def _place_label(
    source: SourceCase, path: Path, merge: Merge, case: MergedCase, root: Path, *, copy: bool
) -> list[Problem]:
    """Write the label with its new values, or link it where they are the old ones."""
    description, values = merge.sources[case.dataset].description, merge.value_maps[case.dataset]
    label, geometry = read_label(path)
    problems = label_problems(case.source, path, value_counts(label), description)
    if problems:
        return problems
    if all(old == new for old, new in values.items()):
        place_label(root / "labelsTr", source, merge.file_ending, copy=copy)
        return []
    table = np.zeros(max(values) + 1, dtype=np.uint8 if max(values.values()) <= np.iinfo(np.uint8).max else np.uint16)
    table[list(values)] = list(values.values())
    target = root / "labelsTr" / f"{case.name}{label_ending(merge.file_ending)}"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_label(target, table[label], geometry)
    return []
