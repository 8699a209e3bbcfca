"""The gate of the Attention U-Net, and the maps of what it lets pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from autounet.networks.attention_unet import AttentionUNet, Gate
from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import Style
from autounet.networks.choice import NetworkChoice
from autounet.planners.network import network_of_strides


def small(text: str, stages: int = 4) -> AttentionUNet:
    plan = network_of_strides(NetworkChoice.of(text), ((1, 1), *((2, 2),) * (stages - 1)), base_features=4)
    torch.manual_seed(0)
    return AttentionUNet(plan, 1, 2).eval()


def test_a_gate_by_hand() -> None:
    gate = Gate(Style(2, norm="none"), 1, 1, (1, 1))
    values = {
        "of_skip.weight": 1.0,
        "of_signal.weight": 2.0,
        "of_signal.bias": 0.1,
        "psi.weight": 3.0,
        "psi.bias": -0.5,
    }
    for name, value in {**values, "transform.conv.weight": 1.0, "transform.conv.bias": 0.0}.items():
        nn.init.constant_(gate.get_parameter(name), value)
    with torch.inference_mode():
        passed, alpha = gate(torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), -0.2))
    assert float(alpha) == pytest.approx(0.5249792)
    assert float(passed) == pytest.approx(0.2624896)


def test_components_have_the_parameters_of_the_authors_code(reference: Callable[..., SegmentationNetwork]) -> None:
    network = reference("attention_unet", 3, 1, 3)
    counts = {
        name: sum(parameter.numel() for parameter in module.parameters()) for name, module in network.named_modules()
    }
    assert [counts[f"encoder.{stage}"] for stage in range(5)] == [7_440, 41_664, 166_272, 664_320, 2_655_744]
    assert [counts[f"gates.{level}"] for level in (1, 2, 3)] == [12_545, 49_665, 197_633]
    assert [counts[f"decoder.{level}"] for level in range(4)] == [27_744, 110_784, 442_752, 1_770_240]
    assert [counts[f"heads.{level}"] for level in range(4)] == [51, 99, 195, 387]
    assert (counts["gating"], counts["fuse"]) == (66_304, 39)


@pytest.mark.parametrize(("gates", "num_maps"), [(1, 2), (2, 2)])
def test_there_is_an_attention_map_of_every_skip_but_the_finest(gates: int, num_maps: int) -> None:
    network = small(f"attention_unet,gates={gates}")
    attention = network.attention(torch.randn(2, 1, 16, 24)).detach()
    assert attention.shape == (2, num_maps, 16, 24)
    assert float(attention.min()) > 0
    assert float(attention.max()) < 1


def test_a_closed_gate_lets_nothing_of_a_skip_pass() -> None:
    network = small("attention_unet,norm=none")
    for name, value in (("psi.weight", 0.0), ("psi.bias", -100.0), ("transform.conv.bias", 0.0)):
        nn.init.constant_(network.get_parameter(f"gates.2.gates.0.{name}"), value)
    seen: list[torch.Tensor] = []
    network.get_submodule("gates.2.combine").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.randn(1, 1, 16, 16))
    assert float(seen[0].detach().abs().max()) < 1e-30
