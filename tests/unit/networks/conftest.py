"""Networks as their papers have them, on the meta device: large ones take no memory there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork
from autounet.networks.choice import NetworkChoice
from autounet.planners.network import reference_network

BuildReference = Callable[..., SegmentationNetwork]


@pytest.fixture(scope="session")
def reference() -> BuildReference:
    """Builds a network `NAME,key=value,...` of its paper's size."""

    def build(text: str, dims: int, in_channels: int, num_outputs: int) -> SegmentationNetwork:
        choice = NetworkChoice.of(text)
        with torch.device("meta"):
            return NETWORKS[choice.name](reference_network(choice, dims), in_channels, num_outputs)

    return build
