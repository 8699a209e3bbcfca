"""Copies of images, exact and near."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.duplicates import duplicate_findings
from autounet.data.doctor.findings import Repair
from autounet.errors import Severity

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.normal(100, 20, (3, 1, 10, 12, 14)).astype(np.float32)


def test_different_images_are_no_copies(make_exam: Callable[..., CaseExam]) -> None:
    assert duplicate_findings([make_exam(str(index), image) for index, image in enumerate(IMAGES)]) == []


def test_exact_copies_are_told_once_for_each_copy(make_exam: Callable[..., CaseExam]) -> None:
    exams = [make_exam("a", IMAGES[0]), make_exam("b", IMAGES[1]), make_exam("c", IMAGES[0]), make_exam("d", IMAGES[0])]
    findings = duplicate_findings(exams)
    assert [(entry.problem.case, entry.value) for entry in findings] == [("c", "a"), ("d", "a")]
    assert all(entry.repair is Repair.DROP_DUPLICATE for entry in findings)


def test_a_copy_with_another_label_is_hopeless(make_exam: Callable[..., CaseExam]) -> None:
    label = np.ones(IMAGES[0].shape[1:], np.uint8)
    (finding,) = duplicate_findings([make_exam("a", IMAGES[0]), make_exam("b", IMAGES[0], label)])
    assert finding.severity is Severity.HOPELESS
    assert "another label" in finding.problem.what


def test_near_copies_are_harmless_and_told(make_exam: Callable[..., CaseExam]) -> None:
    rounded = np.rint(IMAGES[0] * 2 + 30)
    (finding,) = duplicate_findings([make_exam("a", IMAGES[0]), make_exam("b", rounded), make_exam("c", IMAGES[2])])
    assert (finding.problem.case, finding.value, finding.severity) == ("b", "a", Severity.HARMLESS)


def test_constant_images_are_not_compared(make_exam: Callable[..., CaseExam]) -> None:
    ones = np.ones((1, 4, 5, 6), np.float32)
    assert duplicate_findings([make_exam("a", ones), make_exam("b", 2 * ones)]) == []
