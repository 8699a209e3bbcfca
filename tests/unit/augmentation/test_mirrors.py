"""Left and right labels exchanged where they should be, with both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autounet.augmentation.mirrors import with_sides_swapped
from autounet.augmentation.patches import Augmentation, BatchParameters
from autounet.augmentation.policies import Policy
from autounet.laterality import Mirroring

Apply = Callable[[BatchParameters, Any, Any], tuple[Any, Any]]
MIRRORS = Policy()


def test_marks_and_other_labels_stay() -> None:
    label = np.array([-1, 0, 1, 3, 7, 9], dtype=np.int16)
    assert with_sides_swapped(label, ((3, 7),)).tolist() == [-1, 0, 1, 7, 3, 9]
    assert label.tolist() == [-1, 0, 1, 3, 7, 9]


def test_a_flip_along_the_left_right_axis_swaps_by_hand(apply: Apply) -> None:
    image = np.array([[[[10, 20, 30]]]] * 16, dtype=np.float32)  # (B, C, Y, X)
    label = np.array([[[[3, 1, 7]]]] * 16, dtype=np.int16)
    mirroring = Mirroring(axes=(1,), side_axis=1, pairs=((3, 7),))
    drawn = Augmentation(MIRRORS, (1, 3), mirroring).draw(np.random.default_rng(0), 16, 1)
    assert 0 < drawn.spatial.swapped.sum() < 16
    new_image, new_label = apply(drawn, image, label)
    # Reversed 7 1 3, then exchanged: the left label stays on the left of the array.
    assert (new_label == label).all()
    expected = np.where(drawn.spatial.swapped[:, None], [30, 20, 10], [10, 20, 30])
    assert np.array_equal(new_image[:, 0, 0], expected)


def test_other_axes_swap_nothing(apply: Apply) -> None:
    label = np.array([[[[3], [1], [7]]]] * 16, dtype=np.int16)
    mirroring = Mirroring(axes=(0,), side_axis=1, pairs=((3, 7),))
    drawn = Augmentation(MIRRORS, (3, 1), mirroring).draw(np.random.default_rng(0), 16, 1)
    assert not drawn.spatial.swapped.any()
    _, new_label = apply(drawn, label.astype(np.float32), label)
    assert {tuple(column) for column in new_label[:, 0, :, 0].tolist()} == {(3, 1, 7), (7, 1, 3)}


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 1), (1,), ()])
def test_every_combination_is_as_likely_as_any_other(axes: tuple[int, ...]) -> None:
    drawn = Augmentation(MIRRORS, (2, 2, 2), Mirroring(axes=axes)).draw(np.random.default_rng(3), 4000, 1)
    diagonal = np.diagonal(drawn.spatial.matrix, axis1=1, axis2=2)
    assert set(np.unique(diagonal)) <= {-1.0, 1.0}
    assert (diagonal[:, [axis for axis in range(3) if axis not in axes]] == 1).all()
    combinations = np.bincount((diagonal < 0).astype(int) @ (1 << np.arange(3)), minlength=8)
    expected = 4000 / 2 ** len(axes)
    possible = combinations[combinations > 0]
    assert len(possible) == 2 ** len(axes)
    # Pearson's statistic; with 7 degrees of freedom it stays below 24.3 in 999 of 1000 draws.
    assert ((possible - expected) ** 2 / expected).sum() < 24.3


@pytest.mark.parametrize("policy", ["light", "da5"])
@pytest.mark.parametrize(("pairs", "place"), [(((1, 2),), "array"), ((), "organ")])
def test_a_whole_policy_keeps_labels_on_their_side(
    apply: Apply, policy: str, pairs: tuple[tuple[int, int], ...], place: str
) -> None:
    from autounet.augmentation import POLICIES

    mirroring = Mirroring(axes=(0, 1, 2), side_axis=2, pairs=pairs)
    augmentation = Augmentation(POLICIES[policy], (8, 8, 8), mirroring)
    ends = set()
    for seed in range(12):
        drawn = augmentation.draw(np.random.default_rng(seed), 8, 1)
        size = drawn.spatial.region_size
        label = np.ones((8, 1, *size), dtype=np.int16)
        side = np.arange(size[2]) > drawn.spatial.origin[:, 2, None]
        label += side[:, None, None, None].astype(np.int16)
        _, new = apply(drawn, label.astype(np.float32), label)
        ends |= {(int(sample[0, 4, 4, 0]), int(sample[0, 4, 4, -1])) for sample in new}
    assert ends == ({(1, 2)} if place == "array" else {(1, 2), (2, 1)})
