"""The reporter that reports nothing."""

from __future__ import annotations

import pytest

from autounet.progress import SILENT, duration


def test_silence_passes_items_through_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    taken: list[int] = []
    passed = SILENT.track((taken.append(item) or item for item in range(3)), "work", 3)  # type: ignore[func-returns-value]
    assert next(passed) == 0
    assert taken == [0]
    assert list(passed) == [1, 2]
    SILENT.say("a line")
    SILENT.status("a live line")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (99, "99 s"),
        (100, "1 min 40 s"),
        (150, "2 min 30 s"),
        (600, "10 min"),
        (3599.6, "1 h"),
        (12000, "3 h 20 min"),
        (40 * 86400, "40 days"),
    ],
)
def test_a_time_is_told_as_a_person_would(seconds: float, text: str) -> None:
    assert duration(seconds) == text
