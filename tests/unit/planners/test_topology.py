"""Strides follow nnU-Net's worked examples; sentences follow the strides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autounet.networks.choice import NetworkChoice
from autounet.planners.network import constants_of
from autounet.planners.topology import bare_network, explain_kernels, explain_strides, find_topology

ZYX = ("z", "y", "x")


def test_similar_axes_are_pooled_together_and_the_patch_is_padded() -> None:
    topology = find_topology((1, 1, 1), (36, 50, 35))
    assert topology.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert topology.kernel_sizes == ((3, 3, 3),) * 4
    assert topology.patch_size == (40, 56, 40)
    assert topology.divisor == (8, 8, 8)
    assert topology.stage_shapes == ((40, 56, 40), (20, 28, 20), (10, 14, 10), (5, 7, 5))


def test_a_coarse_axis_waits_until_the_others_have_caught_up() -> None:
    spacing = (5, 1.5625, 1.5625)
    topology = find_topology(spacing, (18, 237, 208))
    assert topology.strides == ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))
    # 5 / 1.5625 = 3.2 in stage 1; 1.6 in stage 2.
    assert topology.kernel_sizes == ((1, 3, 3), *((3, 3, 3),) * 5)
    assert topology.patch_size == (20, 256, 224)
    sentence = explain_strides(topology, spacing, ZYX)
    assert "axes y and x are halved together from stage 2 on, as their spacings are the same" in sentence
    assert "axis z is 3.2 times coarser than y, so it is not pooled until stage 3" in sentence
    assert "z stops at stage 4 with 5 voxels" in sentence
    assert "pooling ends at 5 x 8 x 7 voxels" in sentence
    kernels = explain_kernels(topology, spacing, ZYX)
    assert "neighbours along z are 3.2 times as far apart as along y, so the kernel is 1 along z in stage 1" in kernels


def test_kernels_stay_flat_as_long_as_the_axis_is_twice_as_coarse() -> None:
    spacing = (3.6, 0.62, 0.62)  # 5.8, 2.9, 1.45
    topology = find_topology(spacing, (20, 320, 256))
    assert [kernel[0] for kernel in topology.kernel_sizes] == [1, 1, 3, 3, 3, 3, 3]
    assert [stride[0] for stride in topology.strides] == [1, 1, 1, 2, 2, 1, 1]
    assert "in stages 1 to 2" in explain_kernels(topology, spacing, ZYX)
    assert "so it is not pooled until stage 4" in explain_strides(topology, spacing, ZYX)


def test_a_factor_of_two_is_not_similar() -> None:
    assert find_topology((2, 1, 1), (64, 64, 64)).strides[1] == (1, 2, 2)
    assert find_topology((1.999, 1, 1), (64, 64, 64)).strides[1] == (2, 2, 2)


def test_a_very_coarse_axis_is_never_pooled() -> None:
    spacing = (100, 1, 1)
    topology = find_topology(spacing, (11, 64, 64))
    assert topology.divisor == (1, 16, 16)
    # The bottleneck is convolved along all axes all the same.
    assert [kernel[0] for kernel in topology.kernel_sizes] == [1, 1, 1, 1, 3]
    assert "axis z is 100 times coarser than y, so it is not pooled at all" in explain_strides(topology, spacing, ZYX)


def test_a_long_coarse_axis_is_pooled_once_the_others_are_short() -> None:
    spacing = (100, 1, 1)
    topology = find_topology(spacing, (40, 64, 64))
    assert topology.strides[5:] == ((2, 1, 1), (2, 1, 1))
    assert "not pooled until stage 6, where no finer axis can be halved any more" in explain_strides(
        topology, spacing, ZYX
    )


def test_a_thin_axis_is_never_pooled() -> None:
    topology = find_topology((1, 1, 1), (7, 32, 32))
    assert topology.divisor == (1, 8, 8)
    assert "axis z has only 7 voxels, too few to halve" in explain_strides(topology, (1, 1, 1), ZYX)


@pytest.mark.parametrize(("size", "num_stages"), [((7, 7, 11), 1), ((7, 7, 12), 2), ((7, 8, 8), 2), ((7, 7, 7.5), 1)])
def test_one_axis_alone_needs_more_voxels_than_several(size: tuple[float, ...], num_stages: int) -> None:
    assert find_topology((1, 1, 1), size).num_stages == num_stages


def test_a_tiny_patch_is_not_pooled() -> None:
    topology = find_topology((1, 1), (5, 6.5))
    assert topology.strides == ((1, 1),)
    assert topology.kernel_sizes == ((3, 3),)
    assert topology.patch_size == (5, 7)
    assert "the patch of 5 x 7 voxels is not pooled at all" in explain_strides(topology, (1, 1), ("y", "x"))


def test_one_axis_may_be_halved_alone_at_first() -> None:
    spacing = (5, 5, 1)
    topology = find_topology(spacing, (32, 32, 160))
    assert topology.strides[:4] == ((1, 1, 1), (1, 1, 2), (1, 1, 2), (2, 2, 2))
    assert "axis x is halved from stage 2 on; axis z is 5 times coarser" in explain_strides(topology, spacing, ZYX)


SWIN = constants_of(NetworkChoice.of("swin_unet"))


def test_patches_of_a_transformer_are_the_stride_of_the_second_stage() -> None:
    topology = find_topology((1, 1), (512, 300), SWIN)
    assert topology.strides == ((1, 1), (4, 4), (2, 2), (2, 2), (2, 2))
    assert topology.patch_size == (512, 320)
    sentence = explain_strides(topology, (1, 1), ("y", "x"), SWIN)
    assert "stage 2 is 4 times coarser, the edge of the network's own patches;" in sentence


def test_patches_of_a_transformer_are_smaller_on_small_images() -> None:
    assert find_topology((1, 1), (64, 64), SWIN).strides == ((1, 1), (4, 4), (2, 2), (2, 2))
    topology = find_topology((1, 1), (60, 60), SWIN)
    assert topology.strides == ((1, 1), (2, 2), (2, 2), (2, 2), (2, 2))
    sentence = explain_strides(topology, (1, 1), ("y", "x"), SWIN)
    assert "stage 2 is 2 times coarser" in sentence
    assert "those of 4 voxels would leave too few to be halved twice more" in sentence


def test_patches_of_a_transformer_are_flat_along_a_coarse_axis() -> None:
    topology = find_topology((5, 1, 1), (16, 256, 256), SWIN)
    assert topology.strides == ((1, 1, 1), (1, 4, 4), (2, 2, 2), (2, 2, 2), (1, 2, 2))


def test_a_stem_may_keep_the_width() -> None:
    topology = find_topology((1, 1), (512, 512), SWIN)
    assert bare_network(topology, SWIN).features == (96, 96, 192, 384, 768)
    doubling = replace(SWIN, stem_doubles=True)
    assert bare_network(topology, doubling).features == (96, 192, 384, 768, 1536)


def test_half_the_width_is_one_that_the_network_takes() -> None:
    assert SWIN.half_width == 64  # of 96, in heads of 32 channels
    assert constants_of(NetworkChoice.of("swin_unetr")).half_width == 32  # of 48, in heads of 16
    assert constants_of(NetworkChoice.of("plain")).half_width == 16
    assert [constants.base_features for constants in SWIN.narrower()] == [64, 32]


@pytest.mark.parametrize(
    ("network", "widths"),
    [("plain", [16, 8]), ("unet2015", [32, 16, 8]), ("vnet", [8]), ("swin_unet", [64, 32]), ("swin_unetr", [32, 16])],
)
def test_a_network_is_halved_to_eight_channels_or_to_one_head(network: str, widths: list[int]) -> None:
    assert [entry.base_features for entry in constants_of(NetworkChoice.of(network)).narrower()] == widths
