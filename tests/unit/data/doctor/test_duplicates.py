"""Copies of images, exact and near."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autounet.data.description import DatasetDescription
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.duplicates import duplicate_findings
from autounet.data.doctor.findings import Finding, Repair
from autounet.errors import Severity

Find = Callable[..., list[Finding]]
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.normal(100, 20, (3, 1, 10, 12, 14)).astype(np.float32)


@pytest.fixture
def found(make_description: Callable[..., DatasetDescription]) -> Find:
    """The findings of cases in a dataset of an organ and a tumour, of which `annotated` tells which case has which."""

    def find(exams: list[CaseExam], **annotated: tuple[str, ...]) -> list[Finding]:
        return duplicate_findings(exams, make_description("organ", "tumour", annotated=annotated))

    return find


def test_different_images_are_no_copies(make_exam: Callable[..., CaseExam], found: Find) -> None:
    assert found([make_exam(str(index), image) for index, image in enumerate(IMAGES)]) == []


def test_exact_copies_are_told_once_for_each_copy(make_exam: Callable[..., CaseExam], found: Find) -> None:
    exams = [make_exam("a", IMAGES[0]), make_exam("b", IMAGES[1]), make_exam("c", IMAGES[0]), make_exam("d", IMAGES[0])]
    findings = found(exams)
    assert [(entry.problem.case, entry.value) for entry in findings] == [("c", "a"), ("d", "a")]
    assert all(entry.repair is Repair.DROP_DUPLICATE for entry in findings)


def test_a_copy_with_another_label_is_hopeless(make_exam: Callable[..., CaseExam], found: Find) -> None:
    label = np.ones(IMAGES[0].shape[1:], np.uint8)
    (finding,) = found([make_exam("a", IMAGES[0]), make_exam("b", IMAGES[0], label)])
    assert finding.severity is Severity.HOPELESS
    assert "another label" in finding.problem.what


ORGAN, TUMOUR = ("organ",), ("tumour",)


@pytest.mark.parametrize(
    ("values", "annotated", "contradicted"),
    [
        (((1, 0), (0, 2)), (ORGAN, TUMOUR), ""),
        (((1, 0), (1, 2)), (ORGAN, None), ""),
        (((1, 0), (1, 0)), (ORGAN, None), ""),
        (((1, 1), (1, 2)), (ORGAN, None), "organ"),
        (((2, 0), (1, 1)), (TUMOUR, None), "tumour"),
    ],
)
def test_a_copy_with_other_classes_annotated_is_harmless_unless_it_contradicts(
    values: tuple[tuple[int, int], tuple[int, int]],
    annotated: tuple[tuple[str, ...], tuple[str, ...] | None],
    contradicted: str,
    make_exam: Callable[..., CaseExam],
    found: Find,
) -> None:
    labels = [np.resize(np.array(own, np.uint8), IMAGES[0].shape[1:]) for own in values]
    told = {name: names for name, names in zip("ab", annotated, strict=True) if names is not None}
    (finding,) = found([make_exam("a", IMAGES[0], labels[0]), make_exam("b", IMAGES[0], labels[1])], **told)
    assert finding.severity is (Severity.HOPELESS if contradicted else Severity.HARMLESS)
    assert finding.repair is None
    assert (f"another label of {contradicted}" if contradicted else "other classes annotated") in finding.problem.what


def test_near_copies_are_harmless_and_told(make_exam: Callable[..., CaseExam], found: Find) -> None:
    rounded = np.rint(IMAGES[0] * 2 + 30)
    (finding,) = found([make_exam("a", IMAGES[0]), make_exam("b", rounded), make_exam("c", IMAGES[2])])
    assert (finding.problem.case, finding.value, finding.severity) == ("b", "a", Severity.HARMLESS)


def test_constant_images_are_not_compared(make_exam: Callable[..., CaseExam], found: Find) -> None:
    ones = np.ones((1, 4, 5, 6), np.float32)
    assert found([make_exam("a", ones), make_exam("b", 2 * ones)]) == []
