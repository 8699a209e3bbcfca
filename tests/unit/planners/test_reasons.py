"""How numbers and lists read in a plan's sentences."""

from __future__ import annotations

import pytest

from autounet.planners.reasons import Reasoned, by_axis, by_stage, counted, listed, millimetres, millions, number


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3"), (0.76757812, "0.7676"), (1e-5, "1e-05"), (123456.0, "123456"), (35.5, "35.5")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_lists_read_as_words() -> None:
    assert by_axis((36, 50.5, 35)) == "36 x 50.5 x 35"
    assert millimetres((5, 1.5625)) == "5 x 1.562 mm"
    assert by_stage(((1, 1), (2, 2))) == "1x1, 2x2"
    assert millions(452_796_416) == "452.8 million"
    assert [listed(words) for words in (["z"], ["y", "x"], ["z", "y", "x"])] == ["z", "y and x", "z, y and x"]
    assert [counted(1, "case"), counted(2, "case")] == ["1 case", "2 cases"]


def test_a_reasoned_value_becomes_a_decision() -> None:
    decision = Reasoned(8, "8", "because").decision("batch_size")
    assert (decision.name, decision.value, decision.reason) == ("batch_size", "8", "because")
