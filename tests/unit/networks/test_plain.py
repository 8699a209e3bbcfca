"""nnU-Net's plain U-Net, counted."""

from __future__ import annotations

import pytest
import torch

from autounet.networks.plain import PlainUNet
from autounet.plans import NetworkPlan


def nnunet_plan(dims: int, features: tuple[int, ...], num_stages: int) -> NetworkPlan:
    return NetworkPlan(
        name="plain",
        features=features,
        kernel_sizes=((3,) * dims,) * num_stages,
        strides=((1,) * dims, *((2,) * dims,) * (num_stages - 1)),
        num_convs_encoder=(2,) * num_stages,
        num_convs_decoder=(2,) * (num_stages - 1),
    )


def count(dims: int, features: tuple[int, ...], num_outputs: int) -> int:
    with torch.device("meta"):
        network = PlainUNet(nnunet_plan(dims, features, len(features)), 1, num_outputs)
    return sum(parameter.numel() for parameter in network.parameters())


def test_nnunets_default_3d_network_has_31_2_million_parameters() -> None:
    assert count(3, (32, 64, 128, 256, 320, 320), 2) == 31_195_594


@pytest.mark.parametrize(("dims", "num_outputs"), [(2, 2), (3, 4)])
def test_parameters_are_those_of_the_layer_list(dims: int, num_outputs: int) -> None:
    kernel: int = 3**dims

    def unit(in_channels: int, out_channels: int) -> int:
        return in_channels * out_channels * kernel + out_channels + 2 * out_channels

    encoder = unit(1, 4) + unit(4, 4) + unit(4, 8) + unit(8, 8)
    up = 8 * 4 * 2**dims + 4
    decoder = unit(8, 4) + unit(4, 4)
    head = 4 * num_outputs + num_outputs
    assert count(dims, (4, 8), num_outputs) == encoder + up + decoder + head


def test_output_strides_are_the_cumulative_strides_without_the_bottleneck() -> None:
    plan = NetworkPlan(
        name="plain",
        features=(4, 4, 4, 4),
        kernel_sizes=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 3, 2)),
        num_convs_encoder=(1, 1, 1, 1),
        num_convs_decoder=(1, 1, 1),
    )
    network = PlainUNet(plan, 1, 2)
    assert network.output_strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    assert network.divisor == (4, 12, 8)
    network.deep_supervision = True
    sizes = [output.shape[2:] for output in network(torch.zeros(1, 1, 8, 24, 16))]
    assert sizes == [(8, 24, 16), (8, 12, 8), (4, 6, 4)]


def test_convolutions_are_listed_the_finest_stage_first_in_the_decoder_too() -> None:
    plan = nnunet_plan(2, (2, 2, 2), 3).model_copy(update={"num_convs_encoder": (1, 2, 3), "num_convs_decoder": (4, 1)})
    network = PlainUNet(plan, 1, 2)
    assert [sum(1 for _ in stage.children()) for stage in network.encoder] == [1, 2, 3]
    assert [sum(1 for _ in stage.children()) for stage in network.decoder] == [4, 1]
