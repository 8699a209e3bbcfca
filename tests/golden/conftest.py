"""Golden files are written anew with `python -m pytest tests/golden --regenerate`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden files instead of comparing with them")


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    # Not known to a run that finds this folder on its way rather than by its name.
    return bool(request.config.getoption("--regenerate", default=False))
