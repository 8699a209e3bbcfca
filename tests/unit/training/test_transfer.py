"""Weights of a trained network in one with other channels and classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from autounet.errors import RequestError
from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork
from autounet.networks.choice import NetworkChoice
from autounet.planners.network import network_of_strides
from autounet.training.ports import Port, Ports, Role, roles
from autounet.training.transfer import Source, Weights, transfer
from autounet.training.transfer_report import TransferredTensor, TransferReport


def ports_of(inputs: str, outputs: str, *, masks: str = "", has_regions: bool = False) -> Ports:
    """Ports named by single letters; `outputs` without background, which a softmax has in front."""
    classes = tuple(Port(name, "class") for name in outputs)
    background = () if has_regions else (Port("background", "class"),)
    images = tuple(Port(name, "image") for name in inputs)
    return Ports((*images, *(Port(name, "mask") for name in masks)), (*background, *classes), has_regions)


class Tiny(nn.Module):
    """A stem, a body and two heads, with a norm that shares a name's end with none of them."""

    def __init__(self, num_inputs: int, num_outputs: int, width: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(num_inputs, width, 1)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.heads = nn.ModuleList(nn.Conv2d(width, num_outputs, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.heads[0](torch.tanh(self.body(self.stem(x))))
        return logits


def tiny(ports: Ports, seed: int = 0) -> Tiny:
    torch.manual_seed(seed)
    return Tiny(len(ports.inputs), len(ports.outputs))


def moved(source: nn.Module, given: Ports | None, target: nn.Module, wanted: Ports) -> tuple[Weights, TransferReport]:
    return transfer(target.state_dict(), roles(Tiny, wanted), wanted, Source("source", source.state_dict(), given))


def names(entries: tuple[TransferredTensor, ...]) -> list[str]:
    return [entry.name for entry in entries]


HEADS = ["heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"]


def test_the_role_of_a_tensor_is_seen_even_where_all_its_sizes_are_equal() -> None:
    # Two inputs, two outputs and two features: shapes alone would not tell.
    assert roles(Tiny, ports_of("ab", "x")) == {
        "stem.weight": Role.STEM,
        "stem.bias": Role.BODY,
        "body.weight": Role.BODY,
        "body.bias": Role.BODY,
        **dict.fromkeys(HEADS, Role.HEAD),
    }


def test_layers_that_mix_channels_or_grow_with_both_have_no_role_that_could_be_matched() -> None:
    class Odd(nn.Module):
        def __init__(self, num_inputs: int, num_outputs: int) -> None:
            super().__init__()
            self.unfolded = nn.Conv2d(4 * num_inputs, 3, 1)
            self.shortcut = nn.Conv2d(num_inputs, num_outputs, 1)
            self.extra = nn.ModuleList(nn.Conv2d(3, 1, 1) for _ in range(num_outputs))

    found = roles(Odd, ports_of("ab", "xy"))
    assert {found[name] for name in ("unfolded.weight", "shortcut.weight", "shortcut.bias")} == {Role.OTHER, Role.HEAD}
    assert found["shortcut.bias"] is Role.HEAD
    assert found["extra.0.weight"] is Role.BODY


def test_the_same_channels_and_classes_take_everything_over() -> None:
    ports = ports_of("ab", "xy")
    source, target = tiny(ports), tiny(ports, seed=1)
    weights, report = moved(source, ports, target, ports)
    assert all(torch.equal(weights[name], value) for name, value in source.state_dict().items())
    assert (len(report.loaded), report.adapted, report.new, report.unused) == (8, (), (), ())
    assert report.share_taken_over == 1
    assert list(report.lines()) == [
        "starting from source: 8 tensors loaded, 0 adapted, 0 new; 100.0% of the parameters are its own"
    ]


def test_permuted_channels_and_classes_give_permuted_outputs() -> None:
    given, wanted = ports_of("abc", "xyz"), ports_of("cab", "zxy")
    source, target = tiny(given), tiny(wanted, seed=1)
    weights, report = moved(source, given, target, wanted)
    target.load_state_dict(dict(weights))
    image = torch.randn(1, 3, 5, 5)
    assert torch.allclose(target(image[:, [2, 0, 1]]), source(image)[:, [0, 3, 1, 2]], atol=1e-6)
    assert names(report.adapted) == ["stem.weight", *HEADS]


def test_a_new_channel_gets_the_mean_kernel_and_the_variance_stays_by_hand() -> None:
    given, wanted = ports_of("ab", "x"), ports_of("bn", "x")
    source, target = tiny(given), tiny(wanted, seed=1)
    with torch.no_grad():
        source.stem.weight.copy_(torch.tensor([[3.0, 4.0], [1.0, 1.0]])[..., None, None])
    weights, report = moved(source, given, target, wanted)
    # Feature 0: (4, 3.5), whose square sum 28.25 must be 25 again; feature 1: (1, 1), as it was.
    factor = (25 / 28.25) ** 0.5
    expected = torch.tensor([[4 * factor, 3.5 * factor], [1.0, 1.0]])
    assert torch.allclose(weights["stem.weight"][..., 0, 0], expected)
    assert torch.equal(weights["stem.bias"], source.state_dict()["stem.bias"])
    assert names(report.adapted) == ["stem.weight"]
    assert report.adapted[0].reason == "channels kept: b; new, of the mean kernel: n; left out: a"


@pytest.mark.parametrize("wanted", ["abn", "nmo", "b", "abnmo"])
def test_the_variance_of_the_stems_output_stays_whatever_the_channels(wanted: str) -> None:
    given, ports = ports_of("ab", "x"), ports_of(wanted, "x")
    source, target = tiny(given), tiny(ports, seed=1)
    weights, _ = moved(source, given, target, ports)
    target.load_state_dict(dict(weights))
    noise = torch.randn(200, max(len(wanted), 2), 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = (net.stem(noise[:, : net.stem.in_channels]).std((0, 2, 3)) for net in (source, target))
    assert torch.allclose(before, after, rtol=0.02)


def test_a_new_mask_of_an_earlier_stage_changes_nothing_at_first() -> None:
    given, wanted = ports_of("a", "x"), ports_of("a", "x", masks="x")
    source, target = tiny(given), tiny(wanted, seed=1)
    weights, report = moved(source, given, target, wanted)
    target.load_state_dict(dict(weights))
    image = torch.randn(1, 2, 5, 5)
    assert torch.allclose(target(image), source(image[:, :1]), atol=1e-6)
    assert report.adapted[0].reason == "channels kept: a; from zero: x"


def test_channels_of_one_name_are_told_apart_by_their_turn() -> None:
    colours = Ports(tuple(Port("rgb", "image", turn) for turn in range(3)), ports_of("", "x").outputs, False)
    source, target = tiny(colours), tiny(colours, seed=1)
    weights, _ = moved(source, colours, target, colours)
    assert torch.equal(weights["stem.weight"], source.stem.weight)


def test_known_classes_keep_their_weights_and_new_ones_their_own() -> None:
    given, wanted = ports_of("a", "xy"), ports_of("a", "nx")
    source, target = tiny(given), tiny(wanted, seed=1)
    fresh = {name: value.clone() for name, value in target.state_dict().items()}
    weights, report = moved(source, given, target, wanted)
    for name in HEADS:
        old = source.state_dict()[name]
        assert torch.equal(weights[name], torch.stack([old[0], fresh[name][1], old[1]]))
    assert names(report.adapted) == HEADS
    lines = list(report.lines())
    assert lines[1] == (
        "adapted: heads.0.weight, heads.0.bias and 2 more: classes kept: background, x; new: n; left out: y"
    )


def test_a_renamed_class_is_new_and_background_stays() -> None:
    given, wanted = ports_of("a", "x"), ports_of("a", "w")
    source, target = tiny(given), tiny(wanted, seed=1)
    weights, report = moved(source, given, target, wanted)
    assert torch.equal(weights["heads.0.weight"][0], source.state_dict()["heads.0.weight"][0])
    assert torch.equal(weights["heads.0.weight"][1], target.state_dict()["heads.0.weight"][1])
    assert report.adapted[0].reason == "classes kept: background; new: w; left out: x"


def test_a_name_that_is_spelt_otherwise_is_new_and_told() -> None:
    given, wanted = ports_of("a", "x"), ports_of("a", "X")
    _, report = moved(tiny(given), given, tiny(wanted), wanted)
    assert report.adapted[0].reason == (
        "classes kept: background; new: X; left out: x; spelt otherwise, and so not matched: x"
    )


def test_a_softmax_of_one_class_and_its_sigmoid_find_the_same_probability() -> None:
    softmax, sigmoid = ports_of("a", "x"), ports_of("a", "x", has_regions=True)
    image = torch.randn(1, 1, 5, 5)
    source = tiny(softmax)
    expected = source(image).softmax(1)[:, 1]
    region = tiny(sigmoid, seed=1)
    weights, report = moved(source, softmax, region, sigmoid)
    region.load_state_dict(dict(weights))
    assert torch.allclose(region(image).sigmoid()[:, 0], expected, atol=1e-6)
    assert "less background" in report.adapted[0].reason
    back = tiny(softmax, seed=2)
    weights, report = moved(region, sigmoid, back, softmax)
    back.load_state_dict(dict(weights))
    assert torch.allclose(back(image).softmax(1)[:, 1], expected, atol=1e-6)
    assert report.adapted[0].reason == "classes kept: x; from zero: background"


def test_regions_of_none_of_the_sources_names_are_new() -> None:
    given, wanted = (ports_of("a", outputs, has_regions=True) for outputs in ("xy", "vw"))
    source, target = tiny(given), tiny(wanted, seed=1)
    weights, report = moved(source, given, target, wanted)
    assert names(report.new) == HEADS
    assert report.new[0].reason == "none of the source's classes: x, y"
    assert torch.equal(weights["heads.1.bias"], target.state_dict()["heads.1.bias"])


def test_without_names_places_count_where_the_numbers_agree() -> None:
    ports = ports_of("ab", "x")
    source, target = tiny(ports), tiny(ports, seed=1)
    weights, report = moved(source, None, target, ports)
    assert torch.equal(weights["stem.weight"], source.stem.weight)
    assert len(report.loaded) == 8
    assert any("taken by place" in entry.reason for entry in report.loaded)
    more = ports_of("abc", "xy")
    target = tiny(more, seed=1)
    weights, report = moved(source, None, target, more)
    assert names(report.adapted) == ["stem.weight"]
    assert names(report.new) == HEADS
    mean = source.stem.weight.mean(1)
    ratio = weights["stem.weight"] / mean[:, None]
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio))


def test_tensors_of_other_shape_or_absent_ones_are_new_and_what_is_left_over_is_named() -> None:
    ports = ports_of("a", "x")
    source, target = tiny(ports), tiny(ports, seed=1)
    given = {**source.state_dict(), "gone.weight": torch.zeros(1)}
    given["heads.1.weight"] = torch.zeros(2, 5, 1, 1)
    del given["heads.1.bias"]
    weights, report = transfer(target.state_dict(), roles(Tiny, ports), ports, Source("source", given, ports))
    assert names(report.new) == ["heads.1.weight", "heads.1.bias"]
    assert report.new[0].reason == "the source's is (2, 5, 1, 1), this one is (2, 2, 1, 1)"
    assert report.new[1].reason == "the source has no such tensor"
    assert report.unused == ("gone.weight",)
    assert torch.equal(weights["heads.1.bias"], target.state_dict()["heads.1.bias"])
    assert "unused: gone.weight" in list(report.lines())


def test_a_source_that_shares_nothing_is_refused_with_a_way_out() -> None:
    ports = ports_of("a", "x")
    wide = Tiny(1, 2, width=3)
    with pytest.raises(
        RequestError, match=r"shares no kernel.*stem\.weight: the source's is \(3, 1, 1, 1\).*--features"
    ):
        moved(wide, ports, tiny(ports), ports)


def test_weights_that_are_not_finite_are_refused() -> None:
    ports = ports_of("a", "x")
    source = tiny(ports)
    with torch.no_grad():
        source.body.weight[0] = float("nan")
    with pytest.raises(RequestError, match=r"'body\.weight' that are not finite"):
        moved(source, ports, tiny(ports), ports)


def test_a_record_that_counts_otherwise_than_the_weights_is_refused() -> None:
    ports = ports_of("a", "x")
    with pytest.raises(RequestError, match=r"does not belong to the model\.json"):
        moved(tiny(ports), ports_of("ab", "x"), tiny(ports), ports)


# --- the networks that are there ---


def build(name: str, dims: int) -> Callable[[int, int], SegmentationNetwork]:
    plan = NetworkPlan(
        name=name,
        features=(4, 6, 8),
        kernel_sizes=((3,) * dims,) * 3,
        strides=((1,) * dims, (2,) * dims, (2,) * dims),
        num_convs_encoder=(2, 2, 2),
        num_convs_decoder=(1, 1),
    )
    return lambda inputs, outputs: NETWORKS.find(name)(plan, inputs, outputs)


@pytest.mark.parametrize(
    ("name", "dims"), [(name, dims) for name in sorted(NETWORKS) for dims in NETWORKS[name].design.dims]
)
def test_every_network_keeps_its_function_when_channels_and_classes_change_places(name: str, dims: int) -> None:
    strides = ((1,) * dims, (2,) * dims, (2,) * dims)
    multiple = NETWORKS[name].design.width_multiple
    base, widest = (-(-width // multiple) * multiple for width in (4, 8))
    plan = network_of_strides(NetworkChoice.of(name), strides, base_features=base, max_features=widest)

    def network(inputs: int, outputs: int) -> SegmentationNetwork:
        return NETWORKS[name](plan, inputs, outputs).eval()

    given, wanted = ports_of("abc", "xy"), ports_of("bca", "yx")
    torch.manual_seed(0)
    source, target = network(3, 3).double(), network(3, 3).double()
    for parameter in source.parameters():
        nn.init.normal_(parameter, 0, 0.3)  # no bias or norm at the value that all begin with
    role_of = roles(network, wanted)
    weights, report = transfer(target.state_dict(), role_of, wanted, Source("source", source.state_dict(), given))
    target.load_state_dict(dict(weights))
    mixing = [key for key, role in role_of.items() if role is Role.OTHER]
    assert names(report.new) == mixing
    if mixing:  # layers between classes and classes begin anew
        assert len(mixing) < 0.1 * len(role_of)
        return
    source.deep_supervision = target.deep_supervision = True
    image = torch.randn(1, 3, *plan.smallest_size, dtype=torch.float64)
    for found, expected in zip(target(image[:, [1, 2, 0]]), source(image), strict=True):
        assert torch.allclose(found, expected[:, [0, 2, 1]], atol=1e-9)
    heads = [key for key in source.state_dict() if "head" in key]
    assert [entry for entry in names(report.adapted) if "head" in entry] == heads
    stems = [entry for entry in names(report.adapted) if "head" not in entry]
    # One, but where the image enters encoder and topmost skip by themselves.
    assert len(stems) == (3 if name == "swin_unetr" else 1)


@pytest.mark.parametrize("name", ["plain", "resenc"])
def test_another_number_of_channels_and_classes_takes_all_but_stem_and_heads_over(name: str) -> None:
    network = build(name, 3)
    given, wanted = ports_of("a", "x"), ports_of("ab", "xyz")
    weights, report = transfer(
        network(2, 4).state_dict(), roles(network, wanted), wanted, Source("source", network(1, 2).state_dict(), given)
    )
    assert not report.new
    assert names(report.adapted) == [
        "encoder.0.0.conv.weight",
        "heads.0.weight",
        "heads.0.bias",
        "heads.1.weight",
        "heads.1.bias",
    ]
    network(2, 4).load_state_dict(dict(weights))


def test_a_network_of_other_dimensionality_is_refused() -> None:
    ports = ports_of("a", "x")
    flat, deep = build("plain", 2), build("plain", 3)
    with pytest.raises(RequestError, match=r"is of a 2D network, and this one is 3D"):
        transfer(deep(1, 2).state_dict(), roles(deep, ports), ports, Source("source", flat(1, 2).state_dict(), ports))
