"""The reporter that reports nothing."""

from __future__ import annotations

import pytest

from autounet.progress import SILENT


def test_silence_passes_items_through_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    taken: list[int] = []
    passed = SILENT.track((taken.append(item) or item for item in range(3)), "work", 3)  # type: ignore[func-returns-value]
    assert next(passed) == 0
    assert taken == [0]
    assert list(passed) == [1, 2]
    SILENT.say("a line")
    SILENT.status("a live line")
    assert capsys.readouterr() == ("", "")
