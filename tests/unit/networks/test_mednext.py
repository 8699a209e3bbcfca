"""MedNeXt's blocks written out, its sizes, and deep supervision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.errors import RequestError
from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import Style
from autounet.networks.choice import NetworkChoice
from autounet.networks.mednext import SIZES, MedNeXt, MedNeXtBlock, UpBlock
from autounet.planners.network import reference_network

STYLE = Style(2, "instance", "gelu")
# Blocks of the nine stages from the image to the logits, and how many times wider they are inside.
TABLE = {
    "S": ((2,) * 9, (2,) * 9),
    "B": ((2,) * 9, (2, 3, 4, 4, 4, 4, 4, 3, 2)),
    "M": ((3, 4, 4, 4, 4, 4, 4, 4, 3), (2, 3, 4, 4, 4, 4, 4, 3, 2)),
    "L": ((3, 4, 8, 8, 8, 8, 8, 4, 3), (3, 4, 8, 8, 8, 8, 8, 4, 3)),
}


def random_block(block: MedNeXtBlock) -> MedNeXtBlock:
    torch.manual_seed(0)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    return block.double()


def inside(block: MedNeXtBlock, depthwise: Tensor) -> Tensor:
    """What follows the depthwise convolution, from PyTorch's functions."""
    normalized = F.instance_norm(
        depthwise, weight=block.get_parameter("norm.weight"), bias=block.get_parameter("norm.bias")
    )
    expanded = F.conv2d(normalized, block.get_parameter("expand.weight"), block.get_parameter("expand.bias"))
    return F.conv2d(F.gelu(expanded), block.get_parameter("compress.weight"), block.get_parameter("compress.bias"))


@pytest.mark.parametrize("edge", [3, 5])
def test_a_block_is_its_formula(edge: int) -> None:
    block = random_block(MedNeXtBlock(STYLE, 3, 3, (edge, edge), (1, 1), 2))
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    weight, bias = block.get_parameter("depthwise.weight"), block.get_parameter("depthwise.bias")
    # Depthwise: every channel by itself.
    convolved = torch.cat([F.conv2d(x[:, [at]], weight[[at]], bias[[at]], padding=edge // 2) for at in range(3)], dim=1)
    torch.testing.assert_close(block(x), x + inside(block, convolved))


def test_a_block_that_goes_down_halves_the_map_and_projects_its_skip() -> None:
    block = random_block(MedNeXtBlock(STYLE, 2, 4, (3, 3), (2, 2), 3))
    x = torch.randn(1, 2, 8, 6, dtype=torch.float64)
    weight, bias = block.get_parameter("depthwise.weight"), block.get_parameter("depthwise.bias")
    strided = F.conv2d(x, weight, bias, padding=1, groups=2)[..., ::2, ::2]
    skip = F.conv2d(x[..., ::2, ::2], block.get_parameter("skip.weight"), block.get_parameter("skip.bias"))
    torch.testing.assert_close(block(x), inside(block, strided) + skip)
    assert block.get_parameter("expand.weight").shape[0] == 6


@pytest.mark.parametrize("edge", [3, 5])
def test_a_block_that_goes_up_leaves_the_first_row_and_column_empty(edge: int) -> None:
    block = random_block(UpBlock(STYLE, 4, 2, (edge, edge), (2, 2), 3))
    x = torch.randn(1, 4, 3, 5, dtype=torch.float64)
    # A transposed convolution is a convolution of a map with zeros between its voxels, by the kernel turned around.
    spread = torch.zeros(1, 4, 5, 9, dtype=torch.float64)
    spread[..., ::2, ::2] = x
    weight, bias = block.get_parameter("depthwise.weight"), block.get_parameter("depthwise.bias")
    convolved = F.conv2d(spread, weight.flip(2, 3), bias, padding=edge // 2, groups=4)
    skip = F.conv2d(spread, block.get_parameter("skip.weight").transpose(0, 1), block.get_parameter("skip.bias"))
    expected = torch.zeros(1, 2, 6, 10, dtype=torch.float64)
    expected[..., 1:, 1:] = inside(block, convolved) + skip
    torch.testing.assert_close(block(x), expected)


def test_going_up_along_some_axes_only_adds_nothing_along_the_others() -> None:
    block = UpBlock(Style(3, "instance", "gelu"), 4, 2, (1, 3, 3), (1, 2, 2), 2)
    raised = block(torch.randn(1, 4, 3, 4, 5))
    assert raised.shape == (1, 2, 3, 8, 10)
    assert not raised[:, :, :, 0].any()
    assert raised[:, :, 0, 1:, 1:].all()


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_those_of_the_papers_table(size: str) -> None:
    plan = reference_network(NetworkChoice.of(f"mednext,size={size}"), 3)
    with torch.device("meta"):
        network = MedNeXt(plan, 1, 3)
    stages = [*network.encoder, *reversed(network.decoder)]
    depths = tuple(sum(1 for _ in stage.children()) for stage in stages)
    ratios = tuple(
        stage.get_parameter("0.expand.weight").shape[0] // stage.get_parameter("0.expand.weight").shape[1]
        for stage in stages
    )
    assert (depths, ratios) == TABLE[size]
    assert plan.features == (32, 64, 128, 256, 512)


def test_skips_are_added() -> None:
    plan = reference_network(NetworkChoice.of("mednext"), 2).model_copy(update={"features": (2, 4, 6, 8, 10)})
    network = MedNeXt(plan, 1, 2)
    seen: list[Tensor] = []
    network.decoder[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network.up[0].register_forward_hook(lambda *given: torch.zeros_like(given[-1]))
    x = torch.randn(1, 1, 32, 32)
    network(x)
    assert torch.equal(seen[0], network.encoder[0](network.stem(x)))


def test_all_stages_of_the_decoder_and_the_bottleneck_have_heads(
    reference: Callable[..., SegmentationNetwork],
) -> None:
    network = reference("mednext", 3, 1, 3)
    network.deep_supervision = True
    outputs = network(torch.empty(1, 1, 64, 64, 64, device="meta"))
    assert [tuple(output.shape[1:3]) for output in outputs] == [(3, 64), (3, 32), (3, 16), (3, 8), (3, 4)]
    assert [stride[0] for stride in network.output_strides] == [1, 2, 4, 8, 16]
    assert len(reference("mednext,heads=last", 3, 1, 3).output_strides) == 1


def test_kernels_are_planned_as_asked_for() -> None:
    assert reference_network(NetworkChoice.of("mednext,kernel=5"), 3).kernel_sizes == ((5, 5, 5),) * 5
    with pytest.raises(RequestError, match="kernel must be odd"):
        NetworkChoice.of("mednext,kernel=4")
