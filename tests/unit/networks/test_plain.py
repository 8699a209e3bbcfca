"""nnU-Net's plain U-Net, counted."""

from __future__ import annotations

import pytest
import torch

from autounet.network_plan import NetworkPlan
from autounet.networks.plain import PlainUNet


def nnunet_plan(dims: int, features: tuple[int, ...]) -> NetworkPlan:
    num_stages = len(features)
    return NetworkPlan(
        name="plain",
        features=features,
        kernel_sizes=((3,) * dims,) * num_stages,
        strides=((1,) * dims, *((2,) * dims,) * (num_stages - 1)),
        num_convs_encoder=(2,) * num_stages,
        num_convs_decoder=(2,) * (num_stages - 1),
    )


def count(dims: int, features: tuple[int, ...], num_outputs: int, in_channels: int = 1) -> int:
    with torch.device("meta"):
        network = PlainUNet(nnunet_plan(dims, features), in_channels, num_outputs)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("dims", "num_stages", "in_channels", "num_outputs", "expected"),
    [
        (3, 5, 1, 2, 16_547_592),
        (3, 6, 1, 2, 31_195_594),
        (3, 7, 1, 2, 45_843_596),
        (3, 6, 4, 4, 31_199_796),
        (2, 7, 1, 2, 33_471_820),
        (2, 8, 1, 2, 46_324_558),
    ],
)
def test_parameters_are_those_of_nnunets_networks(
    dims: int, num_stages: int, in_channels: int, num_outputs: int, expected: int
) -> None:
    # Counted on dynamic-network-architectures' `PlainConvUNet` with 32 features, doubled up to 320 in 3D, 512 in 2D.
    features = tuple(min(32 * 2**stage, {2: 512, 3: 320}[dims]) for stage in range(num_stages))
    assert count(dims, features, num_outputs, in_channels) == expected


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


def test_each_encoder_stage_has_as_many_convolutions_as_planned() -> None:
    plan = nnunet_plan(2, (2, 2, 2)).model_copy(update={"num_convs_encoder": (1, 2, 3)})
    assert [sum(1 for _ in stage.children()) for stage in PlainUNet(plan, 1, 2).encoder] == [1, 2, 3]


def test_planned_it_gets_two_convolutions_a_stage() -> None:
    assert PlainUNet.default_depths(4) == ((2, 2, 2, 2), (2, 2, 2))
