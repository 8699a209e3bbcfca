"""Many cases: in parallel, resumable, only what is missing or has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autounet.data.companions import file_states
from autounet.data.dataset import RawCase, RawDataset
from autounet.data.io import read_image, read_label
from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.parallel import map_ordered
from autounet.plans import Configuration, Plan, ResamplingPlan
from autounet.preprocessing.appearance import appearance_for
from autounet.preprocessing.case import prepare_case
from autounet.preprocessing.store import ClassLocations, PreparedStore
from autounet.progress import SILENT, Reporter

# Raised whenever the code makes something else of the same plan, so that stored cases are made again.
_FORMAT = 1
# As many places of a class are kept as nnU-Net keeps: enough to sample from, few enough to load fast.
_MIN_LOCATIONS, _LOCATION_SHARE = 10_000, 0.01
_LOCATION_SEED = 1234


@dataclass(frozen=True)
class PreparedCount:
    """How many cases were prepared now, and how many lay ready."""

    prepared: int
    ready: int


@dataclass(frozen=True)
class _Task:
    """A case, and the configurations that it is not yet prepared for."""

    case: RawCase
    configurations: tuple[Configuration, ...]


def store_for(folder: Path, plan: Plan, configuration: Configuration) -> PreparedStore:
    """The store of a configuration inside a dataset's preprocessed folder.

    Its name follows from what cases are prepared by, so that configurations and plans that ask for the same share it.
    """
    spacing = "x".join(f"{size:.3g}" for size in configuration.spacing_mm)
    name = f"prepared_{configuration.num_spatial_dims}d_{spacing}mm_{_digest(_ingredients(plan, configuration))[:6]}"
    return PreparedStore(folder / name, configuration.patch_size)


def prepare_dataset(
    dataset: RawDataset,
    plan: Plan,
    configurations: Sequence[Configuration],
    folder: Path,
    *,
    jobs: int = 1,
    reporter: Reporter = SILENT,
) -> dict[str, PreparedCount]:
    """Prepare every training case that is missing or was made from something else; each is read once for all.

    Configurations that ask for the same share one store, which is filled once.

    Args:
        dataset: The raw dataset.
        plan: Its plan.
        configurations: Of the plan, to prepare for.
        folder: The dataset's preprocessed folder.
        jobs: Worker processes.
        reporter: Shows the progress.

    Returns:
        What was done, by configuration.
    """
    stores = {configuration.name: store_for(folder, plan, configuration) for configuration in configurations}
    for store in stores.values():
        store.folder.mkdir(parents=True, exist_ok=True)
    distinct = {stores[configuration.name].folder: configuration for configuration in configurations}
    tasks = []
    for case in dataset.cases:
        missing = tuple(
            entry for entry in distinct.values() if not stores[entry.name].holds(case.name, recipe(case, plan, entry))
        )
        if missing:
            tasks.append(_Task(case, missing))
    prepare = partial(_prepare_one, plan=plan, folder=folder)
    for _ in map_ordered(prepare, tasks, jobs=jobs, reporter=reporter, description="preprocess"):
        pass
    counts = {}
    for name, store in stores.items():
        prepared = sum(distinct[store.folder] in task.configurations for task in tasks)
        counts[name] = PreparedCount(prepared, len(dataset.cases) - prepared)
    return counts


def recipe(case: RawCase, plan: Plan, configuration: Configuration) -> str:
    """A hash of everything that a prepared case depends on: the plan's part in it and the raw files' state."""
    files = file_states(path for path in case.files if path)
    # Only where it says something, so that cases prepared before there was such a thing stay good.
    annotated = [] if case.annotated is None else [case.annotated]
    return _digest([*_ingredients(plan, configuration), files, *annotated])


def _ingredients(plan: Plan, configuration: Configuration) -> list[Any]:
    """What of a plan a prepared case depends on."""
    ingredients = [
        _FORMAT,
        plan.labels.model_dump(mode="json"),
        [channel.model_dump(mode="json") for channel in plan.channels],
        plan.transpose_forward,
        configuration.spacing_mm,
    ]
    # Only where it says something, so that cases prepared before there was such a thing stay good.
    if configuration.resampling != ResamplingPlan():
        ingredients.append(configuration.resampling.model_dump(mode="json"))
    return ingredients if plan.grid == "as_stored" else [*ingredients, plan.grid]


def _digest(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def class_locations(label: npt.NDArray[np.int16], labels: LabelSchema) -> ClassLocations:
    """Draw, for every class, voxels of it to centre patches on (nnU-Net's `_sample_foreground_locations`)."""
    generator = np.random.default_rng(_LOCATION_SEED)
    per_class = tuple(_sample(labels.class_mask(label, index), generator) for index in range(labels.num_classes))
    annotated = labels.annotated_mask(label)
    return ClassLocations(per_class, None if annotated is None else _sample(annotated & (label >= 0), generator))


def _sample(mask: npt.NDArray[np.bool_], generator: np.random.Generator) -> npt.NDArray[np.int32]:
    flat = np.flatnonzero(mask)
    keep = max(min(_MIN_LOCATIONS, flat.size), int(np.ceil(_LOCATION_SHARE * flat.size)))
    if keep < flat.size:
        flat = generator.choice(flat, keep, replace=False)
    return np.stack(np.unravel_index(flat, mask.shape), axis=1).astype(np.int32)


def _prepare_one(task: _Task, plan: Plan, folder: Path) -> None:
    case = task.case
    assert case.label is not None, "training cases were checked to have labels"
    annotated = None if case.annotated is None else plan.labels.class_indices(case.annotated)
    image, (label, _) = read_image(case.images, len(plan.channels)), read_label(case.label)
    appearance = appearance_for(image, plan.grid)
    for configuration in task.configurations:
        try:
            prepared = prepare_case(image, label, plan, configuration)
        except RequestError as error:
            raise RequestError(f"case {case.name}: {error}") from None
        assert prepared.label is not None
        locations = class_locations(prepared.label, plan.labels)
        store = store_for(folder, plan, configuration)
        store.save(case.name, prepared, locations, recipe(case, plan, configuration), annotated, appearance)
