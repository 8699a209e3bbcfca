"""Examined cases made of arrays, without files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from autounet.data.description import DatasetDescription
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.measure import centroids_mm, image_figures
from autounet.data.integrity import value_counts
from autounet.data.likeness import digest
from autounet.geometry import Geometry, Triple
from autounet.labels import LabelSchema


@pytest.fixture(scope="session")
def make_exam() -> Callable[..., CaseExam]:
    """Examines an image `(C, Z, Y, X)` and a label map as the doctor does, beyond what is wrong with it alone."""

    def make(
        name: str,
        image: np.ndarray,
        label: np.ndarray | None = None,
        *,
        spacing_mm: Triple = (1.0, 1.0, 1.0),
        sided: Sequence[int] = (),
    ) -> CaseExam:
        place = Geometry.from_spacing(spacing_mm)
        label = np.zeros(image.shape[1:], np.uint8) if label is None else label
        return CaseExam(
            name=name,
            image_file=f"imagesTr/{name}_0000.nii",
            label_file=f"labelsTr/{name}.nii",
            findings=(),
            image=image_figures(image.astype(np.float32), place),
            counts=value_counts(label),
            label_digest=digest(label),
            centroids_mm=centroids_mm(label, place, sided),
        )

    return make


@pytest.fixture(scope="session")
def make_description() -> Callable[..., DatasetDescription]:
    """A dataset of some classes and channels."""

    def make(
        *classes: str, num_channels: int = 1, annotated: dict[str, tuple[str, ...]] | None = None
    ) -> DatasetDescription:
        labels = {"background": 0} | {name: index for index, name in enumerate(classes or ("organ",), start=1)}
        return DatasetDescription(
            name="Dataset001_Test",
            channel_names=tuple(f"c{index}" for index in range(num_channels)),
            labels=LabelSchema.from_dataset_json(dict(labels), None, "test"),
            file_ending=".nii",
            annotated=annotated or {},
        )

    return make
