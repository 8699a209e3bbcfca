"""Costs counted by hand and by nnU-Net; patches and batches that follow from them."""

from __future__ import annotations

import pytest

from autounet.planners.budget import (
    Budget,
    batch_cap,
    feature_map_size,
    features_per_stage,
    fit_patch,
    initial_patch_size,
)
from autounet.planners.topology import find_topology


def test_features_double_up_to_the_limit() -> None:
    assert features_per_stage(6, 3) == (32, 64, 128, 256, 320, 320)
    assert features_per_stage(7, 2) == (32, 64, 128, 256, 512, 512, 512)


def test_a_small_network_is_counted_by_hand() -> None:
    # Encoder: 2 convolutions of 3 channels on 16 voxels and 1 of 5 on 4: 96 + 20. Decoder: 2 convolutions and
    # one transposed convolution of 3 channels on 16 voxels: 144. Output: 7 maps of 16 voxels: 112.
    assert feature_map_size(((4, 4), (2, 2)), (3, 5), (2, 1), (2,), num_labels=7) == 96 + 20 + 144 + 112


def test_six_stages_on_128_cubed_cost_what_nnunet_counts() -> None:
    topology = find_topology((1, 1, 1), (128, 128, 128))
    assert topology.num_stages == 6
    assert Budget(3, num_labels=3, memory_gib=8).cost(topology) == 452_796_416


@pytest.mark.parametrize(
    ("spacing", "size"),
    [
        ((1, 1, 1), (256, 256, 256)),
        ((1, 1), (2048, 2048)),
        ((1, 2), (2896, 1448)),  # 2048 * sqrt(2), 2048 / sqrt(2)
        ((2, 1, 1), (161, 323, 323)),  # 256 * 2 ** (-2 / 3), 256 * 2 ** (1 / 3)
        ((1e9, 1, 1), (1, 256_000, 256_000)),
    ],
)
def test_the_initial_patch_has_equal_edges_in_mm(spacing: tuple[float, ...], size: tuple[int, ...]) -> None:
    assert initial_patch_size(spacing) == size


def test_the_patch_is_the_padded_median_shape_where_that_fits() -> None:
    fit = fit_patch((1, 1, 1), (36, 50.5, 35), Budget(3, num_labels=3, memory_gib=8))
    assert fit.clipped == (36, 50.5, 35)
    assert fit.topology == fit.first
    assert fit.topology.patch_size == (40, 56, 40)


def test_the_patch_shrinks_along_the_axis_that_covers_most() -> None:
    budget = Budget(3, num_labels=3, memory_gib=8)
    fit = fit_patch((3.6, 0.62, 0.62), (20, 320, 319), budget)
    assert fit.first.patch_size == (20, 320, 320)
    # 320 / 319 is the largest share; the next valid size below 320 = 5 * 64 is 256 = 8 * 32, as 288 needs no 64.
    assert fit.topology.patch_size == (20, 320, 256)
    assert not budget.fits(fit.first)
    assert budget.fits(fit.topology)


def test_a_patch_that_never_fits_ends_at_single_voxels() -> None:
    budget = Budget(3, num_labels=3, memory_gib=1e-9)
    fit = fit_patch((1, 1, 1), (1, 30, 30), budget)
    assert fit.topology.patch_size == (1, 1, 1)
    assert not budget.fits(fit.topology)


def test_more_memory_holds_more_patches() -> None:
    topology = find_topology((1, 1, 1), (128, 128, 128))
    sizes = [Budget(3, num_labels=3, memory_gib=gib).batch_size(topology) for gib in (8, 16, 40)]
    # 560e6 / 452,796,416 * 2 patches in 8 GiB: 2.47, 4.95, 12.37.
    assert sizes == [2, 5, 12]


def test_a_batch_covers_at_most_five_percent_of_the_dataset() -> None:
    # 36 * 50 * 35 * 220 voxels * 0.05 / (40 * 56 * 40) = 7.73
    assert batch_cap(36 * 50 * 35 * 220, (40, 56, 40)) == 8
    assert batch_cap(36 * 50 * 35 * 220, (56, 40)) == 309
