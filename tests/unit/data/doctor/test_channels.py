"""Channels in another order than the other cases'."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autounet.data.description import DatasetDescription
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.channels import channel_order_findings

MEANS = np.array([-500.0, 40, 900])


def channels(generator: np.random.Generator) -> np.ndarray:
    """Three channels of one case, each with its own intensities; the case with a gain of its own."""
    image = generator.normal(MEANS[:, None, None, None], 100, (3, 5, 6, 7))
    return np.asarray(image * generator.uniform(0.8, 1.2))


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1)])
def test_another_order_is_seen_with_the_way_back(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription], order: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(0)
    exams = [make_exam(f"c{index}", channels(generator)) for index in range(7)]
    original = channels(generator)
    exams.append(make_exam("odd", original[list(order)]))
    (finding,) = channel_order_findings(exams, make_description(num_channels=3))
    assert finding.problem.case == "odd"
    np.testing.assert_array_equal(original[list(order)][list(finding.numbers)], original)


def test_the_same_order_and_a_strange_case_are_not_suspected(
    make_exam: Callable[..., CaseExam], make_description: Callable[..., DatasetDescription]
) -> None:
    generator = np.random.default_rng(0)
    exams = [make_exam(f"c{index}", channels(generator)) for index in range(7)]
    exams.append(make_exam("strange", generator.normal(1e5, 10, (3, 5, 6, 7))))
    assert channel_order_findings(exams, make_description(num_channels=3)) == []
