"""Where voxels come from: sizes and moves by hand, regions that hold all that is needed and no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from autounet.augmentation import POLICIES
from autounet.augmentation.elastic import Elastic, elastic_weights
from autounet.augmentation.patches import Augmentation, BatchParameters
from autounet.augmentation.policies import DA5, LIGHT, NNUNET, NONE, UNET2015
from autounet.augmentation.spatial import (
    Spatial,
    SpatialParameters,
    initial_patch_size,
    is_slice_wise,
    largest_angles,
    rotation_matrix,
)
from autounet.laterality import Mirroring

Apply = Callable[[BatchParameters, Any, Any], tuple[Any, Any]]
PATCHES = {"3d": (12, 16, 14), "cube": (12, 12, 12), "slice-wise": (4, 16, 20), "2d": (16, 14), "elongated": (24, 12)}
patches = pytest.mark.parametrize("patch", PATCHES.values(), ids=list(PATCHES))
policies = pytest.mark.parametrize("name", sorted(POLICIES))


def batch(
    matrix: Any, patch: tuple[int, ...], *, shift: Any = None, displacement: Any = None, margin: int = 3
) -> BatchParameters:
    """A batch of one sample that is moved as said, out of a region with a margin all around."""
    num_dims = len(patch)
    spatial = SpatialParameters(
        patch_size=patch,
        matrix=np.array(matrix, dtype=np.float64)[None],
        shift=np.zeros((1, num_dims)) if shift is None else np.array(shift, dtype=np.float64)[None],
        displacement=displacement,
        interpolated=np.array([True]),
        swapped=np.array([False]),
        region_start=np.full((1, num_dims), -margin),
        region_size=tuple(edge + 2 * margin for edge in patch),
    )
    return BatchParameters(spatial, (), (), ())


def counted(drawn: BatchParameters) -> tuple[Any, Any]:
    """An image and a label map in which every voxel has its own value."""
    values = np.arange(1, np.prod(drawn.spatial.region_size) + 1).reshape(1, 1, *drawn.spatial.region_size)
    return values.astype(np.float32), values.astype(np.int16)


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
def test_the_region_that_a_patch_may_reach_into_is_nnunets(patch: tuple[int, ...], initial: tuple[int, ...]) -> None:
    augmentation = Augmentation.of(NNUNET, patch)
    assert augmentation.initial_patch_size == initial
    assert augmentation.mirror_axes == tuple(range(len(patch)))
    assert is_slice_wise(patch) == (patch == (20, 256, 224))


def test_that_region_by_hand() -> None:
    # Only the shrinking by 0.7 or 0.85; a quarter turn, 28 on both axes.
    assert initial_patch_size((14, 28), Spatial(p_scaling=1, margin=0.7)) == (20, 40)
    assert initial_patch_size((20, 28), dataclasses.replace(DA5.spatial)) == (40, 40)
    assert initial_patch_size((20, 28), NONE.spatial) == (20, 28)
    # Nothing turned: 30 voxels of deformation and a tenth of the patch on every side.
    spatial = Spatial(shift=0.1, elastic=Elastic(p=1), margin=1)
    assert initial_patch_size((100, 200), spatial) == (180, 300)


def test_angles_are_nnunets_and_mind_left_and_right() -> None:
    deg = np.rad2deg
    assert deg(largest_angles((12, 16, 14))) == pytest.approx([30, 30, 30])
    assert deg(largest_angles((4, 16, 20))) == pytest.approx([180, 0, 0])
    assert deg(largest_angles((16, 14))) == pytest.approx([180])
    assert deg(largest_angles((24, 12))) == pytest.approx([15])
    # Turned all the way round, left would become right.
    assert deg(largest_angles((16, 14), side_axis=1)) == pytest.approx([30])
    assert deg(largest_angles((4, 16, 20), side_axis=2)) == pytest.approx([30, 0, 0])
    assert deg(largest_angles((4, 16, 20), side_axis=0)) == pytest.approx([180, 0, 0])
    assert deg(largest_angles((24, 12), side_axis=0)) == pytest.approx([15])


def test_rotation_matrices_by_hand() -> None:
    assert rotation_matrix([np.pi / 2], 2) @ [0, 1] == pytest.approx([1, 0])
    for axis, angles in enumerate(np.eye(3) * 0.3):
        matrix = rotation_matrix(angles, 3)
        assert matrix[axis] == pytest.approx(np.eye(3)[axis])  # the axis stays
        assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(0.3))
    several = rotation_matrix([0.1, 0.2, 0.3], 3)
    assert several @ several.T == pytest.approx(np.eye(3))
    assert np.linalg.det(several) == pytest.approx(1)


def test_a_turn_by_hand(apply: Apply) -> None:
    drawn = batch([[0, -1], [1, 0]], (3, 3), margin=0)
    image, label = apply(drawn, *counted(drawn))
    # The voxel at (y, x) from the centre is read at (-x, y).
    assert image[0, 0].round(3).tolist() == [[7, 4, 1], [8, 5, 2], [9, 6, 3]]
    assert label[0, 0].tolist() == [[7, 4, 1], [8, 5, 2], [9, 6, 3]]


def test_distances_twice_as_long_shrink_objects(apply: Apply) -> None:
    drawn = batch(np.diag([2, 2]), (3, 3), margin=1)
    image, label = apply(drawn, *counted(drawn))
    assert image[0, 0].round(3).tolist() == [[1, 3, 5], [11, 13, 15], [21, 23, 25]]
    assert label[0, 0].tolist() == [[1, 3, 5], [11, 13, 15], [21, 23, 25]]


def test_between_voxels_images_are_mixed_and_labels_are_not(apply: Apply) -> None:
    drawn = batch(np.eye(2), (1, 3), shift=(0, 0.25), margin=1)
    image, label = apply(drawn, *counted(drawn))
    assert image[0, 0].round(3).tolist() == [[7.25, 8.25, 9.25]]
    assert label[0, 0].tolist() == [[7, 8, 9]]


def test_beyond_the_region_there_is_nothing(apply: Apply) -> None:
    drawn = batch(np.eye(2), (1, 3), shift=(0, 1.75), margin=1)
    image, label = apply(drawn, *counted(drawn))
    assert image[0, 0].round(3).tolist() == [[8.75, 9.75, 2.5]]  # the last three quarters of the way to nothing
    assert label[0, 0].tolist() == [[9, 10, 0]]


def test_masked_channels_are_zero_outside_the_body_and_labels_never_negative(apply: Apply) -> None:
    drawn = dataclasses.replace(Augmentation.of(NONE, (2, 2), (1,)).draw(np.random.default_rng(0), 1, 2))
    label = np.array([[[[-1, 0], [2, -1]]]], dtype=np.int16)
    image, new_label = apply(drawn, np.ones((1, 2, 2, 2), dtype=np.float32), label)
    assert image[0].tolist() == [[[1, 1], [1, 1]], [[0, 1], [1, 0]]]
    assert new_label[0, 0].tolist() == [[0, 0], [2, 0]]


def test_further_maps_move_with_the_label(apply: Apply) -> None:
    augmentation = Augmentation.of(UNET2015, (10, 12))
    drawn = augmentation.draw(np.random.default_rng(0), 2, 1)
    label = np.random.default_rng(1).integers(0, 4, (2, 1, *drawn.spatial.region_size)).astype(np.int16)
    _, moved = apply(drawn, label.astype(np.float32), np.concatenate((label, 10 + label), axis=1))
    inside = moved[:, 1] > 0
    assert inside.mean() > 0.9
    assert np.array_equal(moved[:, 1][inside], 10 + moved[:, 0][inside])


def test_elastic_displacements_by_hand(apply: Apply) -> None:
    # All nodes alike: the whole patch is shifted.
    nodes = np.zeros((1, 2, 3, 3))
    nodes[0, 1] = 2
    drawn = batch(np.eye(2), (5, 7), displacement=nodes)
    image, label = apply(drawn, *counted(drawn))
    expected = counted(drawn)[0][0, 0, 3:8, 5:12]
    assert image[0, 0] == pytest.approx(expected, abs=1e-3)
    assert np.array_equal(label[0, 0], expected)


def test_elastic_weights_are_cubic_splines_through_the_nodes() -> None:
    weights = elastic_weights(9, 3)
    # Nodes are at the centres of the thirds, voxels 1, 4 and 7; all weights of a voxel add up to one.
    assert weights[[1, 4, 7]] == pytest.approx(np.eye(3), abs=1e-5)
    assert weights.sum(axis=1) == pytest.approx(np.ones(9), abs=1e-5)
    # A bend between them, not straight lines.
    line = np.interp(np.arange(9), [1, 4, 7], [0, 1, 0])
    assert np.abs(weights[:, 1] - line).max() > 0.05


def test_displacements_have_10_voxels_of_deviation_in_every_sample() -> None:
    drawn = Augmentation.of(UNET2015, (64, 64, 64)).draw(np.random.default_rng(0), 40, 1)
    assert drawn.spatial.displacement is not None
    assert drawn.spatial.displacement.shape == (40, 3, 3, 3, 3)
    assert stats.kstest(drawn.spatial.displacement.ravel(), "norm", args=(0, 10)).pvalue > 1e-3
    assert drawn.spatial.interpolated.all()


def test_slices_are_deformed_alike_and_never_mixed(apply: Apply) -> None:
    patch = (4, 16, 20)
    for policy in (NNUNET, UNET2015, DA5):
        always = dataclasses.replace(policy.spatial, p_rotation=1, p_scaling=1)
        augmentation = Augmentation.of(dataclasses.replace(policy, spatial=always, intensity=(), mirrors=False), patch)
        drawn = augmentation.draw(np.random.default_rng(1), 3, 1)
        size = drawn.spatial.region_size
        assert size[0] == 4
        plane = np.random.default_rng(0).normal(size=size[1:])
        image = np.stack([plane + 100 * index for index in range(1, 5)])[None, None].repeat(3, axis=0)
        label = np.broadcast_to(np.arange(1, 5)[:, None, None], (3, 1, *size)).astype(np.int16)
        new_image, new_label = apply(drawn, image.astype(np.float32), label)
        for index in range(4):
            assert set(np.unique(new_label[:, 0, index])) <= {0, index + 1}
            inside = (new_label[:, 0] > 0).all(axis=1)
            difference = new_image[:, 0, index] - new_image[:, 0, 0]
            # At the border, where the image is blended with nothing, slices differ in what they lose.
            assert np.median(np.abs(difference[inside] - 100 * index)) < 0.01


@policies
@patches
def test_the_region_holds_all_that_is_needed(name: str, patch: tuple[int, ...], apply: Apply) -> None:
    """Out of a larger region comes the same, unless the policy leaves out what lies further away."""
    augmentation = Augmentation.of(dataclasses.replace(POLICIES[name], intensity=()), patch)
    before = (np.array(augmentation.initial_patch_size) - np.array(patch)) // 2
    for seed in range(3):
        generator = np.random.default_rng(seed)
        drawn = augmentation.draw(generator, 3, 1)
        whole = generator.normal(size=(3, 1, *augmentation.initial_patch_size)).astype(np.float32)
        wide_spatial = dataclasses.replace(
            drawn.spatial,
            region_start=np.broadcast_to(-before, drawn.spatial.region_start.shape),
            region_size=augmentation.initial_patch_size,
        )
        wide = dataclasses.replace(drawn, spatial=wide_spatial)
        expected = apply(wide, whole, (whole > 0).astype(np.int16))
        starts = drawn.spatial.region_start + before
        cut = [
            np.pad(sample, [(0, 0), *[(0, 99)] * len(patch)])[
                (slice(None), *(slice(s, s + e) for s, e in zip(start, drawn.spatial.region_size, strict=True)))
            ]
            for sample, start in zip(whole, starts, strict=True)
        ]
        found = apply(drawn, np.stack(cut), (np.stack(cut) > 0).astype(np.int16))
        assert found[0] == pytest.approx(expected[0], abs=2e-3)
        assert (found[1] != expected[1]).mean() < 2e-3


@patches
def test_what_is_not_moved_is_cut_as_large_as_the_patch(patch: tuple[int, ...]) -> None:
    still = dataclasses.replace(DA5.spatial, p_rotation=1e-12, p_scaling=0)
    augmentation = Augmentation.of(dataclasses.replace(DA5, spatial=still), patch)
    drawn = augmentation.draw(np.random.default_rng(0), 8, 1)
    assert drawn.spatial.region_size == patch
    assert (drawn.spatial.region_start == 0).all()


@patches
def test_light_cuts_far_less_than_nnunets_region(patch: tuple[int, ...]) -> None:
    augmentation = Augmentation.of(LIGHT, patch)
    voxels = [np.prod(augmentation.draw(np.random.default_rng(seed), 2, 1).spatial.region_size) for seed in range(200)]
    assert np.mean(voxels) < 0.85 * np.prod(augmentation.initial_patch_size)


def test_quarter_turns_and_exchanges_of_equal_axes(apply: Apply) -> None:
    spatial = Spatial(p_quarter_turn=0.5, p_transpose=0.5)
    augmentation = Augmentation.of(dataclasses.replace(NONE, spatial=spatial), (3, 4, 4))
    drawn = augmentation.draw(np.random.default_rng(0), 200, 1)
    image = np.arange(48, dtype=np.float32).reshape(3, 4, 4)
    moved, label = apply(drawn, np.broadcast_to(image, (200, 1, 3, 4, 4)).copy(), np.ones((200, 1, 3, 4, 4), np.int16))
    assert np.array_equal(np.sort(moved.reshape(200, -1)), np.broadcast_to(np.arange(48), (200, 48)))
    assert (label == 1).all()
    found = {sample.tobytes() for sample in moved[:, 0]}
    turned = [np.rot90(image, turns, (1, 2)) for turns in range(4)]
    expected = {np.ascontiguousarray(each).tobytes() for turn in turned for each in (turn, turn.transpose(0, 2, 1))}
    assert found == expected
    # The left-right axis is left alone.
    sided = augmentation.with_mirroring(Mirroring(axes=(), side_axis=2)).draw(np.random.default_rng(0), 50, 1)
    assert (sided.spatial.matrix == np.eye(3)).all()


def test_rotation_and_scale_are_drawn_apart_and_by_their_laws() -> None:
    size = 4000
    for policy, law in ((NNUNET, "uniform"), (LIGHT, "about_one")):
        drawn = (
            Augmentation.of(policy, (64, 64, 64))
            .with_mirroring(Mirroring(axes=()))
            .draw(np.random.default_rng(0), size, 1)
        )
        scale = np.linalg.det(drawn.spatial.matrix) ** (1 / 3)
        turn = drawn.spatial.matrix / scale[:, None, None]
        is_scaled, is_turned = ~np.isclose(scale, 1), ~np.isclose(turn, np.eye(3)).all(axis=(1, 2))
        for share, p in ((is_scaled, 0.2), (is_turned, 0.2), (is_scaled & is_turned, 0.04)):
            assert abs(share.mean() - p) < 4.5 * np.sqrt(p * (1 - p) / size)
        assert np.array_equal(drawn.spatial.interpolated, is_scaled | is_turned)
        scales = scale[is_scaled]
        if law == "uniform":
            assert stats.kstest(scales, "uniform", args=(0.7, 0.7)).pvalue > 1e-3
        else:
            assert abs((scales < 1).mean() - 0.5) < 0.08
            assert stats.kstest(scales[scales < 1], "uniform", args=(0.7, 0.3)).pvalue > 1e-3
        angle = np.arcsin(np.clip(turn[is_turned][:, 0, 2], -1, 1))
        assert np.abs(angle).max() < np.pi / 6 * 1.001 * 2
