"""Left and right: pairs by name, the exchange of label values and of channels, and which mirrors are used."""

from __future__ import annotations

from typing import Any

import pytest

from autounet.labels import LabelSchema
from autounet.laterality import (
    Laterality,
    LateralityMode,
    Mirroring,
    is_one_sided,
    mirroring,
    side_pairs,
    swapped_channels,
    swapped_values,
)


def labels_of(labels: dict[str, Any], order: list[int] | None = None) -> LabelSchema:
    return LabelSchema.from_dataset_json({"background": 0, **labels}, order, "test")


def pairs_of(*names: str) -> list[tuple[str, str]]:
    labels = labels_of({name: index for index, name in enumerate(names, 1)})
    return [(left.name, right.name) for left, right in side_pairs(labels.classes)]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("parotid_left", "parotid_right"),
        ("left_parotid", "right_parotid"),
        ("Left Lung", "Right Lung"),
        ("LEFT LUNG", "RIGHT LUNG"),
        ("lung upper lobe left", "lung upper lobe right"),
        ("lung_l", "lung_r"),
        ("Lung_L", "Lung_R"),
        ("L_lung", "R_lung"),
        ("lh_cortex", "rh_cortex"),
        ("ctx-lh-cuneus", "ctx-rh-cuneus"),
        ("LH", "RH"),
        ("L", "R"),
        ("LeftKidney", "RightKidney"),
        ("kidneyLeft", "kidneyRight"),
        ("kidneyleft", "kidneyright"),
        ("leftkidney", "rightkidney"),
        ("L-eye", "R-eye"),
        ("Eye.L", "Eye.R"),
        ("Eye (L)", "Eye (R)"),
        ("Parotid_Lt", "Parotid_Rt"),
        ("rib_left_1", "rib_right_1"),
    ],
)
def test_pairs_by_name(left: str, right: str) -> None:
    assert pairs_of(right, "liver", left) == [(left, right)]


@pytest.mark.parametrize(
    "names",
    [
        ("rib_1", "lib_1"),
        ("left atrium", "aorta"),
        ("left atrium", "right ventricle"),
        ("L1", "L2", "L3"),
        ("liver", "river"),
        ("lung_left_1", "lung_right_2"),
        ("anterior", "posterior"),
        ("large", "rarge"),
        ("left lung", "left kidney"),
        ("LeftLung", "left_lung", "right lung"),  # which of the two is meant cannot be told
    ],
)
def test_no_pairs(names: tuple[str, ...]) -> None:
    assert pairs_of(*names) == []


def test_several_pairs_and_single_ones() -> None:
    names = ("eye_l", "eye_r", "chiasm", "nerve_r", "nerve_l", "lens_l")
    assert pairs_of(*names) == [("eye_l", "eye_r"), ("nerve_l", "nerve_r")]


def values_of(labels: LabelSchema) -> Any:
    return swapped_values(labels, side_pairs(labels.classes))


def test_values_of_plain_classes() -> None:
    labels = labels_of({"a_right": 3, "a_left": 4, "b": 7, "c_l": 9, "c_r": 2})
    assert values_of(labels) == ((4, 3), (9, 2))
    # Channels by ascending value: 0, 2, 3, 4, 7, 9.
    assert swapped_channels(labels, ((4, 3), (9, 2))) == (0, 5, 3, 2, 4, 1)


def test_regions_that_map_onto_each_other() -> None:
    regions = {"kidneys": [1, 2, 3, 4], "kidney_left": [1, 2], "kidney_right": [3, 4], "mass_left": 2, "mass_right": 4}
    labels = labels_of(regions, [1, 1, 3, 2, 4])
    assert values_of(labels) == ((1, 3), (2, 4))
    assert swapped_channels(labels, ((1, 3), (2, 4))) == (0, 2, 1, 4, 3)


@pytest.mark.parametrize(
    "regions",
    [
        {"kidney_left": [1, 2], "kidney_right": [3]},
        {"kidney_left": [1, 2], "kidney_right": [3, 4], "mass_left": 2},
    ],
)
def test_regions_that_do_not(regions: dict[str, Any]) -> None:
    assert values_of(labels_of(regions, [1] * len(regions))) is None


def test_channels_refuse_values_that_no_exchange_explains() -> None:
    labels = labels_of({"whole": [1, 2], "left": 1, "right": 3}, [2, 1, 3])
    with pytest.raises(ValueError, match="do not map the classes"):
        swapped_channels(labels, ((1, 3),))
    with pytest.raises(ValueError, match="which no class has"):
        swapped_channels(labels, ((1, 8),))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"axis": 2, "pairs": ((1, 2), (2, 3)), "confirmed": True}, "twice"),
        ({"axis": None, "pairs": ((1, 2),), "confirmed": True}, "only with an axis"),
        ({"axis": 2, "pairs": (), "confirmed": True}, "only with an axis"),
        ({"axis": 3, "pairs": ((1, 2),), "confirmed": False}, "less than or equal to 2"),
    ],
)
def test_laterality_holds_together(values: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Laterality.model_validate(values)


PAIRS = ((1, 2),)
CONFIRMED = Laterality(axis=2, pairs=PAIRS, confirmed=True)
DOUBTFUL = Laterality(axis=2, pairs=PAIRS, confirmed=False)
ACROSS_SLICES = Laterality(axis=0, pairs=PAIRS, confirmed=True)
DIFFERING = Laterality(axis=None, pairs=(), confirmed=False)


@pytest.mark.parametrize(
    ("laterality", "mode", "dims", "expected"),
    [
        (None, "swap", 3, Mirroring(axes=(0, 1, 2))),
        (None, "no_flip", 2, Mirroring(axes=(0, 1))),
        (CONFIRMED, "swap", 3, Mirroring(axes=(0, 1, 2), side_axis=2, pairs=PAIRS)),
        (CONFIRMED, "swap", 2, Mirroring(axes=(0, 1), side_axis=1, pairs=PAIRS)),
        (CONFIRMED, "no_flip", 3, Mirroring(axes=(0, 1), side_axis=2)),
        (CONFIRMED, "no_flip", 2, Mirroring(axes=(0,), side_axis=1)),
        (CONFIRMED, "ignore", 3, Mirroring(axes=(0, 1, 2))),
        (DOUBTFUL, "swap", 3, Mirroring(axes=(0, 1), side_axis=2)),
        (DOUBTFUL, "ignore", 3, Mirroring(axes=(0, 1, 2))),
        (ACROSS_SLICES, "swap", 3, Mirroring(axes=(0, 1, 2), side_axis=0, pairs=PAIRS)),
        (ACROSS_SLICES, "swap", 2, Mirroring(axes=(0, 1))),
        (ACROSS_SLICES, "no_flip", 2, Mirroring(axes=(0, 1))),
        (DIFFERING, "swap", 3, Mirroring(axes=())),
        (DIFFERING, "ignore", 3, Mirroring(axes=(0, 1, 2))),
    ],
)
def test_mirrors_that_are_used(
    laterality: Laterality | None, mode: LateralityMode, dims: int, expected: Mirroring
) -> None:
    found = mirroring(laterality, mode, tuple(range(dims)), dims)
    assert found == expected
    assert mirroring(laterality, mode, found.axes, dims) == expected  # prediction starts from what training stored
    assert found.swap_axis == (found.side_axis if expected.pairs else None)


def test_a_policy_without_mirrors_gets_none() -> None:
    found = mirroring(CONFIRMED, "swap", (), 3)
    assert found.axes == ()
    assert found.swap_axis is None


def test_a_case_with_one_side_annotated_is_one_sided() -> None:
    labels = LabelSchema.from_dataset_json({"background": 0, "a_left": 1, "a_right": 4, "brain": 2}, None, "test")
    assert is_one_sided(labels, ((1, 4),), ("a_left", "brain"))
    assert not is_one_sided(labels, ((1, 4),), ("brain",))
    assert not is_one_sided(labels, ((1, 4),), ("a_left", "a_right"))
