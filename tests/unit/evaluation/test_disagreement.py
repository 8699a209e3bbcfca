"""Disagreement of a label and a prediction: depth, place, offset and confusion, against what was built in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autounet.errors import RequestError
from autounet.evaluation.disagreement import measure_disagreement
from autounet.geometry import Array, Triple
from autounet.labels import LabelSchema

LABELS = LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2}, None, "test")
UNIT = (1.0, 1.0, 1.0)
EMPTY = np.zeros((4, 4, 4), dtype=np.uint8)
PLANE = np.ones((1, 8, 12), dtype=np.uint8)


def block(*, value: int = 1, at: tuple[int, int, int] = (5, 5, 5), size: int = 7, shape: int = 20) -> Array:
    label = np.zeros((shape,) * 3, dtype=np.uint8)
    label[tuple(slice(start, start + size) for start in at)] = value
    return label


def test_agreement_leaves_nothing() -> None:
    found = measure_disagreement(block(), block(), LABELS, UNIT)
    assert set(found) == {"organ"}
    organ = found["organ"]
    assert (organ.dice, organ.depth_mm, organ.volume_mm3, organ.confused_share) == (1.0, 0.0, 0.0, 0.0)
    assert organ.offset_mm == (0.0, 0.0, 0.0)


def test_a_class_that_neither_shows_is_left_out() -> None:
    assert measure_disagreement(EMPTY, EMPTY, LABELS, UNIT) == {}


def test_a_missing_part_is_deep_and_an_edge_is_shallow() -> None:
    """Two objects: one a voxel larger all round in the prediction, the other missing in the label."""
    label, prediction = block(at=(2, 2, 2), size=5), block(at=(1, 1, 1), size=7)
    edge = measure_disagreement(label, prediction, LABELS, UNIT)["organ"]
    prediction[12:17, 11:16, 10:15] = 1
    missing = measure_disagreement(label, prediction, LABELS, UNIT)["organ"]
    assert edge.depth_mm < 2  # the corner of a rim of one voxel is sqrt(3) from the outside at most
    assert missing.depth_mm == 3.0  # from the middle of five voxels to the first beyond them
    assert missing.place == (14, 13, 12)
    assert missing.volume_mm3 == 125
    assert not missing.in_label


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 0.5, 0.5)])
def test_millimetres_follow_the_spacing(spacing_mm: Triple) -> None:
    found = measure_disagreement(block(), np.zeros_like(block()), LABELS, spacing_mm)["organ"]
    assert found.depth_mm == 4 * min(spacing_mm)
    assert found.volume_mm3 == pytest.approx(343 * np.prod(spacing_mm))
    assert found.place == (8, 8, 8) or min(spacing_mm) < 1
    assert found.in_label
    assert found.offset_mm is None
    assert found.aligned_dice is None


@given(st.tuples(*[st.integers(-4, 4)] * 3))
def test_a_moved_label_is_found_out(shift: tuple[int, int, int]) -> None:
    """The offset is the shift in mm, and moving back makes it whole."""
    spacing_mm = (2.0, 1.0, 0.5)
    at = (5 + shift[0], 5 + shift[1], 5 + shift[2])
    found = measure_disagreement(block(at=at), block(), LABELS, spacing_mm)["organ"]
    assert found.offset_mm == pytest.approx(tuple(np.multiply(shift, spacing_mm)))
    assert found.distance_mm == pytest.approx(np.linalg.norm(np.multiply(shift, spacing_mm)))
    assert found.aligned_dice == 1.0
    overlap = np.prod([7 - abs(step) for step in shift])
    assert found.dice == pytest.approx(overlap / 343)


def test_swapped_classes_are_confused_in_whole() -> None:
    label = block(value=1) + block(value=2, at=(5, 5, 12))
    swapped = np.array([0, 2, 1])[label]
    found = measure_disagreement(swapped, label, LABELS, UNIT)
    assert {name: entry.confused_with for name, entry in found.items()} == {"organ": "tumour", "tumour": "organ"}
    assert all(entry.confused_share == 1.0 and entry.dice == 0.0 for entry in found.values())


def test_the_confused_share_counts_both_maps() -> None:
    """Of 6 voxels of the class in the label and 4 in the prediction, 2 and 0 are the other's."""
    label, prediction = np.array([[[1] * 6 + [0, 0]]]), np.array([[[1] * 4 + [2] * 2 + [0, 0]]])
    found = measure_disagreement(label, prediction, LABELS, UNIT)["organ"]
    assert found.confused_share == pytest.approx(2 / 10)


def test_what_is_ignored_or_not_annotated_does_not_count() -> None:
    labels = LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2, "ignore": 3}, None, "test")
    label, prediction = block(at=(1, 1, 1), size=3), block(at=(1, 1, 1), size=3)
    prediction[10:18, 10:18, 10:18] = 2
    assert measure_disagreement(label, prediction, labels, UNIT)["tumour"].depth_mm > 3
    assert set(measure_disagreement(label, prediction, labels, UNIT, ("organ",))) == {"organ"}
    label[10:] = 3
    assert set(measure_disagreement(label, prediction, labels, UNIT)) == {"organ"}


def test_regions_overlap_without_being_confused() -> None:
    regions = LabelSchema.from_dataset_json({"background": 0, "whole": [1, 2], "core": [2]}, [1, 2], "test")
    found = measure_disagreement(block(value=1), block(value=2), regions, UNIT)
    assert found["whole"].dice == 1.0
    assert found["core"].num_reference == 0
    assert found["core"].confused_share == 0.0


def test_a_plane_is_deep_within_itself() -> None:
    """A 2D image has no neighbours above and below that would make all of it an edge."""
    label = np.zeros((1, 30, 30), dtype=np.uint8)
    prediction = label.copy()
    prediction[0, 10:21, 10:21] = 1
    found = measure_disagreement(label, prediction, LABELS, UNIT)["organ"]
    assert found.depth_mm == 6.0
    assert found.place == (0, 15, 15)


def test_disagreement_over_the_whole_image_has_a_depth() -> None:
    found = measure_disagreement(PLANE, 0 * PLANE, LABELS, (5.0, 1.0, 1.0))["organ"]
    assert found.depth_mm == 4.0
    assert found.place == (0, 4, 6)


def test_shapes_must_agree() -> None:
    with pytest.raises(RequestError, match=r"\(2, 2, 2\)"):
        measure_disagreement(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)), LABELS, UNIT)
