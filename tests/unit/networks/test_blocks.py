"""The blocks against PyTorch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autounet.networks.blocks import (
    ConvNorm,
    ConvStack,
    ConvUnit,
    InstanceNorm,
    SegmentationNetwork,
    initialize_he,
)


@pytest.mark.parametrize(("shape", "oracle"), [((2, 5, 4, 6, 3), nn.InstanceNorm3d), ((3, 5, 8, 6), nn.InstanceNorm2d)])
def test_instance_norm_is_pytorchs_forward_and_backward(shape: tuple[int, ...], oracle: type[nn.Module]) -> None:
    torch.manual_seed(0)
    ours, theirs = InstanceNorm(5), oracle(5, affine=True)
    with torch.no_grad():
        ours.weight.normal_()
        ours.bias.normal_()
        theirs.load_state_dict(ours.state_dict())
    x = (torch.randn(shape) * 3 + 7).requires_grad_()
    y = x.detach().clone().requires_grad_()
    pull = torch.randn(shape)
    ours_out, theirs_out = ours(x), theirs(y)
    torch.testing.assert_close(ours_out, theirs_out)
    (ours_out * pull).sum().backward()
    (theirs_out * pull).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-5)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(getattr(ours, name).grad, parameter.grad, rtol=1e-4, atol=1e-4)


def test_instance_norm_takes_channels_last_too() -> None:
    norm, x = InstanceNorm(4), torch.randn(2, 4, 4, 4, 4)
    torch.testing.assert_close(norm(x.to(memory_format=torch.channels_last_3d)), norm(x))


def test_instance_norm_by_hand() -> None:
    # Mean 2 and variance 1 (population): (x - 2) / sqrt(1 + 1e-5).
    out = InstanceNorm(1)(torch.tensor([[[[1.0, 3.0]]]]))
    torch.testing.assert_close(out, torch.tensor([[[[-1.0, 1.0]]]]) / (1 + 1e-5) ** 0.5)


def test_on_the_meta_device_instance_norm_keeps_for_the_backward_pass_what_it_keeps_on_a_cpu() -> None:
    def kept(device: str) -> list[torch.Size]:
        norm = InstanceNorm(4).to(device)
        x = torch.zeros(2, 4, 6, 6, 6, device=device, requires_grad=True)
        shapes: list[torch.Size] = []

        def note(tensor: torch.Tensor) -> torch.Tensor:
            shapes.append(tensor.shape)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            norm(x)
        return shapes

    assert kept("meta") == kept("cpu")


def test_without_bias_a_convolution_with_norm_has_its_weights_and_the_norms_only() -> None:
    block = ConvNorm(2, 3, 4, (1, 1), (1, 1), bias=False)
    assert sorted(name for name, _ in block.named_parameters()) == ["conv.weight", "norm.bias", "norm.weight"]
    x = torch.randn(2, 3, 5, 6)
    weight = block.get_parameter("conv.weight")
    expected = nn.InstanceNorm2d(4)(nn.functional.conv2d(x, weight))
    torch.testing.assert_close(block(x), expected)


def test_unit_is_convolution_norm_and_leaky_relu() -> None:
    torch.manual_seed(0)
    unit = ConvUnit(3, 2, 3, (1, 3, 3), (1, 2, 2))
    x = torch.randn(1, 2, 4, 6, 6)
    oracle = nn.Conv3d(2, 3, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    oracle.load_state_dict(unit.conv.state_dict())
    expected = nn.functional.leaky_relu(nn.InstanceNorm3d(3)(oracle(x)), 0.01)
    out = unit(x)
    assert out.shape == (1, 3, 4, 3, 3)
    torch.testing.assert_close(out, expected)


def test_stack_changes_size_and_channels_in_its_first_unit_only() -> None:
    stack = ConvStack(2, 1, 4, (3, 3), (2, 2), 3)
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
