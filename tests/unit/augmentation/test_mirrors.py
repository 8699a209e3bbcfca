"""Mirrors: drawn as before, image and label moved alike, left and right labels exchanged where they should be."""

from __future__ import annotations

import numpy as np
import pytest
from batchgenerators.transforms.spatial_transforms import MirrorTransform

from autounet.augmentation import POLICIES
from autounet.augmentation.mirrors import draw_mirrors, mirrored, with_sides_swapped
from autounet.laterality import Mirroring

SWAP = Mirroring(axes=(0, 1, 2), side_axis=2, pairs=((3, 7),))


def random_batch(num_samples: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    image = generator.normal(size=(num_samples, 2, 3, 4, 5)).astype(np.float32)
    return image, generator.choice([0, 1, 3, 7], size=(num_samples, 3, 4, 5)).astype(np.int16)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 1), (1,), ()])
def test_every_combination_is_as_likely_as_any_other_and_as_with_batchgenerators(axes: tuple[int, ...]) -> None:
    np.random.seed(3)  # noqa: NPY002
    ours = draw_mirrors(4000, axes)
    assert ours.shape == (4000, len(axes))
    if not axes:
        return
    # Which axes of a ramp batchgenerators flipped is read from its corners.
    ramp = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    theirs_batch = MirrorTransform(axes)(data=np.broadcast_to(ramp, (4000, 1, 2, 2, 2)).copy())["data"][:, 0, 0, 0, 0]
    theirs = np.stack([(theirs_batch.astype(int) >> (2 - axis)) & 1 for axis in axes], axis=1)
    for flips in (ours, theirs):
        combinations = np.bincount(flips.astype(int) @ (2 ** np.arange(len(axes))), minlength=2 ** len(axes))
        expected = 4000 / 2 ** len(axes)
        # Pearson's statistic; with 7 degrees of freedom it stays below 24.3 in 999 of 1000 draws.
        assert ((combinations - expected) ** 2 / expected).sum() < 24.3


def test_one_seed_draws_the_same_mirrors() -> None:
    draws = []
    for _ in range(2):
        np.random.seed(5)  # noqa: NPY002
        draws.append(draw_mirrors(6, (0, 1, 2)))
    assert np.array_equal(draws[0], draws[1])


def test_a_flip_along_the_left_right_axis_swaps_by_hand() -> None:
    image = np.array([[[[10, 20, 30]]]], dtype=np.float32)  # (B, C, Y, X)
    label = np.array([[[3, 1, 7]]], dtype=np.int16)
    mirrors = Mirroring(axes=(0, 1), side_axis=1, pairs=((3, 7),))
    new_image, new_label = mirrored(image, label, np.array([[False, True]]), mirrors)
    assert new_image.tolist() == [[[[30, 20, 10]]]]
    # Reversed 7 1 3, then exchanged: the left label stays on the left of the array.
    assert new_label.tolist() == [[[3, 1, 7]]]
    assert mirrored(image, label, np.array([[True, False]]), mirrors)[1].tolist() == label.tolist()
    assert label.tolist() == [[[3, 1, 7]]]


def test_twice_is_the_identity() -> None:
    image, label = random_batch()
    flips = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]], dtype=bool)
    once = mirrored(image, label, flips, SWAP)
    twice = mirrored(*once, flips, SWAP)
    assert np.array_equal(twice[0], image)
    assert np.array_equal(twice[1], label)
    assert not np.array_equal(once[1], label)


def test_only_samples_flipped_along_the_left_right_axis_are_relabelled() -> None:
    image, label = random_batch()
    flips = np.array([[0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=bool)
    _, new = mirrored(image, label, flips, SWAP)
    _, kept = mirrored(image, label, flips, Mirroring(axes=(0, 1, 2)))
    for index, is_swapped in enumerate((True, False, False, True)):
        expected = with_sides_swapped(kept[index], ((3, 7),)) if is_swapped else kept[index]
        assert np.array_equal(new[index], expected)


def test_marks_and_other_labels_stay() -> None:
    label = np.array([-1, 0, 1, 3, 7, 9], dtype=np.int16)
    assert with_sides_swapped(label, ((3, 7),)).tolist() == [-1, 0, 1, 7, 3, 9]


@pytest.mark.parametrize(("pairs", "place"), [(((1, 2),), "array"), ((), "organ")])
def test_a_whole_policy_keeps_labels_on_their_side(pairs: tuple[tuple[int, int], ...], place: str) -> None:
    policy = POLICIES["light"]((8, 8, 8), ()).with_mirroring(Mirroring(axes=(0, 1, 2), side_axis=2, pairs=pairs))
    policy.spatial.p_rot_per_sample = policy.spatial.p_scale_per_sample = 0
    size = policy.initial_patch_size
    label = np.ones((16, 1, *size), dtype=np.int16)
    label[..., size[2] // 2 :] = 2
    np.random.seed(0)  # noqa: NPY002
    _, new = policy(label.astype(np.float32), label)
    ends = {(int(sample[0, 0, 0]), int(sample[0, 0, -1])) for sample in new}
    assert ends == ({(1, 2)} if place == "array" else {(1, 2), (2, 1)})
