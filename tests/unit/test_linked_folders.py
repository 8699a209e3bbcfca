"""The linked folders' only import names are autounet.planners and autounet.preprocessing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import autounet.planners
import autounet.preprocessing


@pytest.mark.parametrize(
    ("package", "said"),
    [
        (autounet.planners, r"imported as autounet\.planners, not as planners"),
        (autounet.preprocessing, r"imported as autounet\.preprocessing"),
    ],
)
def test_the_folder_cannot_be_imported_by_an_ordinary_word(package: ModuleType, said: str) -> None:
    assert package.__file__ is not None
    spec = importlib.util.spec_from_file_location(package.__name__.partition(".")[2], Path(package.__file__))
    assert spec is not None and spec.loader is not None
    with pytest.raises(ImportError, match=said):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
