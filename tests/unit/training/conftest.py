"""Prepared cases small enough to train on in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from autounet.geometry import Box, Shape3
from autounet.labels import LabelClass, LabelSchema
from autounet.preprocessing.case import CaseProperties, PreparedCase
from autounet.preprocessing.dataset import class_locations
from autounet.preprocessing.store import PreparedStore

SaveCase = Callable[..., None]

LABELS = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))


def save_case(
    store: PreparedStore,
    name: str,
    image: npt.NDArray[Any],
    label: npt.NDArray[Any],
    labels: LabelSchema = LABELS,
    annotated: tuple[int, ...] | None = None,
) -> None:
    """Store a case of unit spacing: image `(C, Z, Y, X)`, label `(Z, Y, X)`."""
    shape: Shape3 = label.shape
    properties = CaseProperties(
        spacing_mm=(1, 1, 1), target_spacing_mm=(1, 1, 1), shape_before_crop=shape, crop=Box.whole(shape), shape=shape
    )
    case = PreparedCase(image=image.astype(np.float32), label=label.astype(np.int16), properties=properties)
    store.save(name, case, class_locations(label.astype(np.int16), labels), "test", annotated)


@pytest.fixture
def save() -> SaveCase:
    """`save(store, name, image, label, labels, annotated)`."""
    return save_case


@pytest.fixture
def store(tmp_path: Path) -> PreparedStore:
    """Three cases `a`, `b`, `c` of unequal shapes, noise with a bright ball of class 1 and a dark one of class 2."""
    store = PreparedStore(tmp_path / "store", (8, 8, 8))
    for index, (name, shape) in enumerate({"a": (10, 12, 14), "b": (12, 9, 11), "c": (6, 16, 12)}.items()):
        grid = np.indices(shape)
        label = np.zeros(shape, dtype=np.int16)
        label[sum((axis - 3) ** 2 for axis in grid) < 8] = 1
        label[sum((axis - edge + 4) ** 2 for axis, edge in zip(grid, shape, strict=True)) < 8] = 2
        noise = np.random.default_rng(index).normal(0, 0.3, shape)
        save_case(store, name, (noise + 2.0 * (label == 1) - 2.0 * (label == 2))[None], label)
    return store
