"""The blocks against PyTorch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import (
    ConvNorm,
    ConvStack,
    ConvUnit,
    Style,
    initialize_he,
)


def test_without_bias_a_convolution_with_norm_has_its_weights_and_the_norms_only() -> None:
    block = ConvNorm(Style(2), 3, 4, (1, 1), (1, 1), bias=False)
    assert sorted(name for name, _ in block.named_parameters()) == ["conv.weight", "norm.bias", "norm.weight"]
    x = torch.randn(2, 3, 5, 6)
    weight = block.get_parameter("conv.weight")
    expected = nn.InstanceNorm2d(4)(nn.functional.conv2d(x, weight))
    torch.testing.assert_close(block(x), expected)


def test_a_bias_that_the_norm_takes_away_is_kept_but_not_trained() -> None:
    torch.manual_seed(0)
    block, x = ConvNorm(Style(2), 3, 4, (3, 3), (1, 1)), torch.randn(2, 3, 5, 6)
    bias, before = block.get_parameter("conv.bias"), block(x)
    assert not bias.requires_grad and "conv.bias" in block.state_dict()
    with torch.no_grad():
        bias.add_(torch.arange(4.0))
    torch.testing.assert_close(block(x), before)


def test_unit_is_convolution_norm_and_leaky_relu() -> None:
    torch.manual_seed(0)
    unit = ConvUnit(Style(3), 2, 3, (1, 3, 3), (1, 2, 2))
    x = torch.randn(1, 2, 4, 6, 6)
    oracle = nn.Conv3d(2, 3, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    oracle.load_state_dict(unit.conv.state_dict())
    expected = nn.functional.leaky_relu(nn.InstanceNorm3d(3)(oracle(x)), 0.01)
    out = unit(x)
    assert out.shape == (1, 3, 4, 3, 3)
    torch.testing.assert_close(out, expected)


def test_stack_changes_size_and_channels_in_its_first_unit_only() -> None:
    stack = ConvStack(Style(2), 1, 4, (3, 3), (2, 2), 3)
    convolutions = [module for module in stack.modules() if isinstance(module, nn.Conv2d)]
    assert [convolution.in_channels for convolution in convolutions] == [1, 4, 4]
    assert [convolution.stride for convolution in convolutions] == [(2, 2), (1, 1), (1, 1)]


def test_weights_are_drawn_as_he_and_others() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv3d(32, 64, 3)
    convolution.apply(initialize_he)
    # Kaiming normal for a leaky ReLU of slope 0.01: variance 2 / ((1 + 0.01^2) * fan in).
    expected = (2 / (1 + 1e-4) / (32 * 27)) ** 0.5
    assert float(convolution.weight.detach().std()) == pytest.approx(expected, rel=0.02)
    assert convolution.bias is not None
    assert not convolution.bias.any()


def test_a_network_that_says_nothing_of_its_depth_gets_two_blocks_a_stage() -> None:
    assert SegmentationNetwork.default_depths(3) == ((2, 2, 2), (2, 2))
    assert SegmentationNetwork.default_depths(1) == ((2,), ())
