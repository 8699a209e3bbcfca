"""V-Net's receptive fields and residual stages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from autounet.networks.base import SegmentationNetwork
from autounet.networks.blocks import Style
from autounet.networks.vnet import ResidualStage

# Table 1 of the paper, and what the released network has.
FIELDS = {
    "paper": [5, 22, 72, 172, 372, 476, 528, 546, 551],
    "released": [5, 14, 48, 148, 348, 452, 488, 498, 503],
}


@pytest.mark.parametrize("variant", FIELDS)
def test_receptive_fields_are_those_of_the_table(reference: Callable[..., SegmentationNetwork], variant: str) -> None:
    network = reference(f"vnet,variant={variant}", 3, 1, 2)
    field, jump = 1, 1
    fields: list[int] = []

    def widen(module: nn.Module, *_: object) -> None:
        nonlocal field, jump
        if isinstance(module, nn.ConvTranspose3d):
            jump //= 2
            field += jump
        elif isinstance(module, nn.Conv3d):
            field += (module.kernel_size[0] - 1) * jump
            jump *= module.stride[0]

    def note(*_: object) -> None:
        fields.append(field)

    for module in network.modules():
        module.register_forward_hook(note if isinstance(module, ResidualStage) else widen)
    network(torch.empty(1, 1, 32, 32, 32, device="meta"))
    assert fields == FIELDS[variant]


def test_a_stage_adds_its_input_before_the_last_activation() -> None:
    torch.manual_seed(0)
    stage = ResidualStage(Style(2, norm="none", activation="prelu"), 2, 6, (3, 3), 2)
    x = torch.randn(1, 2, 5, 5)

    def convolved(name: str, values: Tensor) -> Tensor:
        weight, bias = stage.get_parameter(f"{name}.weight"), stage.get_parameter(f"{name}.bias")
        return nn.functional.conv2d(values, weight, bias, padding=1)

    def activated(values: Tensor) -> Tensor:
        return torch.where(values > 0, values, 0.25 * values)

    inner = activated(convolved("units.0.conv", x))
    expected = activated(convolved("last.conv", inner) + torch.cat([x, x, x], dim=1))
    torch.testing.assert_close(stage(x), expected)
