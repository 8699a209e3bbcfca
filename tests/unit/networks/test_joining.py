"""That composing the convolution after a skip changes nothing but the operations, and when it is done."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autounet.networks import joining
from autounet.networks.blocks import TRANSPOSED, ConvStack, Style, make_up
from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.joining import compose, convolve_joined
from autounet.networks.layout import CHANNELS_LAST, set_layout

COARSE, BETWEEN, SKIP, OUT = 6, 3, 5, 4
GEOMETRIES = [
    pytest.param((2, 2), (3, 3), (5, 4), id="2d"),
    pytest.param((2, 2, 2), (3, 3, 3), (4, 5, 3), id="3d"),
    pytest.param((1, 2, 2), (1, 3, 3), (4, 5, 3), id="thick slices"),
    pytest.param((1, 2, 2), (3, 3, 3), (2, 5, 3), id="slices not halved"),
    pytest.param((3, 2, 1), (3, 1, 3), (2, 1, 3), id="mixed"),
    pytest.param((2, 2, 2), (3, 3, 3), (1, 1, 1), id="border only"),
]


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The kernels composed; it is always worth it."""
    kernels: list[Tensor] = []

    def watched(up: Tensor, conv: Tensor) -> Tensor:
        kernels.append(compose(up, conv))
        return kernels[-1]

    monkeypatch.setattr(joining, "_COST_OF_FORMING", 0)
    monkeypatch.setattr(joining, "compose", watched)
    return kernels


def maps(coarse: Sequence[int], stride: Sequence[int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A coarse map and a skip, channels-last."""
    generator = torch.Generator().manual_seed(0)
    fine = [size * step for size, step in zip(coarse, stride, strict=True)]
    made = (
        torch.randn(2, channels, *size, dtype=dtype, generator=generator).to(memory_format=CHANNELS_LAST[len(size) + 2])
        for channels, size in ((COARSE, coarse), (SKIP, fine))
    )
    first, second = (x.requires_grad_() for x in made)
    return first, second


@pytest.mark.parametrize(("stride", "kernel", "coarse"), GEOMETRIES)
def test_the_composed_kernel_is_both_in_turn(
    stride: tuple[int, ...], kernel: tuple[int, ...], coarse: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    dims = len(stride)
    up, conv = torch.randn(COARSE, BETWEEN, *stride).double(), torch.randn(OUT, BETWEEN, *kernel).double()
    convolve, transposed = (F.conv2d, F.conv_transpose2d) if dims == 2 else (F.conv3d, F.conv_transpose3d)
    x = torch.randn(1, COARSE, *coarse).double()
    padding = tuple((size - 1) // 2 for size in kernel)
    in_turn = convolve(transposed(x, up, stride=stride), conv, padding=padding)
    torch.testing.assert_close(transposed(x, compose(up, conv), stride=stride, padding=padding), in_turn)


def test_the_composed_kernel_of_ones_counts_the_ways_through() -> None:
    kernel = compose(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 3, 3))
    ways = torch.tensor([1.0, 2.0, 2.0, 1.0])
    assert torch.equal(kernel[0, 0], ways[:, None] * ways)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "kernel", "coarse"), GEOMETRIES)
def test_values_and_gradients_are_those_of_the_concatenation(
    stride: tuple[int, ...], kernel: tuple[int, ...], coarse: tuple[int, ...], bias: bool, composed: list[Tensor]
) -> None:
    torch.manual_seed(0)
    dims, padding = len(stride), tuple((size - 1) // 2 for size in kernel)
    up = TRANSPOSED[dims](COARSE, BETWEEN, stride, stride, bias=bias).double()
    conv = CONVOLUTIONS[dims](BETWEEN + SKIP, OUT, kernel, padding=padding, bias=bias).double()
    inputs = maps(coarse, stride)
    asked = [*inputs, *up.parameters(), *conv.parameters()]
    expected, found = conv(torch.cat([up(inputs[0]), inputs[1]], dim=1)), convolve_joined(up, conv, *inputs)
    assert len(composed) == 1
    torch.testing.assert_close(found, expected)
    above = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, asked, above), torch.autograd.grad(expected, asked, above), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_behind_a_norm_all_that_is_trained_has_the_gradients_of_the_concatenation(composed: list[Tensor]) -> None:
    torch.manual_seed(0)
    style = Style(3)
    up = make_up(style, COARSE, BETWEEN, (2, 2, 2)).double()
    stack = ConvStack(style, BETWEEN + SKIP, OUT, (3, 3, 3), (1, 1, 1), 2).double()
    inputs = maps((3, 4, 2), (2, 2, 2))
    trained = [weight for weight in (*up.parameters(), *stack.parameters()) if weight.requires_grad]
    expected, found = stack(torch.cat([up(inputs[0]), inputs[1]], dim=1)), stack.join(up, *inputs)
    assert len(composed) == 1
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), trained),
        torch.autograd.grad(expected.square().sum(), trained),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def joined(up: nn.Module, padding: int = 1, coarse: tuple[int, ...] = (4, 4)) -> Tensor:
    """In 2D and float32; checked against the concatenation."""
    conv = nn.Conv2d(BETWEEN + SKIP, OUT, 3, padding=padding)
    for module in (up, conv):
        set_layout(module, torch.channels_last)
    inputs = maps(coarse, (2, 2), torch.float32)
    found = convolve_joined(up, conv, *inputs)
    torch.testing.assert_close(found, conv(torch.cat([up(inputs[0]), inputs[1]], dim=1)))
    return found


@pytest.mark.parametrize(
    ("up", "padding", "composes"),
    [
        (nn.ConvTranspose2d(COARSE, BETWEEN, 2, 2), 1, True),
        (nn.ConvTranspose2d(COARSE, BETWEEN, 4, 2, padding=1), 1, False),
        (nn.ConvTranspose2d(COARSE, BETWEEN, 2, 2), 0, False),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(COARSE, BETWEEN, 1)), 1, False),
    ],
    ids=["as in nnU-Net", "a larger kernel", "valid convolutions", "interpolated"],
)
def test_what_is_made_otherwise_is_concatenated(
    up: nn.Module, padding: int, composes: bool, composed: list[Tensor]
) -> None:
    joined(up, padding)
    assert len(composed) == int(composes)


def test_contiguous_maps_are_concatenated(composed: list[Tensor]) -> None:
    up, conv = nn.ConvTranspose2d(COARSE, BETWEEN, 2, 2), nn.Conv2d(BETWEEN + SKIP, OUT, 3, padding=1)
    convolve_joined(up, conv, torch.randn(1, COARSE, 4, 4), torch.randn(1, SKIP, 8, 8))
    assert not composed


def test_a_compiler_sees_the_concatenation(composed: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    joined(nn.ConvTranspose2d(COARSE, BETWEEN, 2, 2))
    assert not composed


@pytest.mark.parametrize(("edge", "worth_it"), [(4, False), (64, True)])
def test_it_is_composed_where_voxels_are_many(
    edge: int, worth_it: bool, composed: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_COST_OF_FORMING", 15)
    # Apart 6 x 3 + 9 x 3 x 4 = 126 multiplications a pixel, composed 4 x 6 x 4 = 96, and 4 x 9 x 6 x 3 x 4 = 2592 once.
    joined(nn.ConvTranspose2d(COARSE, BETWEEN, 2, 2), coarse=(edge, edge))
    assert bool(composed) == worth_it


@pytest.mark.parametrize("dims", [2, 3])
def test_in_bfloat16_it_is_composed_too_of_kernels_in_float32(dims: int, composed: list[Tensor]) -> None:
    """As exact as the concatenation in bfloat16: both are compared with that in float32, gradients too."""
    torch.manual_seed(0)
    up, conv = TRANSPOSED[dims](COARSE, BETWEEN, 2, 2), CONVOLUTIONS[dims](BETWEEN + SKIP, OUT, 3, padding=1)
    for module in (up, conv):
        set_layout(module, CHANNELS_LAST[dims + 2])
    coarse, skip = (x.detach().bfloat16().requires_grad_() for x in maps((4,) * dims, (2,) * dims, torch.float32))
    weights = [*up.parameters(), *conv.parameters()]
    exact = conv(torch.cat([up(coarse.float()), skip.float()], dim=1))
    pull = torch.randn(exact.shape)
    expected = torch.autograd.grad(exact, [coarse, skip, *weights], pull)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolve_joined(up, conv, coarse, skip)
        apart = conv(torch.cat([up(coarse), skip], dim=1))
    assert [kernel.dtype for kernel in composed] == [torch.float32]
    assert found.dtype == torch.bfloat16

    def error(one: Tensor, other: Tensor) -> float:
        one, other = one.detach().float(), other.detach().float()
        return float((one - other).norm() / other.norm())

    assert error(found, exact) < max(1.5 * error(apart, exact), 4e-3)
    gradients = torch.autograd.grad(found, [coarse, skip, *weights], pull.bfloat16())
    assert all(error(one, other) < 1e-2 for one, other in zip(gradients, expected, strict=True))


def test_in_bfloat16_coarse_maps_narrower_than_the_composed_kernel_are_not_composed(composed: list[Tensor]) -> None:
    up, conv = TRANSPOSED[3](COARSE, BETWEEN, 2, 2), CONVOLUTIONS[3](BETWEEN + SKIP, OUT, 3, padding=1)
    for module in (up, conv):
        set_layout(module, CHANNELS_LAST[5])
    for size, composes in (((2, 5, 5), False), ((4, 4, 4), True)):
        coarse, skip = (x.detach().bfloat16() for x in maps(size, (2, 2, 2), torch.float32))
        with torch.autocast("cpu", torch.bfloat16):
            convolve_joined(up, conv, coarse, skip)
        assert bool(composed) == composes
