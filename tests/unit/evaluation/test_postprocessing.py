"""Largest components: against scikit-image, and decisions that are right by construction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import measure

from autounet.evaluation.overlap import score_case
from autounet.evaluation.postprocessing import (
    FOREGROUND,
    KeepLargest,
    Postprocessing,
    StepTrial,
    decide_postprocessing,
)
from autounet.evaluation.tables import dice_row
from autounet.labels import LabelSchema

LABELS = LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2}, None, "test")
REGIONS = LabelSchema.from_dataset_json({"background": 0, "whole": [1, 2], "core": 2}, [1, 2], "test")

Pair = tuple[np.ndarray, np.ndarray]


def volume(*boxes: tuple[int, tuple[slice, slice, slice]]) -> np.ndarray:
    label = np.zeros((6, 12, 12), dtype=np.uint8)
    for value, box in boxes:
        label[box] = value
    return label


def box(z: int, y: int, x: int, size: int) -> tuple[slice, slice, slice]:
    return slice(z, z + size), slice(y, y + size), slice(x, x + size)


def decide(pairs: Sequence[Pair], labels: LabelSchema) -> tuple[Postprocessing, dict[str, StepTrial]]:
    """Decide on pairs of reference and prediction in memory."""

    def rows(rule: Postprocessing) -> np.ndarray:
        scores = (score_case(reference, rule.apply(mask), labels) for reference, mask in pairs)
        return np.stack([dice_row(score, labels.class_names) for score in scores])

    taken, trials = decide_postprocessing(
        labels, lambda taken, steps: (rows(taken), [rows(taken.then(step)) for step in steps])
    )
    return taken, {trial.step.name: trial for trial in trials}


def test_islands_of_a_single_organ_are_removed() -> None:
    truth = volume((1, box(0, 0, 0, 4)))
    taken, trials = decide([(truth, volume((1, box(0, 0, 0, 4)), (1, box(4, 9, 9, 2))))] * 3, LABELS)
    assert [step.name for step in taken.steps] == [FOREGROUND]
    assert trials[FOREGROUND].before == pytest.approx(2 * 64 / (64 + 72))
    assert trials[FOREGROUND].after == 1


def test_a_class_that_comes_in_two_parts_is_left_alone() -> None:
    truth = volume((1, box(0, 0, 0, 4)), (1, box(3, 8, 8, 3)))
    taken, trials = decide([(truth, truth)], LABELS)
    assert taken.steps == ()
    assert not trials[FOREGROUND].accepted


def test_classes_apart_from_each_other_are_decided_on_their_own() -> None:
    """One object of all would lose the tumour beside the organ, but either class has an island."""
    truth = volume((1, box(0, 0, 0, 4)), (2, box(3, 8, 8, 3)))
    mask = volume((1, box(0, 0, 0, 4)), (2, box(3, 8, 8, 3)), (1, box(0, 11, 0, 1)))
    taken, trials = decide([(truth, mask)], LABELS)
    assert [step.name for step in taken.steps] == ["organ"]
    assert not trials[FOREGROUND].accepted
    assert not trials["tumour"].accepted


def test_the_foreground_as_one_is_refused_where_one_class_pays_for_the_other() -> None:
    """The mean rises: a large island of the organ goes. But the one voxel of tumour that is right goes with it."""
    truth = volume((1, box(0, 0, 0, 4)), (2, box(5, 11, 11, 1)), (2, box(0, 1, 1, 2)))
    mask = volume((1, box(0, 0, 0, 4)), (2, box(5, 11, 11, 1)), (2, box(0, 1, 1, 2)), (1, box(3, 7, 0, 3)))
    taken, trials = decide([(truth, mask)], LABELS)
    trial = trials[FOREGROUND]
    assert trial.after is not None
    assert trial.before is not None
    assert trial.after > trial.before
    assert not trial.accepted
    assert "tumour would fall" in trial.reason
    assert [step.name for step in taken.steps] == ["organ"]


def test_regions_are_tried_one_on_top_of_the_other() -> None:
    truth = volume((1, box(0, 0, 0, 5)), (2, box(1, 1, 1, 2)))
    mask = volume((1, box(0, 0, 0, 5)), (2, box(1, 1, 1, 2)), (2, box(4, 4, 4, 1)), (1, box(4, 9, 9, 1)))
    taken, trials = decide([(truth, mask)], REGIONS)
    assert taken.steps[0] == KeepLargest(name=FOREGROUND, values=(1, 2))
    assert trials["whole"].before == 1, "the island beside it is gone by then"
    assert [step.name for step in taken.steps] == [FOREGROUND, "core"]
    assert taken.apply(mask)[4, 4, 4] == 0, "what is removed becomes background, also within another region"


@pytest.mark.parametrize("shape", [(5, 9, 9), (1, 16, 16)])
@given(seed=st.integers(0, 2**32 - 1))
def test_components_are_those_of_full_connectivity(shape: tuple[int, int, int], seed: int) -> None:
    label = (np.random.default_rng(seed).random(shape) < 0.2).astype(np.uint8)
    numbered = measure.label(label)  # full connectivity by default
    sizes = np.bincount(numbered.ravel())[1:]
    expected = np.isin(numbered, 1 + np.flatnonzero(sizes == sizes.max(initial=0))) & (label > 0)
    found = KeepLargest(name="organ", values=(1,)).apply(label)
    np.testing.assert_array_equal(found > 0, expected)


def test_equal_largest_components_all_stay_and_the_given_map_is_not_changed() -> None:
    label = volume((1, box(0, 0, 0, 2)), (1, box(0, 6, 6, 2)), (1, box(5, 0, 0, 1)), (2, box(5, 5, 0, 1)))
    before = label.copy()
    found = KeepLargest(name="organ", values=(1,)).apply(label)
    assert (found == 1).sum() == 16
    assert (found == 2).sum() == 1
    np.testing.assert_array_equal(label, before)


def test_empty_maps_pass_unchanged() -> None:
    assert not KeepLargest(name="organ", values=(1,)).apply(volume()).any()
    assert Postprocessing().apply(volume((1, box(0, 0, 0, 2)))).sum() == 8
