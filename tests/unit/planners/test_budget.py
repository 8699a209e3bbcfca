"""Costs counted by hand and by nnU-Net; patches and batches that follow from them."""

from __future__ import annotations

import pytest

from autounet.network_plan import NetworkPlan
from autounet.planners.budget import FeatureMapBudget, batch_cap, feature_map_size
from autounet.planners.constants import NNUNET, RESENC_M, RESENC_XL
from autounet.planners.network import network_plan
from autounet.planners.patch import PatchSearch
from autounet.planners.topology import find_topology

AXES = ("z", "y", "x")
EIGHT_GIB = FeatureMapBudget(num_labels=3, memory_gib=8)


def test_features_double_up_to_the_limit() -> None:
    assert network_plan(find_topology((1, 1, 1), (128, 128, 128))).features == (32, 64, 128, 256, 320, 320)
    assert network_plan(find_topology((1, 1), (512, 512))).features == (32, 64, 128, 256, 512, 512, 512, 512)


def test_depths_repeat_their_last_number() -> None:
    network = network_plan(find_topology((1, 1, 1), (128, 128, 128)), RESENC_M)
    assert network.num_convs_encoder == (1, 3, 4, 6, 6, 6)
    assert network.num_convs_decoder == (1, 1, 1, 1, 1)
    assert network.name == "resenc"


def small_network(name: str) -> NetworkPlan:
    return NetworkPlan(
        name=name,
        features=(3, 5),
        kernel_sizes=((3, 3), (3, 3)),
        strides=((1, 1), (2, 2)),
        num_convs_encoder=(2, 1),
        num_convs_decoder=(2,),
    )


def test_a_small_plain_network_is_counted_by_hand() -> None:
    # Encoder: 2 convolutions of 3 channels on 16 voxels and 1 of 5 on 4: 96 + 20. Decoder: 2 convolutions and
    # one transposed convolution of 3 channels on 16 voxels: 144. Output: 7 maps of 16 voxels: 112.
    assert feature_map_size(((4, 4), (2, 2)), small_network("plain"), num_labels=7) == 96 + 20 + 144 + 112


def test_a_small_residual_network_is_counted_by_hand() -> None:
    # Stem: 48. Encoder: 2 blocks of 2 convolutions of 48, 1 of 2 of 20 with a projection of 20: 192 + 60.
    assert feature_map_size(((4, 4), (2, 2)), small_network("resenc"), num_labels=7) == 48 + 192 + 60 + 144 + 112


def test_six_stages_on_128_cubed_cost_what_nnunet_counts() -> None:
    topology = find_topology((1, 1, 1), (128, 128, 128))
    assert topology.num_stages == 6
    assert EIGHT_GIB.cost(topology) == 452_796_416


@pytest.mark.parametrize(
    ("size", "published"), [((128, 128, 128), 558_319_104), ((512, 512), 129_793_792)], ids=["3d", "2d"]
)
def test_the_residual_networks_cost_what_nnunet_publishes(size: tuple[int, ...], published: int) -> None:
    # The published figures count deep supervision: 3 maps at every decoder stage but the finest. Upstream's 2D
    # network ends at 8 voxels, one stage above where the planner would end.
    topology = find_topology((1,) * len(size), size)
    stages = 6 if len(size) == 3 else 7
    shapes = topology.stage_shapes[:stages]
    full = network_plan(topology, RESENC_M)
    network = NetworkPlan(
        name="resenc",
        features=full.features[:stages],
        kernel_sizes=full.kernel_sizes[:stages],
        strides=full.strides[:stages],
        num_convs_encoder=full.num_convs_encoder[:stages],
        num_convs_decoder=full.num_convs_decoder[: stages - 1],
    )
    supervised = sum(3 * _product(shape) for shape in shapes[1:-1])
    assert feature_map_size(shapes, network, num_labels=3) + supervised == published


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for edge in shape:
        product *= edge
    return product


def test_the_patch_is_the_padded_median_shape_where_that_fits() -> None:
    search = PatchSearch((1, 1, 1), (36, 50.5, 35), AXES)
    fit = EIGHT_GIB.fit(search, 36 * 50.5 * 35 * 260, batch_size=None, num_inputs=1)
    assert fit.topology == search.first
    assert fit.topology.patch_size == (40, 56, 40)
    assert fit.batch_size == 9


def test_the_patch_shrinks_along_the_axis_that_covers_most() -> None:
    search = PatchSearch((3.6, 0.62, 0.62), (20, 320, 319), AXES)
    fit = EIGHT_GIB.fit(search, 20 * 320 * 319 * 32, batch_size=None, num_inputs=1)
    assert search.first.patch_size == (20, 320, 320)
    # 320 / 319 is the largest share; the next valid size below 320 = 5 * 64 is 256 = 8 * 32, as 288 needs no 64.
    assert fit.topology.patch_size == (20, 320, 256)
    assert not EIGHT_GIB.fits(search.first)
    assert EIGHT_GIB.fits(fit.topology)
    assert "x from 320 to 256" in fit.patch_reason


def test_a_patch_that_never_fits_ends_at_the_smallest() -> None:
    budget = FeatureMapBudget(num_labels=3, memory_gib=1e-9)
    fit = budget.fit(PatchSearch((1, 1, 1), (1, 30, 30), AXES), 900 * 5, batch_size=None, num_inputs=1)
    assert fit.topology.patch_size == (1, 1, 1)
    assert not budget.fits(fit.topology)
    assert fit.batch_size == 2


def test_a_requested_batch_is_taken_as_it_is() -> None:
    fit = EIGHT_GIB.fit(PatchSearch((1, 1, 1), (36, 50, 35), AXES), 1e6, batch_size=5, num_inputs=1)
    assert fit.batch_size == 5
    assert "requested by the user; 8 GiB hold" in fit.batch_reason


def test_more_memory_holds_more_patches() -> None:
    topology = find_topology((1, 1, 1), (128, 128, 128))
    sizes = [FeatureMapBudget(num_labels=3, memory_gib=gib).held(topology) for gib in (8, 16, 40)]
    # 560e6 / 452,796,416 * 2 patches in 8 GiB: 2.47, 4.95, 12.37.
    assert sizes == [2, 5, 12]


def test_presets_fill_their_own_memory() -> None:
    assert FeatureMapBudget(3, 40, RESENC_XL).allowed(3) == 3600e6
    assert FeatureMapBudget(3, 20, RESENC_XL).allowed(2) == 280e6


def test_a_batch_covers_at_most_a_share_of_the_dataset() -> None:
    # 36 * 50 * 35 * 220 voxels * 0.05 / (40 * 56 * 40) = 7.73
    assert batch_cap(36 * 50 * 35 * 220, (40, 56, 40), NNUNET) == 8
    assert batch_cap(36 * 50 * 35 * 220, (56, 40), NNUNET) == 309
    assert batch_cap(36 * 50 * 35 * 220, (40, 56, 40), RESENC_M) == 155
