"""Which layout is chosen, and that it changes nothing but the time."""

from __future__ import annotations

import pytest
import torch

from autounet.networks.blocks import ConvUnit, Style
from autounet.networks.choice import NetworkChoice
from autounet.networks.layout import fast_layout, set_layout
from autounet.networks.plain import PlainUNet
from autounet.planners.network import network_of_strides

CPU = torch.device("cpu")


def network_of(dims: int = 3, norm: str = "instance") -> PlainUNet:
    choice = NetworkChoice.of(f"plain,norm={norm}")
    plan = network_of_strides(choice, ((1,) * dims, (2,) * dims), base_features=4, flat_stages=False)
    return PlainUNet(plan, 1, 3)


@pytest.mark.parametrize(
    ("dims", "norm", "device", "dtype", "expected"),
    [
        (3, "instance", "cpu", torch.float32, torch.channels_last_3d),
        (2, "instance", "cpu", torch.float32, torch.channels_last),
        (3, "instance", "cpu", torch.bfloat16, torch.channels_last_3d),
        (3, "batch", "cpu", torch.bfloat16, torch.channels_last_3d),
        (3, "group", "cpu", torch.float32, torch.channels_last_3d),
        (3, "group", "cpu", torch.bfloat16, torch.contiguous_format),
        (3, "instance", "cpu", torch.float16, torch.contiguous_format),
        (3, "instance", "meta", torch.float32, torch.contiguous_format),
    ],
)
def test_a_cpu_computes_channels_last_where_its_kernels_are_fast(
    dims: int, norm: str, device: str, dtype: torch.dtype, expected: torch.memory_format
) -> None:
    assert fast_layout(network_of(dims, norm), torch.device(device), dtype) == expected


@pytest.mark.parametrize("in_channels", [1, 2])
def test_the_first_maps_are_channels_last_too_whatever_the_image(in_channels: int) -> None:
    unit = ConvUnit(Style(3), in_channels, 4, (3, 3, 3), (1, 1, 1))
    set_layout(unit, torch.channels_last_3d)
    output = unit(torch.randn(2, in_channels, 4, 6, 8))
    assert output.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_network_gives_the_same_in_both_layouts_and_can_go_back() -> None:
    torch.manual_seed(0)
    network, image = network_of(), torch.randn(2, 1, 8, 8, 8)
    losses, gradients = [], []
    for layout in (torch.contiguous_format, torch.channels_last_3d, torch.contiguous_format):
        set_layout(network, layout)
        network.zero_grad()
        output = network(image)[0]
        loss = output.square().mean()
        loss.backward()
        losses.append(loss.detach())
        gradients.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
        kernels = [parameter for parameter in network.parameters() if parameter.ndim == 5]
        assert all(kernel.is_contiguous(memory_format=layout) for kernel in kernels)
    torch.testing.assert_close(losses[1], losses[0])
    assert losses[2] == losses[0]
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
