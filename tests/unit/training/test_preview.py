"""Patches before and after augmentation: the same place, one seed, every patch with a class in it."""

from __future__ import annotations

from collections.abc import Callable

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
