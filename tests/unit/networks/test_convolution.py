"""Convolutions in prediction: PyTorch's numbers, in the layout of the input, never by its unfolding kernels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from autounet.networks.convolution import CONVOLUTIONS
from autounet.networks.layout import CHANNELS_LAST, set_layout

PLAIN: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
SIZES = {2: (12, 9), 3: (6, 8, 7)}
# oneDNN writes past its own memory here: PyTorch 2.13 ends by SIGSEGV or "free(): invalid pointer".
STRIDED_POINTWISE = """
import torch
from autounet.networks.convolution import CONVOLUTIONS
conv = CONVOLUTIONS[2](8, 16, 1, 2).to(memory_format=torch.channels_last)
for _ in range(6):
    x = torch.randn(2, 8, 256, 256).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = conv(x)
    y.backward(torch.randn_like(y))
    del [torch.randn(1000 + size) for size in range(50)][:]
"""


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "bias": False},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 1, "groups": 2},
        {"kernel_size": 1, "padding": 1},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "stride": 2, "padding": 1, "bias": False},
        {"kernel_size": 3, "dilation": 2},
        {"kernel_size": 5, "groups": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.usefixtures("one_thread")
def test_prediction_computes_what_pytorch_does_in_float64(
    options: dict[str, object], dims: int, layout: str, batch: int
) -> None:
    torch.manual_seed(0)
    conv = CONVOLUTIONS[dims](4, 8, **options)
    oracle = PLAIN[dims](4, 8, **options).double()  # type: ignore[arg-type]
    oracle.load_state_dict(conv.state_dict())
    memory_format = CHANNELS_LAST[dims + 2] if layout == "channels_last" else torch.contiguous_format
    set_layout(conv, memory_format)
    x = torch.randn(batch, 4, *SIZES[dims]).to(memory_format=memory_format)
    with torch.inference_mode():
        found, expected = conv(x), oracle(x.double())
    assert found.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "kernel"), [((32, 3), 1), ((1, 8), 3), ((8, 8), 3)], ids=str)
@pytest.mark.usefixtures("one_thread")
def test_one_tile_on_one_thread_is_not_unfolded(channels: tuple[int, int], kernel: int) -> None:
    conv = CONVOLUTIONS[3](*channels, kernel, padding=kernel // 2)
    set_layout(conv, torch.channels_last_3d)
    x = torch.randn(1, channels[0], 8, 10, 12).to(memory_format=torch.channels_last_3d)
    with torch.inference_mode(), torch.profiler.profile() as profile:
        output = conv(x)
    assert output.is_contiguous(memory_format=torch.channels_last_3d)
    assert not [event.key for event in profile.key_averages() if "slow_conv" in event.key]


def test_training_takes_pytorchs_kernels_and_their_gradients() -> None:
    torch.manual_seed(0)
    conv, oracle = CONVOLUTIONS[3](4, 8, 3, padding=1), nn.Conv3d(4, 8, 3, padding=1)
    oracle.load_state_dict(conv.state_dict())
    x = torch.randn(2, 4, 6, 8, 7)
    found, expected = conv(x), oracle(x)
    assert torch.equal(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    gradients = [module.get_parameter("weight").grad for module in (conv, oracle)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_a_strided_kernel_of_one_pixel_trains_without_a_crash() -> None:
    done = subprocess.run([sys.executable, "-c", STRIDED_POINTWISE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_strided_kernel_of_one_voxel_has_the_gradients_of_pytorchs(dims: int, layout: str) -> None:
    torch.manual_seed(0)
    conv = CONVOLUTIONS[dims](20, 8, 1, (2, 3, 1)[-dims:])
    oracle = PLAIN[dims](20, 8, 1, (2, 3, 1)[-dims:]).double()  # type: ignore[arg-type]
    oracle.load_state_dict(conv.state_dict())
    memory_format = CHANNELS_LAST[dims + 2] if layout == "channels_last" else torch.contiguous_format
    set_layout(conv, memory_format)
    x = torch.randn(2, 20, *SIZES[dims]).to(memory_format=memory_format).requires_grad_()
    exact = x.detach().double().requires_grad_()
    found, expected = conv(x), oracle(exact)
    assert found.is_contiguous(memory_format=memory_format)
    found.square().sum().backward()
    expected.square().sum().backward()
    pairs = [(found, expected), (x.grad, exact.grad)]
    pairs += [(ours.grad, theirs.grad) for ours, theirs in zip(conv.parameters(), oracle.parameters(), strict=True)]
    for ours, theirs in pairs:
        assert ours is not None and theirs is not None
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "size", [(2, 2, 2), (2, 3, 3), (2, 8, 8), (1, 4, 1), (4, 4, 1), (4, 1, 4), (3, 3, 3), (4, 4, 4), (2, 2), (1, 5)]
)
def test_in_bfloat16_maps_narrower_than_the_kernel_have_their_gradients(
    size: tuple[int, ...], stride: int, layout: str
) -> None:
    """Those of oneDNN are garbage or NaN there: a network whose deepest maps had two voxels trained on noise."""
    torch.manual_seed(0)
    dims = len(size)
    conv = CONVOLUTIONS[dims](16, 32, 3, stride, padding=1)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(parameter.bfloat16())
    oracle = PLAIN[dims](16, 32, 3, stride, padding=1).double()
    oracle.load_state_dict(conv.state_dict())
    memory_format = CHANNELS_LAST[dims + 2] if layout == "channels_last" else torch.contiguous_format
    set_layout(conv, memory_format)
    x = torch.randn(2, 16, *size).bfloat16().to(memory_format=memory_format).requires_grad_()
    exact = x.detach().double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(x)
    assert found.dtype == torch.bfloat16
    expected = oracle(exact)
    pull = torch.randn(found.shape).bfloat16()
    found.backward(pull)
    expected.backward(pull.double())
    pairs = [(found.detach(), expected.detach()), (x.grad, exact.grad)]
    pairs += [(ours.grad, theirs.grad) for ours, theirs in zip(conv.parameters(), oracle.parameters(), strict=True)]
    for ours, theirs in pairs:
        assert ours is not None and theirs is not None
        assert (ours.double() - theirs).norm() < 0.02 * theirs.norm()
