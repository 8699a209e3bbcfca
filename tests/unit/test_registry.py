"""Registries: names, places to import from, and packages from outside."""

from __future__ import annotations

import collections
import math
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from autounet import registry as module
from autounet.errors import RequestError
from autounet.registry import Registry


@pytest.fixture
def shapes() -> Registry[Any]:
    return Registry("autounet.test_shapes", "shape", {"counter": "collections:Counter", "root": "math:sqrt"})


def test_an_entry_is_imported_by_its_name(shapes: Registry[Any]) -> None:
    assert shapes.find("root") is math.sqrt
    assert shapes["counter"] is collections.Counter


def test_names_are_listed_without_importing_anything() -> None:
    lazy: Registry[Any] = Registry("autounet.test_shapes", "shape", {"a": "no.such.module:a", "b": "no.such.module:b"})
    assert list(lazy) == ["a", "b"]
    assert len(lazy) == 2


def test_an_unknown_name_lists_all_and_the_nearest(shapes: Registry[Any]) -> None:
    with pytest.raises(RequestError) as caught:
        shapes.find("roots")
    assert str(caught.value) == "unknown shape 'roots'. Did you mean 'root'? Known: counter, root."
    with pytest.raises(KeyError):
        shapes["roots"]
    assert "roots" not in shapes


def test_a_place_to_import_from_is_taken_as_it_is(shapes: Registry[Any]) -> None:
    assert shapes.find("operator:neg")(3) == -3


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no_such_module:Net", "shape 'no_such_module:Net' cannot be imported: No module named"),
        ("math:no_such_thing", "shape 'math:no_such_thing' cannot be imported: .*no_such_thing"),
        (":Net", "write 'package.module:Name'"),
        ("math:", "write 'package.module:Name'"),
        (".math:Net", "write 'package.module:Name'"),
    ],
)
def test_a_place_that_cannot_be_imported_is_named(place: str, message: str, shapes: Registry[Any]) -> None:
    with pytest.raises(RequestError, match=message):
        shapes.find(place)


def test_other_packages_join_by_entry_points_but_replace_nothing(
    shapes: Registry[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = "autounet.test_shapes"
    outside = EntryPoints([EntryPoint("floor", "math:floor", group), EntryPoint("root", "math:cbrt", group)])
    monkeypatch.setattr(module, "entry_points", lambda **wanted: outside.select(**wanted))
    assert shapes.find("floor") is math.floor
    assert shapes.find("root") is math.sqrt
    assert sorted(shapes) == ["counter", "floor", "root"]
