"""UNet++: pruning, and what its heads say together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from autounet.errors import RequestError
from autounet.networks.base import SegmentationNetwork
from autounet.networks.choice import NetworkChoice
from autounet.networks.unetpp import UNetPlusPlus
from autounet.planners.network import network_of_strides


def small(text: str = "unetpp") -> UNetPlusPlus:
    plan = network_of_strides(NetworkChoice.of(text), ((1, 1), (2, 2), (2, 2), (2, 2)), base_features=4)
    torch.manual_seed(0)
    return UNetPlusPlus(plan, 1, 2)


@pytest.mark.parametrize(("depth", "published"), [(1, 100_961), (2, 511_105), (3, 2_204_961), (4, 9_041_601)])
def test_a_pruned_network_has_the_parameters_that_were_published(
    reference: Callable[..., SegmentationNetwork], depth: int, published: int
) -> None:
    network = reference("unetpp", 2, 1, 1)
    network.prune(depth)
    assert sum(parameter.numel() for parameter in network.parameters()) == published


def test_a_pruned_network_says_what_that_head_said() -> None:
    image = torch.randn(1, 1, 32, 32)
    whole = small()
    whole.deep_supervision = True
    outputs = whole(image)
    for depth in (1, 2, 3):
        pruned = small()
        pruned.prune(depth)
        (said,) = pruned(image)
        torch.testing.assert_close(said, outputs[3 - depth])


def test_the_whole_network_says_the_mean_of_its_heads() -> None:
    network = small()
    image = torch.randn(1, 1, 32, 32)
    (said,) = network(image)
    network.deep_supervision = True
    outputs = network(image)
    assert len(outputs) == 3
    torch.testing.assert_close(said, sum(outputs[1:], outputs[0]) / 3)


def test_a_node_sees_all_nodes_before_it_and_the_one_below() -> None:
    network = small()
    inputs = {
        name.split(".")[1]: value.shape[1]
        for name, value in network.named_parameters()
        if name.startswith("nodes.") and name.endswith(".0.conv.weight")
    }
    # Of 4, 8, 16 and 32 features: as many as columns before it, and once more from below.
    assert (inputs["0_1"], inputs["0_2"], inputs["0_3"], inputs["1_2"]) == (8, 12, 16, 24)


@pytest.mark.parametrize(("text", "depth"), [("unetpp", 0), ("unetpp", 4), ("unetpp,heads=last", 1)])
def test_there_is_no_pruning_to_a_depth_without_a_head(text: str, depth: int) -> None:
    with pytest.raises(RequestError, match="give one of them"):
        small(text).prune(depth)


def test_other_networks_cannot_be_pruned(reference: Callable[..., SegmentationNetwork]) -> None:
    with pytest.raises(RequestError, match=r"'vnet' cannot be pruned.*unetpp"):
        reference("vnet", 3, 1, 2).prune(1)
