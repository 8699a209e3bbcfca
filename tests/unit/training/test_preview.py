"""Patches before and after augmentation: the same place, one seed, every patch with a class in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autounet.errors import RequestError
from autounet.plans import Plan
from autounet.preprocessing.store import PreparedStore
from autounet.training.preview import PreviewedPatch, preview_patches


def preview(
    store: PreparedStore, plan: Plan, policy: str, seed: int = 0, name: str = "3d_fullres"
) -> list[PreviewedPatch]:
    configuration = plan.configuration(name)
    return list(preview_patches(plan, configuration, store, ("a", "b", "c"), policy=policy, num_patches=5, seed=seed))


@pytest.mark.parametrize(("name", "patch"), [("3d_fullres", (8, 8, 8)), ("2d", (8, 8))])
def test_without_augmentation_before_and_after_are_the_same(
    store: PreparedStore, make_plan: Callable[..., Plan], name: str, patch: tuple[int, ...]
) -> None:
    patches = preview(store, make_plan(), "none", name=name)
    assert len(patches) == 5
    for each in patches:
        assert each.case in ("a", "b", "c")
        assert each.image.shape == each.image_before.shape == (1, *patch)
        assert each.label.shape == each.label_before.shape == patch
        assert np.array_equal(each.image, each.image_before)
        assert np.array_equal(each.label, each.label_before)
        assert each.label.any()
        assert each.label.min() >= 0
        assert each.changes == ()


def test_what_is_said_is_what_was_done(store: PreparedStore, make_plan: Callable[..., Plan]) -> None:
    patches = [each for seed in range(8) for each in preview(store, make_plan(), "light", seed)]
    for each in patches:
        assert np.array_equal(each.image, each.image_before) == (each.changes == ())
    assert {each.changes == () for each in patches} == {True, False}


def test_one_seed_shows_the_same(store: PreparedStore, make_plan: Callable[..., Plan]) -> None:
    first, second, other = (preview(store, make_plan(), "nnunet", seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one.image, two.image) for one, two in zip(first, second, strict=True))
    assert not all(np.array_equal(one.image, two.image) for one, two in zip(first, other, strict=True))


def test_an_unknown_policy_is_refused_with_the_nearest(store: PreparedStore, make_plan: Callable[..., Plan]) -> None:
    with pytest.raises(RequestError, match="light"):
        preview(store, make_plan(), "lihgt")


class Found:
    """What a first stage found: the labels themselves."""

    def __init__(self, store: PreparedStore) -> None:
        self._store = store

    def segmentation(self, name: str) -> Any:
        return np.maximum(self._store.label(name)[:], 0)


def test_what_the_first_stage_found_is_shown_as_it_is_told(
    store: PreparedStore, make_plan: Callable[..., Plan]
) -> None:
    """Before: as found, which here are the labels. After: moved with the image, and changed only where that is said."""
    plan = make_plan()
    cascade = plan.configuration("3d_fullres").model_copy(update={"previous_stage": "3d_lowres"})
    found: Any = Found(store)
    names, count = ("a", "b", "c"), 20
    patches = preview_patches(plan, cascade, store, names, policy="nnunet", num_patches=count, found=found)
    changed = []
    for each in patches:
        assert each.previous_before is not None
        assert each.previous is not None
        assert each.image.shape == (1, 8, 8, 8)
        assert np.array_equal(each.previous_before, each.label_before)
        told = [words for words in each.changes if words.startswith("told label ")]
        assert told or np.array_equal(each.previous, each.label)
        changed.append(bool(told))
    assert {True, False} == set(changed)
    without = preview_patches(plan, cascade, store, names, policy="nnunet", num_patches=count)
    assert all(each.previous is None for each in without)
