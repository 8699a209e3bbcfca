"""What Swin networks are made of, written out; shapes of their papers' figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.errors import RequestError
from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.networks.choice import NetworkChoice
from autounet.networks.swin import DropPath, PatchMerging, SwinBlock, SwinOptions, rising_drop_paths
from autounet.networks.swin_unet import PatchExpanding, SwinUNet
from autounet.networks.swin_unetr import SwinUNETR
from autounet.planners.network import network_of_strides, reference_network


def swin_plan(name: str, *, window: tuple[int, ...] = (2,), **changes: object) -> NetworkPlan:
    strides = ((1, 1), (2, 2), (2, 2), (2, 2))
    plan = network_of_strides(NetworkChoice(name=name, options=(("window", window),)), strides, base_features=32)
    return plan.model_copy(update=changes)


@pytest.mark.parametrize("heads", [3, 6])
def test_parameters_of_a_block_are_those_of_the_formula(heads: int) -> None:
    block = SwinBlock(96, heads, (7, 7), shifted=True)
    assert sum(parameter.numel() for parameter in block.parameters()) == 12 * 96**2 + 13 * 96 + 169 * heads


def test_a_block_is_attention_and_a_perceptron_each_after_a_norm_with_a_skip_around() -> None:
    torch.manual_seed(0)
    block = SwinBlock(4, 2, (3, 3), shifted=True)
    x = torch.randn(1, 3, 3, 4)  # one window, so that nothing is shifted

    def normalized(values: Tensor) -> Tensor:
        spread = values.var(-1, unbiased=False, keepdim=True)
        return (values - values.mean(-1, keepdim=True)) / (spread + 1e-5).sqrt()

    attended = block.attention(normalized(x).view(1, 1, 9, 4), (3, 3), None).view_as(x)
    first, second = (block.mlp.get_submodule(name) for name in ("1", "3"))
    inside = F.gelu(first(normalized(x + attended)))
    assert inside.shape[-1] == 16
    torch.testing.assert_close(block(x), x + attended + second(inside))


def test_merging_puts_the_first_axis_fastest() -> None:
    merging = PatchMerging(1, 4, (2, 2))
    merging.norm = nn.Identity()  # type: ignore[assignment]
    nn.init.eye_(merging.project.weight)
    x = torch.tensor([[0.0, 1, 2, 3], [4, 5, 6, 7]]).view(1, 2, 4, 1)
    assert merging(x).tolist() == [[[[0, 4, 1, 5], [2, 6, 3, 7]]]]


def test_merging_of_three_axes_puts_the_first_fastest() -> None:
    merging = PatchMerging(1, 4, (1, 2, 2))
    merging.norm = nn.Identity()  # type: ignore[assignment]
    nn.init.eye_(merging.project.weight)
    x = torch.arange(8.0).view(1, 2, 2, 2, 1)
    assert merging(x).flatten(1, 3).tolist() == [[[0, 2, 1, 3], [4, 6, 5, 7]]]


def test_expanding_puts_the_last_axis_fastest() -> None:
    expanding = PatchExpanding(4, 1, (2, 2))
    expanding.norm = nn.Identity()  # type: ignore[assignment]
    nn.init.eye_(expanding.project.weight)
    x = torch.arange(8.0).view(1, 1, 2, 4)
    assert expanding(x)[0, :, :, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_drop_path_leaves_out_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropped = DropPath(0.25)(torch.ones(4000, 2, 3))
    of_sample = dropped[:, 0, 0]
    assert torch.equal(dropped, of_sample[:, None, None].expand_as(dropped))
    assert of_sample.unique().tolist() == pytest.approx([0, 4 / 3])
    # Four standard deviations of 4000 draws.
    assert float((of_sample == 0).float().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)


def test_drop_path_rises_from_block_to_block() -> None:
    (first, second) = rising_drop_paths(0.3, (1, 3))
    assert first == [0.0]
    assert second == pytest.approx([0.1, 0.2, 0.3])


def test_skips_of_swin_unet_are_those_of_the_figure(reference: Callable[..., SegmentationNetwork]) -> None:
    network = reference("swin_unet", 2, 3, 9)
    assert isinstance(network, SwinUNet)
    inputs = network.stage_inputs(torch.empty(1, 3, 224, 224, device="meta"))
    assert [tuple(tokens.shape[1:]) for tokens in inputs] == [
        (56, 56, 96),
        (28, 28, 192),
        (14, 14, 384),
        (7, 7, 768),
    ]


def test_depths_of_swin_unet_hold_for_encoder_and_decoder() -> None:
    plan = reference_network(NetworkChoice.of("swin_unet"), 2)
    deep = plan.model_copy(update={"num_convs_encoder": (1, 2, 2, 6, 2), "num_convs_decoder": (1, 2, 2, 6)})
    with torch.device("meta"):
        network = SwinUNet(deep, 3, 9)
    assert sum(parameter.numel() for parameter in network.parameters()) == 41_380_836


def test_the_topmost_skip_of_swin_unet_is_the_embedding_of_patches() -> None:
    network = SwinUNet(swin_plan("swin_unet"), 1, 2)
    x = torch.randn(1, 1, 32, 32)
    expected = network.embed_norm(network.embed(x).movedim(1, -1))
    assert torch.equal(network.stage_inputs(x)[0], expected)


def test_maps_of_swin_unetr_are_those_of_the_figure(reference: Callable[..., SegmentationNetwork]) -> None:
    network = reference("swin_unetr", 3, 1, 14)
    assert isinstance(network, SwinUNETR)
    maps = network.stage_inputs(torch.empty(1, 1, 96, 96, 96, device="meta"))
    assert [tuple(values.shape[1:3]) for values in maps] == [(1, 96), (48, 48), (96, 24), (192, 12), (384, 6), (768, 3)]
    assert [isinstance(skip, nn.Identity) for skip in network.skips] == [False] * 4 + [True, False]


def test_tokens_reach_the_decoder_of_swin_unetr_normalised() -> None:
    network = SwinUNETR(swin_plan("swin_unetr"), 1, 2)
    for values in network.stage_inputs(torch.randn(1, 1, 16, 16))[1:]:
        torch.testing.assert_close(values.mean(1), torch.zeros_like(values[:, 0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(values.var(1, unbiased=False), torch.ones_like(values[:, 0]), atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", ["swin_unet", "swin_unetr"])
def test_what_is_far_away_changes_the_logits(name: str) -> None:
    torch.manual_seed(0)
    network = (SwinUNet if name == "swin_unet" else SwinUNETR)(swin_plan(name, window=(4,)), 1, 2).eval()
    x = torch.randn(1, 1, 32, 32)
    changed = x.clone()
    changed[..., -4:, -4:] += 3
    assert not torch.equal(network(x)[0][..., :4, :4], network(changed)[0][..., :4, :4])


def test_one_number_stands_for_all_axes() -> None:
    assert SwinOptions(window=(5,)).edges(3) == (5, 5, 5)
    assert NetworkChoice.of("swin_unet,window=7").options == (("window", (7,)),)
    assert NetworkChoice.of("swin_unet,window=5/7").options == (("window", (5, 7)),)


def test_a_window_of_other_axes_is_refused() -> None:
    with pytest.raises(RequestError, match="window \\(5, 5, 5\\): the network has 2 axes"):
        SwinUNet(swin_plan("swin_unet", window=(5, 5, 5)), 1, 2)


def test_a_window_without_tokens_is_refused() -> None:
    with pytest.raises(RequestError, match="window must have edges of 1 token or more"):
        NetworkChoice.of("swin_unet,window=0")


def test_channels_that_make_no_whole_heads_are_refused() -> None:
    plan = swin_plan("swin_unet", features=(32, 32, 48, 96))
    with pytest.raises(RequestError, match="48 channels, which is no multiple of its head_width 32"):
        SwinUNet(plan, 1, 2)


def test_windows_are_planned_for_the_patch_unless_asked_for() -> None:
    plan = reference_network(NetworkChoice.of("swin_unet"), 2)
    (option,) = SwinUNet.options_for(plan, (512, 320))
    assert (option.name, option.value) == ("window", (8, 5))
    assert "128, 64, 32, 16 and 80, 40, 20, 10 tokens" in option.reason
    asked = NetworkChoice.of("swin_unet,window=7").applied(plan)
    assert SwinUNet.options_for(asked, (512, 320)) == ()


def test_patches_are_as_large_as_asked_for() -> None:
    plan = reference_network(NetworkChoice.of("swin_unet,patch=2"), 2)
    assert plan.strides[:3] == ((1, 1), (2, 2), (2, 2))
    assert reference_network(NetworkChoice.of("swin_unet"), 2).strides[1] == (4, 4)
