"""The fingerprint of a dataset: sizes, spacings, intensities and structures, from one pass over all cases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from autounet.data.companions import file_states
from autounet.data.dataset import RawCase, RawDataset
from autounet.data.description import DatasetDescription
from autounet.data.fold_summary import CaseTraits
from autounet.data.integrity import check_case
from autounet.data.likeness import SAME, digest, similar_pairs, thumbnail
from autounet.errors import DataError, Problem, RequestError
from autounet.geometry import Array, Geometry, Shape3, Triple, left_right_axis, nonzero_box
from autounet.labels import LabelSchema
from autounet.laterality import side_pairs
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.plans import IntensityStatistics
from autounet.progress import SILENT, Reporter
from autounet.records import SCHEMA_VERSION, Record

# Raised whenever the code measures something else, so that stored fingerprints are taken again.
_FORMAT = 4
_SEED = 1234  # nnU-Net's
# Enough for a percentile of 0.5 to rest on 50 voxels a case, and on thousands in a dataset.
_MAX_SAMPLES = 10_000
_MAX_COMPONENTS_KEPT = 100
_PERCENTILES = (0.005, 0.5, 0.995)


class CaseFingerprint(Record):
    """What was measured in one case.

    Attributes:
        name: The case.
        spacing_mm: Voxel size `(z, y, x)`.
        shape: Voxels `(z, y, x)` as read.
        shape_after_crop: Voxels after cropping to the box outside of which all channels are zero.
        num_voxels: By class (or region), in the whole label map; classes not annotated in the case are left out.
        component_sizes: By class (likewise), voxels of its 26-connected components, largest first, at most 100.
        intensities: Of each channel, over the foreground inside the crop; empty where the case has no foreground.
        content_hash: Of the image's voxels, whatever its file is called. Images that are nearly the same, as copies are
            that were saved with losses, have the hash of the first of them.
        left_right_axis: The array axis, of `(z, y, x)`, nearest to the world's left-right axis, by the affine.
        grows_to_left: Whether the index along it grows towards the patient's left.
        places_mm: World place `(x, y, z)`, RAS+, of the centre of each class that has a left or right partner.
    """

    name: str
    spacing_mm: Triple
    shape: Shape3
    shape_after_crop: Shape3
    num_voxels: dict[str, int]
    component_sizes: dict[str, tuple[int, ...]]
    intensities: tuple[IntensityStatistics, ...]
    content_hash: str = ""
    left_right_axis: int | None = None
    grows_to_left: bool = False
    places_mm: dict[str, Triple] = Field(default_factory=dict)


class Fingerprint(Record):
    """What a planner knows of a dataset.

    Attributes:
        dataset_name: The dataset's folder.
        cases: In the order of the dataset.
        intensities: Of each channel, every case with foreground weighing the same.
        median_relative_size_after_crop: Median over the cases of the share of voxels that cropping keeps.
        source: Hash of the state of the files and of the `dataset.json` that were measured.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    dataset_name: str
    cases: tuple[CaseFingerprint, ...]
    intensities: tuple[IntensityStatistics, ...]
    median_relative_size_after_crop: float
    source: str = ""

    @classmethod
    def of_sizes(
        cls,
        dataset_name: str,
        spacings_mm: Iterable[Triple],
        shapes: Iterable[Shape3],
        intensities: Sequence[IntensityStatistics],
        relative_size_after_crop: float = 1.0,
    ) -> Fingerprint:
        """The fingerprint of cases of which nothing but the sizes is known, enough to plan by.

        Args:
            dataset_name: What the dataset is called.
            spacings_mm: Voxel size `(z, y, x)` of each case.
            shapes: Voxels `(z, y, x)` of each case after cropping.
            intensities: Of each channel.
            relative_size_after_crop: Share of the voxels that cropping keeps.
        """
        cases = (
            CaseFingerprint(
                name=f"case_{index:03d}",
                spacing_mm=spacing,
                shape=shape,
                shape_after_crop=shape,
                num_voxels={},
                component_sizes={},
                intensities=(),
            )
            for index, (spacing, shape) in enumerate(zip(spacings_mm, shapes, strict=True))
        )
        return cls(
            dataset_name=dataset_name,
            cases=tuple(cases),
            intensities=tuple(intensities),
            median_relative_size_after_crop=relative_size_after_crop,
        )


def known_fingerprint(path: Path, dataset: RawDataset) -> Fingerprint | None:
    """The fingerprint of a file, if it was taken of the dataset as it is now."""
    try:
        known = Fingerprint.read(path)
    except RequestError:  # missing, or torn
        return None
    return known if known.source == _state(dataset) else None


def _state(dataset: RawDataset) -> str:
    files = file_states(path for case in dataset.cases for path in case.files if path)
    description = dataset.description
    # Left out where it says nothing, so that fingerprints taken before there was such a thing stay good.
    described = description.model_dump(mode="json", exclude=None if description.annotated else {"annotated"})
    content = json.dumps([_FORMAT, described, files])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def case_traits(fingerprint: Fingerprint) -> tuple[CaseTraits, ...]:
    """What folds are balanced by."""
    return tuple(
        CaseTraits(case.name, tuple(name for name, count in case.num_voxels.items() if count), case.content_hash)
        for case in fingerprint.cases
    )


@dataclass(frozen=True)
class _Measured:
    """One case's result.

    The samples `(C, num_samples)` are for the percentiles of the dataset, the thumbnail is to be compared with others.
    """

    case: str
    problems: tuple[Problem, ...]
    fingerprint: CaseFingerprint | None = None
    samples: npt.NDArray[np.float32] | None = None
    thumbnail: npt.NDArray[np.float32] | None = None


def take_fingerprint(
    dataset: RawDataset, *, jobs: int, reporter: Reporter = SILENT, known_problems: Sequence[Problem] = ()
) -> Fingerprint:
    """Check and measure every case of a dataset; each file is read once.

    Intensities are those of voxels with a label above background, inside the crop. Two deviations from nnU-Net
    (`fingerprint_extractor.py`): voxels to be ignored are left out (it counts them as foreground), and mean,
    standard deviation, minimum and maximum are exact. It draws the same number of voxels from each case, with
    replacement; what is computed here is the expectation of that. Percentiles rest on at most 10,000 voxels a case.

    Args:
        dataset: Its files are known to exist.
        jobs: Worker processes at most; a small dataset is measured in this process, which is faster.
        reporter: Shows the progress.
        known_problems: Of the dataset's files (`RawDataset.scan`), to be told together with those inside them.

    Raises:
        DataError: There are problems, all of them listed; or no case has any foreground.
    """
    description = dataset.description
    files = (path for case in dataset.cases for path in case.files if path is not None)
    measure = partial(_measure, description=description)
    jobs = worthwhile_jobs(jobs, files)
    ordered = list(map_ordered(measure, dataset.cases, jobs=jobs, reporter=reporter, description="check and measure"))
    problems = [*known_problems, *(problem for measured in ordered for problem in measured.problems)]
    if problems:
        raise DataError(description.name, problems)
    cases = _same_hashed(ordered)
    samples = [measured.samples for measured in ordered if measured.samples is not None]
    if not samples:
        what = f"none of {len(cases)} cases has a voxel of {', '.join(description.labels.class_names)}"
        remedy = "check that the labels were exported, and that dataset.json names their values"
        raise DataError(description.name, [Problem("-", "labelsTr", what, remedy)])
    relative_sizes = [np.prod(case.shape_after_crop) / np.prod(case.shape) for case in cases]
    return Fingerprint(
        dataset_name=description.name,
        cases=cases,
        intensities=tuple(
            _pooled(
                [case.intensities[channel] for case in cases if case.intensities],
                [values[channel] for values in samples],
            )
            for channel in range(description.num_channels)
        ),
        median_relative_size_after_crop=float(np.median(relative_sizes)),
        source=_state(dataset),
    )


def _same_hashed(measured: Sequence[_Measured]) -> tuple[CaseFingerprint, ...]:
    """The cases' fingerprints; those of images that are nearly the same have one content hash."""
    cases = [entry.fingerprint for entry in measured if entry.fingerprint is not None]
    thumbnails = [entry.thumbnail for entry in measured if entry.thumbnail is not None]
    hashes = [case.content_hash for case in cases]
    for one, other, _ in similar_pairs([case.shape for case in cases], thumbnails, SAME):
        hashes = [hashes[one] if own == hashes[other] else own for own in hashes]
    return tuple(case.model_copy(update={"content_hash": own}) for case, own in zip(cases, hashes, strict=True))


def _measure(case: RawCase, description: DatasetDescription) -> _Measured:
    checked = check_case(case, description)
    if checked.problems:
        return _Measured(case.name, checked.problems)
    assert checked.image is not None
    assert checked.label is not None
    image, label, labels = checked.image, checked.label, description.labels
    known = labels.class_names if case.annotated is None else case.annotated
    box = nonzero_box(image.array)
    z, y, x = box.shape
    foreground = label[box.slices] > 0
    if labels.ignore_value is not None:
        foreground &= label[box.slices] != labels.ignore_value
    values = image.array[(slice(None), *box.slices)][:, foreground]
    samples = _drawn(values)
    boxes = _class_boxes(label, labels)
    axis, grows_to_left = left_right_axis(image.geometry)
    fingerprint = CaseFingerprint(
        name=case.name,
        spacing_mm=image.geometry.spacing_mm,
        shape=image.shape,
        shape_after_crop=(z, y, x),
        num_voxels={
            entry.name: sum(checked.counts.get(value, 0) for value in entry.values)
            for entry in labels.classes
            if entry.name in known
        },
        component_sizes={
            name: sizes for name, sizes in _component_sizes(label, labels, boxes).items() if name in known
        },
        intensities=tuple(map(_statistics, values, samples)) if values.size else (),
        content_hash=digest(image.array),
        left_right_axis=axis,
        grows_to_left=grows_to_left,
        places_mm=_side_places_mm(label, labels, image.geometry, boxes),
    )
    return _Measured(case.name, (), fingerprint, samples if values.size else None, thumbnail(image.array))


def _drawn(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """At most `_MAX_SAMPLES` of the voxels `(C, num_voxels)`, the same ones in every channel."""
    num_voxels = values.shape[1]
    if num_voxels <= _MAX_SAMPLES:
        return values
    # The same stream on every platform and in every version of numpy, as is needed for a stable fingerprint.
    return values[:, np.random.RandomState(_SEED).randint(0, num_voxels, _MAX_SAMPLES)]


def _statistics(values: npt.NDArray[np.float32], samples: npt.NDArray[np.float32]) -> IntensityStatistics:
    """Statistics of one channel of one case; percentiles from the samples."""
    low, median, high = _percentiles([samples])
    return IntensityStatistics(
        mean=float(values.mean(dtype=np.float64)),
        std=float(values.std(dtype=np.float64)),
        minimum=float(values.min()),
        maximum=float(values.max()),
        percentile_00_5=low,
        median=median,
        percentile_99_5=high,
    )


def _pooled(cases: Sequence[IntensityStatistics], samples: Sequence[npt.NDArray[np.float32]]) -> IntensityStatistics:
    """Statistics of the mixture in which every case weighs the same."""
    means = np.array([case.mean for case in cases])
    variances = np.array([case.std for case in cases]) ** 2
    low, median, high = _percentiles(samples)
    return IntensityStatistics(
        mean=float(means.mean()),
        # Law of total variance: within the cases, and between them.
        std=float(np.sqrt(variances.mean() + means.var())),
        minimum=min(case.minimum for case in cases),
        maximum=max(case.maximum for case in cases),
        percentile_00_5=low,
        median=median,
        percentile_99_5=high,
    )


def _percentiles(samples: Sequence[npt.NDArray[np.float32]]) -> tuple[float, float, float]:
    """The 0.5th, 50th and 99.5th percentile of samples of which each array weighs the same, however long it is.

    Each sample stands at the middle of its weight, with straight lines between (Hazen's rule).
    """
    values = np.concatenate(samples)
    weights = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in samples])
    order = np.argsort(values, kind="stable")
    weights = weights[order]
    positions = (np.cumsum(weights) - 0.5 * weights) / len(samples)
    low, median, high = np.interp(_PERCENTILES, positions, values[order]).tolist()
    return (low, median, high)


def _class_boxes(label: Array, labels: LabelSchema) -> list[tuple[slice, ...] | None]:
    """The box of each class in a label map `(Z, Y, X)`; `None` where it does not occur."""
    # Here, so that a process that only hands out work does not wait for it.
    from scipy import ndimage

    boxes: list[tuple[slice, ...] | None] = ndimage.find_objects(label)
    joined: list[tuple[slice, ...] | None] = []
    for entry in labels.classes:
        found = [boxes[value - 1] for value in entry.values if 0 < value <= len(boxes)]
        parts = [box for box in found if box is not None]
        joined.append(
            tuple(
                slice(min(box[axis].start for box in parts), max(box[axis].stop for box in parts)) for axis in range(3)
            )
            if parts
            else None
        )
    return joined


def _side_places_mm(
    label: Array, labels: LabelSchema, geometry: Geometry, boxes: Sequence[tuple[slice, ...] | None]
) -> dict[str, Triple]:
    """Where the classes with a left or right partner are in a label map `(Z, Y, X)`, as far as they occur."""
    places: dict[str, Triple] = {}
    sided = {entry.name for pair in side_pairs(labels.classes) for entry in pair}
    for index, (entry, box) in enumerate(zip(labels.classes, boxes, strict=True)):
        if entry.name in sided and box is not None:
            found = np.nonzero(labels.class_mask(label[box], index))
            z, y, x = (float(found[axis].mean()) + box[axis].start for axis in range(3))
            world = geometry.matrix @ (x, y, z, 1.0)
            places[entry.name] = (float(world[0]), float(world[1]), float(world[2]))
    return places


def _component_sizes(
    label: Array, labels: LabelSchema, boxes: Sequence[tuple[slice, ...] | None]
) -> dict[str, tuple[int, ...]]:
    """Voxels of the 26-connected components of each class in a label map `(Z, Y, X)`, largest first."""
    from scipy import ndimage

    structure = np.ones((3, 3, 3), dtype=bool)
    sizes: dict[str, tuple[int, ...]] = {}
    for index, (entry, box) in enumerate(zip(labels.classes, boxes, strict=True)):
        if box is None:
            sizes[entry.name] = ()
            continue
        components, _ = ndimage.label(labels.class_mask(label[box], index), structure=structure)
        counted = np.sort(np.bincount(components.reshape(-1))[1:])[::-1]
        sizes[entry.name] = tuple(counted[:_MAX_COMPONENTS_KEPT].tolist())
    return sizes
