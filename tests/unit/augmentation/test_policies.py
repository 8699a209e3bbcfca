"""Augmentation policies: sizes by hand, image and label moved alike, nothing added that was not there."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from autounet.augmentation import POLICIES
from autounet.augmentation.policies import Augmentation, initial_patch_size, nnunet_policy, no_policy
from autounet.errors import RequestError
from autounet.laterality import Mirroring

Array = npt.NDArray[Any]
PATCHES = {"3d": (12, 16, 14), "slice-wise": (4, 16, 20), "2d": (16, 14), "elongated 2d": (24, 12)}

policies = pytest.mark.parametrize("name", sorted(POLICIES))
patches = pytest.mark.parametrize("patch", PATCHES.values(), ids=list(PATCHES))


def random_batch(augmentation: Augmentation, num_channels: int = 2, seed: int = 0) -> tuple[Array, Array]:
    """Noise, and a label map in thick stripes with a border outside the body."""
    generator = np.random.default_rng(seed)
    size = augmentation.initial_patch_size
    image = generator.normal(size=(3, num_channels, *size)).astype(np.float32)
    label = (np.indices(size).sum(axis=0) // 5 % 3).astype(np.int16)
    label[..., 0] = -1
    return image, np.broadcast_to(label, (3, 1, *size)).copy()


def seeded(augmentation: Augmentation, image: Array, label: Array, seed: int) -> tuple[Array, Array]:
    np.random.seed(seed)  # noqa: NPY002  batchgenerators draws from both global generators
    random.seed(seed)
    return augmentation(image.copy(), label.copy())


def moving_always(augmentation: Augmentation, mirror: bool = True) -> Augmentation:
    """Only changes of place, and those every time."""
    spatial = augmentation.spatial
    spatial.p_rot_per_sample = spatial.p_scale_per_sample = 1
    mirrors = augmentation.mirroring if mirror else Mirroring(axes=())
    return dataclasses.replace(augmentation, spatial=spatial, intensity=(), mirroring=mirrors)


@pytest.mark.parametrize(
    ("patch", "initial"),
    [
        # nnU-Net's own numbers.
        ((128, 128, 128), (205, 205, 205)),
        ((40, 56, 40), (73, 80, 64)),
        ((20, 256, 224), (20, 301, 301)),
        ((512, 512), (602, 602)),
        ((56, 40), (65, 65)),
        ((256, 160), (339, 188)),
    ],
)
def test_the_region_cut_is_nnunets(patch: tuple[int, ...], initial: tuple[int, ...]) -> None:
    augmentation = nnunet_policy(patch, ())
    assert augmentation.initial_patch_size == initial
    assert augmentation.patch_size == patch
    assert augmentation.mirror_axes == tuple(range(len(patch)))
    assert augmentation.slice_wise == (patch == (20, 256, 224))


def test_the_region_cut_by_hand() -> None:
    # No turn: only the shrinking by 0.85. A quarter turn and more: the longest edge on both axes.
    assert initial_patch_size((85, 170), [0.0]) == (100, 200)
    assert initial_patch_size((85, 170), [np.pi]) == (200, 200)
    # 45 degrees: (10 + 20) / sqrt(2) / 0.85 = 24.96. nnU-Net turns one way only: 20 / 0.85 = 23.5 on the other axis.
    assert initial_patch_size((10, 20), [np.pi / 4]) == (24, 23)


@policies
@patches
def test_sizes_types_and_values_are_those_promised(name: str, patch: tuple[int, ...]) -> None:
    augmentation = POLICIES[name](patch, (0,))
    image, label = random_batch(augmentation)
    for seed in range(4):
        new_image, new_label = seeded(augmentation, image, label, seed)
        assert new_image.shape == (3, 2, *patch)
        assert new_label.shape == (3, *patch)
        assert new_image.dtype == np.float32
        assert new_label.dtype == np.int16
        assert np.isfinite(new_image).all()
        assert set(np.unique(new_label)) <= {0, 1, 2}
        assert new_image.flags.c_contiguous


@policies
@patches
def test_same_seed_same_batch(name: str, patch: tuple[int, ...]) -> None:
    augmentation = POLICIES[name](patch, ())
    image, label = random_batch(augmentation)
    first, second = seeded(augmentation, image, label, 7), seeded(augmentation, image, label, 7)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    if name != "none":
        assert not np.array_equal(first[0], seeded(augmentation, image, label, 8)[0])


@policies
@patches
def test_large_label_values_survive(name: str, patch: tuple[int, ...]) -> None:
    augmentation = POLICIES[name](patch, ())
    image, label = random_batch(augmentation)
    label = np.where(label == 1, 299, label)
    values = set()
    for seed in range(6):
        values |= set(np.unique(seeded(augmentation, image, label, seed)[1]).tolist())
    assert values == {0, 2, 299}


@pytest.mark.parametrize("name", ["light", "nnunet"])
@patches
def test_image_and_label_move_alike(name: str, patch: tuple[int, ...]) -> None:
    augmentation = moving_always(POLICIES[name](patch, ()))
    augmentation.spatial.order_data = 0  # the nearest voxel, as for labels: equal to the last voxel then
    _, label = random_batch(augmentation)
    label = np.maximum(label, 0)
    moved = 0
    for seed in range(8):
        image, new_label = seeded(augmentation, label.astype(np.float32), label, seed)
        assert np.array_equal(image[:, 0], new_label)
        moved += not np.array_equal(new_label[0], new_label[1])
    assert moved == 8  # every sample is moved in its own way


@pytest.mark.parametrize("name", ["light", "nnunet"])
@patches
def test_an_interpolated_image_stays_on_its_label(name: str, patch: tuple[int, ...]) -> None:
    augmentation = moving_always(POLICIES[name](patch, ()))
    grid = np.indices(augmentation.initial_patch_size)
    centre = [(edge - 1) / 2 for edge in augmentation.initial_patch_size]
    # Off centre, so that a mirror that moved only one of the two would show.
    ball = sum((axis - middle - 2) ** 2 for axis, middle in zip(grid, centre, strict=True)) < 30
    label = np.broadcast_to(ball, (2, 1, *ball.shape)).astype(np.int16)
    for seed in range(8):
        image, new_label = seeded(augmentation, label.astype(np.float32), label, seed)
        disagree = (image[:, 0] > 0.5) != (new_label == 1)
        assert disagree.mean() < 0.03
        assert (np.abs(image[:, 0] - 0.5)[disagree] < 0.5).all()  # and only on the border


@patches
def test_without_turning_the_centre_is_cropped(patch: tuple[int, ...]) -> None:
    augmentation = nnunet_policy(patch, ())
    augmentation.spatial.p_rot_per_sample = augmentation.spatial.p_scale_per_sample = 0
    augmentation = dataclasses.replace(augmentation, intensity=(), mirroring=Mirroring(axes=()))
    image, label = random_batch(augmentation)
    before = [(outer - inner) // 2 for outer, inner in zip(augmentation.initial_patch_size, patch, strict=True)]
    inside = [slice(first, first + size) for first, size in zip(before, patch, strict=True)]
    centre: tuple[Any, ...] = (..., *inside)
    new_image, new_label = seeded(augmentation, image, label, 0)
    assert np.array_equal(new_image, image[centre])
    assert np.array_equal(new_label, np.maximum(label[:, 0], 0)[centre])


@patches
def test_no_policy_changes_nothing(patch: tuple[int, ...]) -> None:
    augmentation = no_policy(patch, ())
    assert augmentation.initial_patch_size == patch
    assert augmentation.mirror_axes == ()
    image, label = random_batch(augmentation)
    new_image, new_label = seeded(augmentation, image, label, 0)
    assert np.array_equal(new_image, image)
    assert np.array_equal(new_label, np.maximum(label[:, 0], 0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_is_mirrored_half_of_the_time(axis: int) -> None:
    augmentation = POLICIES["light"]((4, 4, 4), ())
    augmentation.spatial.p_rot_per_sample = augmentation.spatial.p_scale_per_sample = 0
    augmentation = dataclasses.replace(augmentation, intensity=())
    ramp = np.indices(augmentation.initial_patch_size)[axis].astype(np.int16)
    batch = np.broadcast_to(ramp, (200, 1, *ramp.shape)).copy()
    image, label = seeded(augmentation, batch.astype(np.float32), batch, 0)
    assert np.array_equal(image[:, 0], label)
    ends = [np.take(image[:, 0], index, axis=axis + 1).mean(axis=(1, 2)) for index in (0, -1)]
    assert 70 < int((ends[0] > ends[1]).sum()) < 130


def test_slice_wise_turns_every_slice_alike_and_mixes_none() -> None:
    augmentation = moving_always(nnunet_policy((4, 16, 20), ()), mirror=False)
    assert augmentation.slice_wise
    plane = np.random.default_rng(0).normal(size=augmentation.initial_patch_size[1:])
    image = np.stack([plane + 100 * index for index in range(1, 5)])[None, None].astype(np.float32)
    label = np.broadcast_to(np.arange(1, 5, dtype=np.int16)[:, None, None], image.shape[2:])[None, None].copy()
    for seed in range(5):
        new_image, new_label = seeded(augmentation, image, label, seed)
        for index in range(4):
            assert set(np.unique(new_label[0, index])) <= {0, index + 1}
            inside = (new_label[0] > 0).all(axis=0)
            difference = new_image[0, 0, index] - new_image[0, 0, 0]
            # At the border, where the image is blended with nothing, slices differ in what they lose.
            assert np.median(np.abs(difference[inside] - 100 * index)) < 0.01


def test_slice_wise_keeps_channels_apart() -> None:
    augmentation = moving_always(nnunet_policy((4, 16, 20), ()))
    image, label = random_batch(augmentation)
    image[:, 0], image[:, 1] = 1.0, -1.0
    new_image, _ = seeded(augmentation, image, label, 0)
    assert (new_image[:, 0] >= 0).all()
    assert (new_image[:, 1] <= 0).all()


@pytest.mark.parametrize("name", ["light", "nnunet"])
@patches
def test_masked_channels_are_zero_outside_the_body_and_the_others_are_not(name: str, patch: tuple[int, ...]) -> None:
    augmentation = POLICIES[name](patch, (1,))
    image, label = random_batch(augmentation)
    image[:] = 5
    label[:] = -1
    for seed in range(4):
        new_image, new_label = seeded(augmentation, image, label, seed)
        assert (new_image[:, 1] == 0).all()
        assert (new_image[:, 0] != 0).any()
        assert (new_label == 0).all()


def test_masked_channels_keep_the_body() -> None:
    augmentation = no_policy((4, 4), (0,))
    label = np.zeros((1, 1, 4, 4), dtype=np.int16)
    label[..., :2, :] = -1
    image, _ = augmentation(np.full((1, 1, 4, 4), 3, dtype=np.float32), label)
    assert image[0, 0].tolist() == [[0] * 4] * 2 + [[3] * 4] * 2


@policies
def test_the_batch_given_is_not_changed(name: str) -> None:
    augmentation = POLICIES[name]((8, 8), (0,))
    image, label = random_batch(augmentation)
    kept_image, kept_label = image.copy(), label.copy()
    for seed in range(4):
        np.random.seed(seed)  # noqa: NPY002
        augmentation(image, label)
    assert np.array_equal(image, kept_image)
    assert np.array_equal(label, kept_label)


def test_an_unknown_policy_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(RequestError, match="Did you mean 'light'"):
        POLICIES.find("ligth")


@pytest.mark.parametrize(
    ("patch", "side_axis", "turns"),
    [
        # Slices are turned all the way round, unless that would turn left into right.
        ((16, 14), None, np.pi),
        ((16, 14), 1, np.pi / 6),
        ((4, 16, 20), 2, np.pi / 6),
        ((4, 16, 20), 0, np.pi),  # left and right lie in different slices
        ((12, 16, 14), 2, np.pi / 6),
    ],
)
def test_sides_are_not_turned_into_each_other(patch: tuple[int, ...], side_axis: int | None, turns: float) -> None:
    policy = nnunet_policy(patch, ())
    before = policy.spatial.angle_x
    changed = policy.with_mirroring(Mirroring(axes=(0,), side_axis=side_axis))
    assert changed.spatial.angle_x == pytest.approx((-turns, turns))
    assert changed.mirror_axes == (0,)
    assert policy.spatial.angle_x == before
