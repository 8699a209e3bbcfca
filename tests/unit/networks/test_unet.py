"""The decoder and the wiring, with encoders that are nothing but strided means."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autounet.network_plan import NetworkPlan
from autounet.networks.blocks import Style
from autounet.networks.unet import UNet

STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 3, 2))


def unet(num_convs_decoder: tuple[int, ...] = (1, 1, 1)) -> UNet:
    plan = NetworkPlan(
        name="none",
        features=(4, 4, 4, 4),
        kernel_sizes=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=STRIDES,
        num_convs_encoder=(1, 1, 1, 1),
        num_convs_decoder=num_convs_decoder,
    )
    torch.manual_seed(0)
    return UNet(plan, (nn.AvgPool3d(stride) for stride in STRIDES), 2, Style(3))


def test_output_strides_are_the_cumulative_strides_without_the_bottleneck() -> None:
    network = unet()
    assert network.output_strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    assert network.divisor == (4, 12, 8)
    network.deep_supervision = True
    sizes = [output.shape[2:] for output in network(torch.zeros(1, 4, 8, 24, 16))]
    assert sizes == [(8, 24, 16), (8, 12, 8), (4, 6, 4)]


def test_convolutions_of_the_decoder_are_listed_the_finest_stage_first() -> None:
    assert [sum(1 for _ in stage.children()) for stage in unet((4, 1, 2)).decoder] == [4, 1, 2]


def test_each_decoder_stage_reads_the_map_from_below_first_and_then_the_skip_of_its_resolution() -> None:
    network = unet()
    network.deep_supervision = True
    x = torch.randn(1, 4, 8, 24, 16)
    inputs: dict[int, Tensor] = {}
    for level, stage in enumerate(network.decoder):
        stage.get_submodule("0.conv").register_forward_pre_hook(
            lambda _, args, level=level: inputs.update({level: args[0]})
        )
    network(x)
    # A mean of equal windows of means is the mean over the larger window.
    for level, window in enumerate(network.output_strides):
        torch.testing.assert_close(inputs[level][:, 4:], nn.functional.avg_pool3d(x, window))
    bottleneck = nn.functional.avg_pool3d(x, network.divisor)
    torch.testing.assert_close(inputs[2][:, :4], network.up[2](bottleneck))
