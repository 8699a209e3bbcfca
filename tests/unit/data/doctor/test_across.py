"""Outliers by the robust z-score, and classes that occur nowhere or once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autounet.data.description import DatasetDescription
from autounet.data.doctor.across import class_findings, outlier_findings, robust_z
from autounet.data.doctor.case import CaseExam
from autounet.errors import Severity


def test_robust_z_by_hand() -> None:
    # Median 3, distances 2 1 0 1 97, their median 1: 97 / 1.4826.
    np.testing.assert_allclose(robust_z(np.array([1.0, 2, 3, 4, 100]), 0)[-1], 97 / 1.4826)
    np.testing.assert_allclose(robust_z(np.array([5.0, 5, 5, 5, 6]), 0.5), [0, 0, 0, 0, 2])


def cases(make_exam: Callable[..., CaseExam], count: int = 8) -> list[CaseExam]:
    generator = np.random.default_rng(1)
    return [make_exam(f"c{index}", generator.normal(100, 10, (1, 6, 7, 8))) for index in range(count)]


def test_cases_alike_have_no_outliers(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    assert outlier_findings(cases(make_exam), make_description()) == []


def test_another_unit_and_a_lost_spacing_stand_out(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    generator = np.random.default_rng(2)
    odd = [
        make_exam("unit", generator.normal(100_000, 10_000, (1, 6, 7, 8))),
        make_exam("shifted", generator.normal(1124, 10, (1, 6, 7, 8))),
        make_exam("spacing", generator.normal(100, 10, (1, 6, 7, 8)), spacing_mm=(3, 1, 1)),
    ]
    findings = outlier_findings([*cases(make_exam), *odd], make_description())
    assert [(entry.problem.case, entry.check) for entry in findings] == [
        ("spacing", "spacing"),
        ("unit", "intensity"),
        ("shifted", "intensity"),
    ]
    assert findings[0].value == "3 mm"
    assert all(entry.severity is Severity.HARMLESS for entry in findings)


def test_a_small_difference_is_no_outlier_however_equal_the_others_are(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    image = np.random.default_rng(3).normal(100, 10, (1, 6, 7, 8))
    exams = [make_exam(f"c{index}", image) for index in range(8)]
    assert outlier_findings([*exams, make_exam("brighter", image + 14)], make_description()) == []
    (finding,) = outlier_findings([*exams, make_exam("far brighter", image + 20)], make_description())
    assert finding.problem.case == "far brighter"


def test_few_cases_tell_nothing(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    exams = [*cases(make_exam, 3), make_exam("odd", np.full((1, 6, 7, 8), 1e6))]
    assert outlier_findings(exams, make_description()) == []


def labelled(make_exam: Callable[..., CaseExam], *values: int) -> list[CaseExam]:
    image = np.zeros((1, 2, 2, 2))
    return [make_exam(f"c{index}", image, np.full((2, 2, 2), value, np.uint8)) for index, value in enumerate(values)]


def test_classes_nowhere_once_and_cases_without(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    findings = class_findings(labelled(make_exam, 1, 1, 2, 0), make_description("a", "b", "c"))
    assert [entry.problem.what for entry in findings] == [
        "class b is in case c2 only",
        "class c has no voxel in any case",
        "1 of 4 cases show no class: c3",
    ]
    assert all(entry.severity is Severity.HARMLESS for entry in findings)


def test_no_class_anywhere_is_hopeless(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    (finding,) = class_findings(labelled(make_exam, 0, 0), make_description("a", "b"))
    assert finding.severity is Severity.HOPELESS
