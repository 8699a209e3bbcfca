"""Left and right: pairs by name, swaps by place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autounet.data.description import DatasetDescription
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.sides import single_pairs, swapped_findings
from autounet.errors import Severity
from autounet.labels import LabelSchema


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("parotid_left", "parotid_right"),
        ("Left Lung", "Right Lung"),
        ("lung_l", "lung_r"),
        ("lh_cortex", "rh_cortex"),
        ("LeftKidney", "RightKidney"),
        ("kidneyleft", "kidneyright"),
        ("L-eye", "R-eye"),
        ("Eye.L", "Eye.R"),
    ],
)
def test_pairs(left: str, right: str) -> None:
    labels = LabelSchema.from_dataset_json({"background": 0, right: 1, "liver": 2, left: 3}, None, "test")
    assert [(one.name, other.name) for one, other in single_pairs(labels)] == [(left, right)]


@pytest.mark.parametrize("names", [("left", "liver"), ("kidney_left", "lung_right"), ("cleft", "bright"), ("l1", "l2")])
def test_no_pairs(names: tuple[str, str]) -> None:
    labels = LabelSchema.from_dataset_json({"background": 0, names[0]: 1, names[1]: 2}, None, "test")
    assert single_pairs(labels) == []


def label(left_x: int, right_x: int) -> np.ndarray:
    result = np.zeros((3, 4, 20), np.uint8)
    result[1, 1, left_x], result[1, 1, right_x] = 1, 2
    return result


def exams(make_exam: Callable[..., CaseExam], *places: tuple[int, int]) -> list[CaseExam]:
    image = np.zeros((1, 3, 4, 20))
    return [make_exam(f"c{index}", image, label(*place), sided=(1, 2)) for index, place in enumerate(places)]


def test_a_swapped_case_is_suspected(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    # World x grows to the right, so left structures have the smaller x.
    found = exams(make_exam, (2, 16), (4, 18), (15, 3), (1, 15), (3, 14))
    (finding,) = swapped_findings(found, make_description("k_left", "k_right"))
    assert (finding.problem.case, finding.value, finding.numbers) == ("c2", "+12 mm", (1, 2))


def test_no_majority_or_no_clear_distance_says_nothing(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    description = make_description("k_left", "k_right")
    assert swapped_findings(exams(make_exam, (2, 16), (15, 3), (3, 15), (16, 2)), description) == []
    assert swapped_findings(exams(make_exam, (2, 16), (2, 15), (3, 15), (9, 8)), description) == []
    assert swapped_findings(exams(make_exam, (2, 16), (16, 2)), description) == []


def test_names_that_contradict_the_orientation_are_told_of(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    (finding,) = swapped_findings(exams(make_exam, (16, 2), (15, 3), (14, 2)), make_description("k_left", "k_right"))
    assert (finding.problem.case, finding.severity) == ("-", Severity.HARMLESS)
