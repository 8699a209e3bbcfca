"""The first stage's masks on the second stage's grid: named by content, made once, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autounet.data.io import write_label
from autounet.errors import RequestError
from autounet.geometry import Box, Geometry
from autounet.plans import Plan
from autounet.preprocessing.case import CaseProperties, PreparedCase
from autounet.preprocessing.previous import PreviousStage
from autounet.preprocessing.store import ClassLocations, PreparedStore

MASK = np.zeros((3, 4, 6), dtype=np.uint8)
MASK[1, :, 2:4] = 2


@pytest.fixture
def store(tmp_path: Path) -> PreparedStore:
    """One case, its first slice cut off, its last axis twice as fine."""
    (tmp_path / "store").mkdir()
    store = PreparedStore(tmp_path / "store", (4, 4, 4))
    properties = CaseProperties(
        spacing_mm=(1, 1, 1),
        target_spacing_mm=(1, 1, 0.5),
        shape_before_crop=(3, 4, 6),
        crop=Box(start=(1, 0, 0), stop=(3, 4, 6)),
        shape=(2, 4, 12),
    )
    image, label = np.zeros((1, 2, 4, 12), np.float32), np.zeros((2, 4, 12), np.int16)
    store.save("a[1]", PreparedCase(image, label, properties), ClassLocations((), None), "recipe")
    return store


def stage(store: PreparedStore, plan: Plan, mask: np.ndarray) -> PreviousStage:
    path = store.folder.parent / "a[1].nii"
    write_label(path, mask, Geometry.from_spacing((1.0, 1.0, 1.0)))
    return PreviousStage.of(store, "low", plan.labels, {"a[1]": path})


def test_a_mask_is_cropped_and_resampled_once(store: PreparedStore, make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    previous = stage(store, plan, MASK)
    assert previous.prepare("a[1]", plan)
    assert not previous.prepare("a[1]", plan)
    expected = np.zeros((2, 4, 12), dtype=np.int16)
    expected[0, :, 4:8] = 2
    np.testing.assert_array_equal(previous.segmentation("a[1]")[:], expected[None])
    channels = previous.channels("a[1]")
    assert channels.shape == (2, 2, 4, 12)
    np.testing.assert_array_equal(channels, [expected == 1, expected == 2])


def test_another_mask_or_case_takes_its_place(store: PreparedStore, make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    first = stage(store, plan, MASK)
    first.prepare("a[1]", plan)
    second = stage(store, plan, MASK // 2)
    assert second.paths != first.paths
    second.prepare("a[1]", plan)
    assert list((store.folder / "previous_low").iterdir()) == [second.paths["a[1]"]]
    record = store.record("a[1]").model_copy(update={"recipe": "another"})
    record.write(store.folder / "a[1].json")
    assert stage(store, plan, MASK // 2).paths != second.paths


def test_a_mask_of_another_image_is_refused(store: PreparedStore, make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    with pytest.raises(RequestError, match=r"a\[1\]\.nii: the mask has \(3, 4, 5\) voxels"):
        stage(store, plan, MASK[:, :, :5]).prepare("a[1]", plan)
    previous = stage(store, plan, MASK)
    with pytest.raises(RequestError, match="cannot be read"):
        replace(previous, paths={"a[1]": store.folder / "none.b2nd"}).segmentation("a[1]")
