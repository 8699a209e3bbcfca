"""Left and right in a plan: confirmed by the places of the classes, along the axis that the images tell."""

from __future__ import annotations

from typing import Any

import pytest

from autounet.data.description import DatasetDescription
from autounet.fingerprint import CaseFingerprint
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelSchema
from autounet.laterality import Laterality
from autounet.planners.laterality import Sides, plan_laterality

LABELS = {"background": 0, "eye_left": 4, "eye_right": 3, "chiasm": 1}
Places = dict[str, Triple]
ACROSS: Places = {"eye_left": (-30.0, 2.0, 0.0), "eye_right": (30.0, 0.0, 1.0)}
SWAPPED: Places = {"eye_left": (30.0, 2.0, 0.0), "eye_right": (-30.0, 0.0, 1.0)}


def case_of(
    places: Places, *, axis: int = 2, grows_to_left: bool = False, volumes: tuple[int, int] = (100, 100)
) -> CaseFingerprint:
    return CaseFingerprint(
        name="case",
        spacing_mm=(1, 1, 1),
        shape=(8, 8, 8),
        shape_after_crop=(8, 8, 8),
        num_voxels=dict(zip(("eye_left", "eye_right"), volumes, strict=True)),
        component_sizes={},
        intensities=(),
        left_right_axis=axis,
        grows_to_left=grows_to_left,
        places_mm=places,
    )


def planned(
    cases: list[CaseFingerprint],
    *,
    labels: dict[str, Any] = LABELS,
    region_order: list[int] | None = None,
    file_ending: str = ".nii.gz",
    order: Shape3 = (0, 1, 2),
) -> Sides:
    schema = LabelSchema.from_dataset_json(labels, region_order, "test")
    description = DatasetDescription(
        name="Dataset001_Test", channel_names=("CT",), labels=schema, file_ending=file_ending
    )
    return plan_laterality(cases, description, order)


def test_without_pairs_nothing_is_said() -> None:
    assert planned([case_of({})] * 5, labels={"background": 0, "liver": 1}) == Sides(None, ())


@pytest.mark.parametrize(
    ("axis", "order", "expected"),
    [(2, (0, 1, 2), 2), (1, (0, 1, 2), 1), (2, (2, 0, 1), 0), (0, (1, 0, 2), 1), (1, (2, 0, 1), 2)],
)
def test_a_pair_that_lies_across_is_confirmed_in_the_plans_axes(axis: int, order: Shape3, expected: int) -> None:
    found = planned([case_of(ACROSS, axis=axis)] * 4, order=order)
    assert found.laterality == Laterality(axis=expected, pairs=((4, 3),), confirmed=True)
    (decision,) = found.decisions
    assert decision.value == f"a flip along {'zyx'[axis]} swaps eye_left and eye_right"
    assert "in 4 of 4 cases" in decision.reason
    assert len(decision.alternatives) == 2


@pytest.mark.parametrize(
    ("num_odd", "expected"),
    [
        (1, Laterality(axis=2, pairs=((4, 3),), confirmed=True)),  # 19 of 20
        (4, Laterality(axis=2, pairs=((4, 3),), confirmed=False)),  # 16 of 20
        (8, None),  # 12 of 20: the names do not mean sides
    ],
)
def test_nearly_all_cases_must_agree(num_odd: int, expected: Laterality | None) -> None:
    found = planned([case_of(ACROSS)] * (20 - num_odd) + [case_of(SWAPPED)] * num_odd)
    assert found.laterality == expected
    assert f"in {20 - num_odd} of 20 cases" in found.decisions[0].reason
    assert (found.decisions[0].value == "none") == (expected is None)


def test_ventricles_of_a_heart_are_no_mirror_images() -> None:
    oblique: Places = {"eye_left": (-30.0, -30.0, -10.0), "eye_right": (10.0, 10.0, 10.0)}
    found = planned([case_of(oblique)] * 5)
    assert found.laterality == Laterality(axis=2, pairs=((4, 3),), confirmed=False)
    assert "only 67% of the way" in found.decisions[0].reason  # 40 of sqrt(40^2 + 40^2 + 20^2) = 60 mm


def test_nor_are_organs_of_different_sizes() -> None:
    found = planned([case_of(ACROSS, volumes=(300, 100))] * 5)
    assert found.laterality is not None
    assert not found.laterality.confirmed
    assert "3 times its volume" in found.decisions[0].reason


def test_too_few_cases_confirm_nothing() -> None:
    found = planned([case_of(ACROSS)] * 2 + [case_of({})] * 8)
    assert found.laterality == Laterality(axis=2, pairs=((4, 3),), confirmed=False)
    assert "only 2 cases show both" in found.decisions[0].reason


def test_a_confirmed_pair_vouches_for_a_rare_one() -> None:
    labels = {**LABELS, "lens_left": 5, "lens_right": 6}
    found = planned([case_of(ACROSS)] * 5, labels=labels)
    assert found.laterality == Laterality(axis=2, pairs=((4, 3), (5, 6)), confirmed=True)


def test_images_stored_along_different_axes_are_not_mirrored() -> None:
    found = planned([case_of(ACROSS)] * 4 + [case_of(ACROSS, axis=0)])
    assert found.laterality == Laterality(axis=None, pairs=(), confirmed=False)
    assert "x in 4 cases and z in 1 case" in found.decisions[0].reason


def test_images_stored_in_both_directions_are_told() -> None:
    found = planned([case_of(ACROSS)] * 4 + [case_of(ACROSS, grows_to_left=True)])
    assert found.laterality is not None
    assert found.laterality.confirmed
    assert "1 of 5 images are stored from right to left" in found.decisions[0].reason


def test_formats_that_tell_no_orientation_are_taken_to_run_along_x() -> None:
    found = planned([case_of(ACROSS)] * 4, file_ending=".png")
    assert found.laterality == Laterality(axis=2, pairs=((4, 3),), confirmed=True)
    assert "do not tell where left is" in found.decisions[0].reason


def test_regions_that_do_not_map_are_not_flipped() -> None:
    labels = {"background": 0, "eye_left": [1, 2], "eye_right": [3]}
    found = planned([case_of(ACROSS)] * 4, labels=labels, region_order=[1, 3])
    assert found.laterality == Laterality(axis=2, pairs=(), confirmed=False)
    assert "no exchange of label values" in found.decisions[0].reason


def test_equal_places_are_no_division_by_zero() -> None:
    same: Places = dict.fromkeys(("eye_left", "eye_right"), (0.0, 0.0, 0.0))
    assert planned([case_of(same)] * 4).laterality is None
