"""Stable Diffusion's U-Net: its parameters part by part, what its blocks compute, what it begins as."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autounet.network_plan import NetworkPlan, OptionValue
from autounet.networks.diffusion_unet import DiffusionUNet, DiffusionUNetOptions, ResidualBlock, sinusoids
from autounet.networks.transformer import Attention, GatedFeedForward, SpatialTransformer, normed

STABLE_1: dict[str, OptionValue] = {"attention": (0, 1, 2), "context": 768, "heads": 8}
STABLE_2: dict[str, OptionValue] = {"attention": (0, 1, 2), "context": 1024, "head_width": 64}


def plan(features: tuple[int, ...], **options: OptionValue) -> NetworkPlan:
    count = len(features)
    return NetworkPlan(
        name="diffusion_unet",
        features=features,
        kernel_sizes=((3, 3),) * count,
        strides=((1, 1),) + ((2, 2),) * (count - 1),
        num_convs_encoder=(2,) * count,
        num_convs_decoder=(3,) * (count - 1),
        options=tuple(sorted(options.items())),
    )


def on_meta(features: tuple[int, ...], channels: int, **options: OptionValue) -> DiffusionUNet:
    with torch.device("meta"):
        return DiffusionUNet(plan(features, **options), channels, channels)


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(
    ("width", "factors", "attention", "context", "expected"),
    [
        (32, (1, 2, 4), (1, 2), 64, 6_079_361),
        (64, (1, 2, 4), (2,), 128, 22_430_337),
        (64, (1, 2, 4), (1, 2), 128, 24_246_017),
        (64, (1, 2, 2, 4), (2, 3), 64, 26_447_361),
        (96, (1, 2, 4), (1, 2), 256, 54_917_761),
        (128, (1, 2, 2, 4), (1, 2, 3), 256, 113_984_769),
    ],
)
def test_small_grey_networks_have_their_parameters(
    width: int, factors: tuple[int, ...], attention: tuple[int, ...], context: int, expected: int
) -> None:
    features = tuple(width * factor for factor in factors)
    assert count(on_meta(features, 1, attention=attention, context=context)) == expected


@pytest.mark.parametrize(
    ("options", "encoder", "middle", "decoder", "total"),
    [
        (STABLE_1, 249_624_320, 97_038_080, 510_795_840, 859_520_964),
        (STABLE_2, 251_918_080, 97_693_440, 514_236_480, 865_910_724),
    ],
)
def test_stable_diffusion_has_its_parameters_part_by_part(
    options: dict[str, OptionValue], encoder: int, middle: int, decoder: int, total: int
) -> None:
    network = on_meta((320, 640, 1280, 1280), 4, **options)
    assert count(network.time) == 2_050_560
    assert count(network.first, network.encoder, network.down) == encoder
    assert count(network.middle, network.middle_out) == middle
    assert count(network.decoder, network.up) == decoder
    assert count(network.norm, network.head) == 12_164
    assert count(network) == total


def test_every_map_of_the_encoder_is_a_skip_of_stable_diffusion() -> None:
    network = on_meta((320, 640, 1280, 1280), 4, **STABLE_1)
    residuals = [module for module in network.decoder.modules() if isinstance(module, ResidualBlock)]
    widths = [block.conv_in.in_channels for block in residuals]
    assert widths == [2560, 2560, 2560, 2560, 2560, 1920, 1920, 1280, 960, 960, 640, 640]


def test_heads_are_told_by_number_or_by_width() -> None:
    assert [DiffusionUNetOptions(heads=8).num_heads(width) for width in (320, 640, 1280)] == [8, 8, 8]
    assert [DiffusionUNetOptions(head_width=64).num_heads(width) for width in (320, 640, 1280)] == [5, 10, 20]
    assert DiffusionUNetOptions(heads=8).num_heads(12) == 6, "the largest number that divides the channels"


def test_a_single_stage_with_attention_is_written_without_a_slash() -> None:
    assert DiffusionUNetOptions.named("diffusion_unet", {"attention": "2"}).attention == (2,)


def test_time_is_told_by_cosines_then_sines() -> None:
    embedded = sinusoids(torch.tensor([10]), 320)[0]
    assert embedded[0].item() == pytest.approx(-0.8390715, abs=1e-6)
    assert embedded[1].item() == pytest.approx(-0.9998747, abs=1e-6)
    assert embedded[160].item() == pytest.approx(-0.5440211, abs=1e-6)
    assert embedded[161].item() == pytest.approx(-0.0158301, abs=1e-6)
    assert embedded[319].item() == pytest.approx(math.sin(10 * 1.0592537e-4), rel=1e-4)


def small(**options: OptionValue) -> DiffusionUNet:
    torch.manual_seed(0)
    return DiffusionUNet(plan((8, 16), **{"context": 8, "attention": (1,), **options}), 2, 1).eval()


def test_it_begins_by_saying_nothing_and_its_blocks_by_passing_on() -> None:
    network, x = small(), torch.randn(2, 2, 8, 8)
    assert torch.equal(network(x)[0], torch.zeros(2, 1, 8, 8))
    features = torch.randn(2, 16, 4, 4)
    passed = network.middle(features, torch.randn(2, 32), torch.randn(2, 3, 8))
    assert torch.equal(passed, features)


def test_what_it_says_depends_on_time_and_context() -> None:
    network, x = small(zero_start=False), torch.randn(2, 2, 8, 8)
    context = torch.randn(2, 3, 8)
    plain = network(x, torch.tensor([5, 5]), context)[0]
    later = network(x, torch.tensor([5, 500]), context)[0]
    torch.testing.assert_close(later[0], plain[0])
    assert (later[1] - plain[1]).abs().max() > 1e-3
    other = network(x, torch.tensor([5, 5]), torch.stack([context[0], -context[1]]))[0]
    torch.testing.assert_close(other[0], plain[0])
    assert (other[1] - plain[1]).abs().max() > 1e-4


def test_names_have_an_embedding_each_and_one_stands_for_none() -> None:
    network = small(tokens=3)
    context = network.embed(torch.tensor([[0, 3], [1, 0]]))
    assert context.shape == (2, 2, 8)
    assert torch.equal(context[0, 0], context[1, 1])
    assert not torch.equal(context[0, 1], context[1, 0])


def test_attention_is_a_mean_weighted_by_the_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    layer = Attention(num_channels=6, context=5, heads=2)
    x, context = torch.randn(1, 4, 6), torch.randn(1, 3, 5)
    query, key, value = layer.query(x)[0], layer.key(context)[0], layer.value(context)[0]
    parts = []
    for head in (slice(0, 3), slice(3, 6)):
        weights = torch.softmax(query[:, head] @ key[:, head].T / math.sqrt(3), dim=1)
        parts.append(weights @ value[:, head])
    torch.testing.assert_close(layer(x, context)[0], layer.out(torch.cat(parts, dim=1)))


def test_one_half_of_the_feed_forward_gates_the_other() -> None:
    torch.manual_seed(0)
    layer, x = GatedFeedForward(3), torch.randn(1, 2, 3)
    wide = layer.wide(x)
    assert wide.shape == (1, 2, 24)
    torch.testing.assert_close(layer(x), layer.out(wide[..., :12] * F.gelu(wide[..., 12:])))


def test_a_transformer_moves_with_its_places() -> None:
    """Attention knows no order, so that places in another order give the same in that order."""
    torch.manual_seed(0)
    layer = SpatialTransformer(8, context=4, heads=2, zero_start=False).eval()
    x, context = torch.randn(1, 8, 4, 6), torch.randn(1, 2, 4)
    torch.testing.assert_close(layer(x.flip(3), context), layer(x, context).flip(3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("patch", "expected"), [((64, 64), (1, 2)), ((32, 32), (1, 2)), ((128, 128), (2,)), ((512, 512), ())]
)
def test_transformers_are_planned_where_maps_are_small(patch: tuple[int, int], expected: tuple[int, ...]) -> None:
    (option,) = DiffusionUNet.options_for(plan((64, 128, 256)), patch)
    assert (option.name, option.value) == ("attention", expected)
    assert "1024" in option.reason


@pytest.mark.parametrize(("channels", "groups"), [(320, 32), (960, 32), (96, 32), (64, 32), (32, 16), (16, 8), (8, 4)])
def test_groups_of_a_norm_have_two_channels_or_more(channels: int, groups: int) -> None:
    assert normed(channels).num_groups == groups
