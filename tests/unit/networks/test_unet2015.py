"""The U-Net of 2015: its crops, its weights, its dropout, and that a tile's place in the image leaves no trace."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from autounet.networks import NETWORKS, blocks, cropped
from autounet.networks.base import SegmentationNetwork
from autounet.networks.choice import NetworkChoice
from autounet.planners.network import network_of_strides


def small(stages: int = 3) -> SegmentationNetwork:
    plan = network_of_strides(NetworkChoice.of("unet2015"), ((1, 1), *((2, 2),) * (stages - 1)), base_features=4)
    torch.manual_seed(0)
    return NETWORKS["unet2015"](plan, 1, 2)


def test_skips_are_cropped_by_4_16_40_and_88(
    reference: Callable[..., SegmentationNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = []
    crop = blocks.centre_crop

    def watched(x: Tensor, size: tuple[int, ...]) -> Tensor:
        crops.append((x.shape[-1] - size[-1]) // 2)
        return crop(x, size)

    monkeypatch.setattr(cropped, "centre_crop", watched)
    reference("unet2015", 2, 1, 2)(torch.empty(1, 1, 572, 572, device="meta"))
    assert crops == [4, 16, 40, 88]


def test_weights_are_drawn_by_the_number_of_incoming_connections() -> None:
    torch.manual_seed(0)
    network = NETWORKS["unet2015"](
        network_of_strides(NetworkChoice.of("unet2015"), ((1, 1), (2, 2)), base_features=64), 1, 2
    )
    # 3x3 on 64 channels: 576 connections. A 2x2 transposed convolution of stride 2 on 128: one voxel, so 128.
    second = network.get_parameter("encoder.0.1.conv.weight")
    assert float(second.detach().std()) == pytest.approx(0.0589256, rel=0.02)
    up = network.get_parameter("up.0.weight")
    assert float(up.detach().std()) == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    biases = [value for name, value in network.named_parameters() if name.endswith("bias")]
    assert biases
    assert not any(bias.any() for bias in biases)


def test_half_of_the_values_are_dropped_at_the_end_of_the_contracting_path_in_training_only() -> None:
    network = small()
    places = []
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _, inputs, out: places.append((inputs[0], out)))
    network(torch.randn(1, 1, 76, 76))
    assert [inputs.shape[1] for inputs, _ in places] == [8, 16]  # the two coarsest of 4, 8 and 16 features
    inputs, out = places[0]
    assert float((out[inputs > 0] == 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    places.clear()
    network.eval()(torch.randn(1, 1, 76, 76))
    assert all(torch.equal(inputs, out) for inputs, out in places)


def test_a_voxel_does_not_depend_on_where_the_tile_was_cut() -> None:
    network = small().eval()
    image = torch.randn(1, 1, 156, 156)
    with torch.inference_mode():
        (whole,) = network(image)
        (part,) = network(image[:, :, 8:100, 24:116])
    torch.testing.assert_close(part, whole[:, :, 8 : 8 + part.shape[2], 24 : 24 + part.shape[3]])


def test_its_layers_are_those_of_the_figure(reference: Callable[..., SegmentationNetwork]) -> None:
    modules = list(reference("unet2015", 2, 1, 2).modules())
    convolutions = [module for module in modules if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(convolutions) == 23
    assert sum(module.kernel_size == (3, 3) and module.padding == (0, 0) for module in convolutions) == 18
    assert sum(isinstance(module, nn.MaxPool2d) for module in modules) == 4
