"""nnU-Net's residual encoder, counted and written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.network_plan import NetworkPlan
from autounet.networks.blocks import Style
from autounet.networks.residual import ResidualBlock, ResidualEncoderUNet, ResidualStack


def nnunet_plan(dims: int, features: tuple[int, ...], blocks: tuple[int, ...]) -> NetworkPlan:
    return NetworkPlan(
        name="resenc",
        features=features,
        kernel_sizes=((3,) * dims,) * len(features),
        strides=((1,) * dims, *((2,) * dims,) * (len(features) - 1)),
        num_convs_encoder=blocks,
        num_convs_decoder=(1,) * (len(features) - 1),
    )


def count(plan: NetworkPlan, in_channels: int, num_outputs: int) -> int:
    with torch.device("meta"):
        network = ResidualEncoderUNet(plan, in_channels, num_outputs)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("blocks", "in_channels", "num_outputs", "expected"),
    [
        ((1, 3, 4, 6, 6, 6), 1, 2, 102_349_770),
        ((1, 3, 4, 6, 6, 6, 6), 1, 2, 141_889_612),
        ((1, 3, 4, 6, 6, 6), 4, 4, 102_353_972),
    ],
)
def test_parameters_are_those_of_nnunets_networks(
    blocks: tuple[int, ...], in_channels: int, num_outputs: int, expected: int
) -> None:
    # Counted on dynamic-network-architectures' `ResidualEncoderUNet`.
    features = (32, 64, 128, 256, 320, 320, 320)[: len(blocks)]
    assert count(nnunet_plan(3, features, blocks), in_channels, num_outputs) == expected


def test_parameters_are_those_of_the_layer_list_in_2d() -> None:
    def unit(in_channels: int, out_channels: int) -> int:
        return in_channels * out_channels * 9 + out_channels + 2 * out_channels

    def block(in_channels: int, out_channels: int) -> int:
        projection = 0 if in_channels == out_channels else in_channels * out_channels + 2 * out_channels
        return unit(in_channels, out_channels) + unit(out_channels, out_channels) + projection

    stem = unit(3, 4)
    encoder = block(4, 4) + block(4, 8) + block(8, 8)
    up = 8 * 4 * 4 + 4
    decoder = unit(8, 4)
    head = 4 * 2 + 2
    assert count(nnunet_plan(2, (4, 8), (1, 2)), 3, 2) == stem + encoder + up + decoder + head


@pytest.mark.parametrize("num_stages", [1, 2, 4, 6, 8])
def test_planned_it_gets_nnunets_blocks(num_stages: int) -> None:
    encoder, decoder = ResidualEncoderUNet.default_depths(num_stages)
    assert encoder == (1, 3, 4, 6, 6, 6, 6, 6)[:num_stages]
    assert decoder == (1,) * (num_stages - 1)


def written_out(block: ResidualBlock, x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """The block from PyTorch's functions, on the block's parameters in the order in which they are listed."""
    weights = list(block.parameters())
    kernel, second_kernel = weights[0], weights[4]
    y = F.conv3d(x, kernel, weights[1], stride, tuple(size // 2 for size in kernel.shape[2:]))
    y = F.leaky_relu(F.instance_norm(y, weight=weights[2], bias=weights[3]), 0.01)
    y = F.conv3d(y, second_kernel, weights[5], 1, tuple(size // 2 for size in second_kernel.shape[2:]))
    y = F.instance_norm(y, weight=weights[6], bias=weights[7])
    # The mean of each window: fold every axis into (windows, stride).
    batch, channels, *size = x.shape
    folded = [part for edge, step in zip(size, stride, strict=True) for part in (edge // step, step)]
    skip = x.reshape(batch, channels, *folded).mean(dim=(3, 5, 7))
    if len(weights) > 8:
        skip = F.instance_norm(F.conv3d(skip, weights[8]), weight=weights[9], bias=weights[10])
    return F.leaky_relu(y + skip, 0.01)


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("out_channels", [3, 5])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 3)])
def test_block_is_its_formula(stride: tuple[int, int, int], out_channels: int, kernel: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(Style(3), 3, out_channels, kernel, stride).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    assert sum(1 for _ in block.parameters()) == (8 if out_channels == 3 else 11)
    x = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(block(x), written_out(block, x, stride))


def test_new_block_passes_on_its_skip_alone() -> None:
    block = ResidualBlock(Style(2), 1, 1, (3, 3), (2, 2))
    x = torch.tensor([[[[1.0, 3.0, -4.0, 0.0], [5.0, 7.0, 0.0, -4.0]]]])
    torch.testing.assert_close(block(x), torch.tensor([[[[4.0, -0.02]]]]))


def test_new_networks_blocks_start_with_a_norm_of_zero() -> None:
    network = ResidualEncoderUNet(nnunet_plan(2, (2, 4), (1, 2)), 1, 2)
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 3
    for block in blocks:
        assert not block.get_parameter("second.norm.weight").any()
        assert block.get_parameter("first.norm.weight").all()


def test_block_leaves_its_input_as_it_is() -> None:
    x = torch.randn(1, 2, 4, 4)
    before = x.clone()
    ResidualBlock(Style(2), 2, 2, (3, 3), (1, 1))(x)
    assert torch.equal(x, before)


def test_stack_changes_size_and_channels_in_its_first_block_only() -> None:
    stack = ResidualStack(Style(2), 1, 4, (3, 3), (2, 2), 3)
    assert [len(list(block.get_submodule("skip").children())) for block in stack] == [2, 0, 0]
    assert stack(torch.randn(1, 1, 8, 6)).shape == (1, 4, 4, 3)


def test_stem_keeps_the_size_and_each_stage_has_as_many_blocks_as_planned() -> None:
    plan = nnunet_plan(2, (2, 3, 4), (2, 1, 3))
    network = ResidualEncoderUNet(plan, 5, 2)
    stem, first = network.encoder[0].children()
    assert stem(torch.randn(1, 5, 8, 8)).shape == (1, 2, 8, 8)
    assert [sum(1 for _ in stage.children()) for stage in (first, *network.encoder[1:])] == [2, 1, 3]
