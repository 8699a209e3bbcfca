"""The folder's only import name is autounet.preprocessing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import autounet.preprocessing


def test_the_folder_cannot_be_imported_by_an_ordinary_word() -> None:
    file = Path(autounet.preprocessing.__file__)
    spec = importlib.util.spec_from_file_location("preprocessing", file)
    assert spec is not None and spec.loader is not None
    with pytest.raises(ImportError, match=r"imported as autounet\.preprocessing"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
