"""Errors for users: exit codes, texts, and travel between processes."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest

from autounet.errors import AutounetError, DataError, Problem, RequestError, RunError, some_of

PROBLEM = Problem("case_1", "labelsTr/case_1.nii", "the value 7 is not declared", "declare it")


@pytest.mark.parametrize(("error", "code"), [(RequestError("x"), 2), (RunError("x"), 1), (DataError("D", []), 2)])
def test_each_kind_of_error_has_its_exit_code(error: AutounetError, code: int) -> None:
    assert error.exit_code == code
    assert isinstance(error, ValueError)


def test_a_data_error_lists_every_problem_on_a_line_with_its_remedy() -> None:
    line = "case_1: labelsTr/case_1.nii: the value 7 is not declared -> declare it"
    assert str(DataError("Dataset001_Test", [PROBLEM])) == f"Dataset001_Test has 1 problem:\n{line}"
    assert str(DataError("Dataset001_Test", [PROBLEM] * 2)) == f"Dataset001_Test has 2 problems:\n{line}\n{line}"


def test_a_data_error_comes_back_whole_from_a_worker() -> None:
    error = DataError("Dataset001_Test", [PROBLEM])
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), back.dataset, back.problems, str(back)) == (
        DataError,
        "Dataset001_Test",
        (PROBLEM,),
        str(error),
    )


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([], ""),
        ([3], "3"),
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (range(9), "0, 1 and 7 more"),
    ],
)
def test_of_many_things_the_first_are_told_and_how_many_more(items: Sequence[object], told: str) -> None:
    assert some_of(items, 2) == told
    assert some_of(["a", "b", "c"], 2, "; ") == "a; b and 1 more"
