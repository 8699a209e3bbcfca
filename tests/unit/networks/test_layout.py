"""Which layout is chosen, and that it changes nothing but the time."""

from __future__ import annotations

import pytest
import torch

from autounet.network_plan import NetworkPlan
from autounet.networks.layout import fast_layout, set_layout
from autounet.networks.plain import PlainUNet

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("features", "patch", "batch", "device", "dtype", "expected"),
    [
        (32, (40, 56, 40), 8, "cpu", torch.float32, torch.channels_last_3d),  # 92 MB
        (32, (40, 56, 40), 2, "cpu", torch.float32, torch.contiguous_format),  # 23 MB
        (32, (512, 512), 12, "cpu", torch.float32, torch.channels_last),
        (32, (40, 56, 40), 8, "cpu", torch.bfloat16, torch.contiguous_format),
        (32, (40, 56, 40), 8, "meta", torch.float32, torch.contiguous_format),
    ],
)
def test_large_maps_on_a_cpu_are_channels_last(
    features: int, patch: tuple[int, ...], batch: int, device: str, dtype: torch.dtype, expected: torch.memory_format
) -> None:
    assert fast_layout(features, patch, batch, torch.device(device), dtype) == expected


def test_a_network_gives_the_same_in_both_layouts_and_can_go_back() -> None:
    torch.manual_seed(0)
    plan = NetworkPlan(
        name="plain",
        features=(4, 8),
        kernel_sizes=((3, 3, 3),) * 2,
        strides=((1, 1, 1), (2, 2, 2)),
        num_convs_encoder=(2, 2),
        num_convs_decoder=(2,),
    )
    network, image = PlainUNet(plan, 1, 3), torch.randn(2, 1, 8, 8, 8)
    losses, gradients = [], []
    for layout in (torch.contiguous_format, torch.channels_last_3d, torch.contiguous_format):
        set_layout(network, layout)
        network.zero_grad()
        output = network(image)[0]
        loss = output.square().mean()
        loss.backward()
        losses.append(loss.detach())
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])  # type: ignore[union-attr]
        kernels = [parameter for parameter in network.parameters() if parameter.ndim == 5]
        assert all(kernel.is_contiguous(memory_format=layout) for kernel in kernels)
    torch.testing.assert_close(losses[1], losses[0])
    assert losses[2] == losses[0]
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
