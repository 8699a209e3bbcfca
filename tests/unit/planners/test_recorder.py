"""What a step holds and multiplies, on tensors without numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autounet.planners.recorder import PRIME_BATCH, HalfPrecision, StepRecorder


def on_meta(*shape: int, requires_grad: bool = False) -> torch.Tensor:
    return torch.empty(shape, device="meta", requires_grad=requires_grad)


def test_storages_count_until_they_are_freed() -> None:
    with StepRecorder() as recorder:
        fixed = on_meta(10)
        sample = on_meta(PRIME_BATCH, 3)
        assert recorder.in_use == (40, 12)
        total = sample + 1
        assert recorder.in_use == (40, 24)
        del sample
        assert recorder.in_use == (40, 12)
        del fixed
    assert recorder.in_use == (0, 12)
    assert recorder.moments >= {(40, 0), (40, 12), (40, 24)}
    del total


def test_views_and_changes_in_place_take_no_memory() -> None:
    with StepRecorder() as recorder:
        x = on_meta(PRIME_BATCH, 4, 6)
        for result in (x.view(-1), x[:, 1], x.transpose(1, 2), x.expand(2, -1, -1, -1), x.add_(1), F.relu_(x)):
            assert recorder.in_use == (0, 96), result.shape


def test_what_autograd_saves_lives_until_the_backward_pass_used_it() -> None:
    with StepRecorder() as recorder:
        x = on_meta(PRIME_BATCH, 2, requires_grad=True)
        # Of the two results the first is kept for the second one's gradient.
        y = x.exp().exp().sum()
        assert recorder.in_use == (4, 8 + 8 + 8)
        y.backward()
        del y
    assert recorder.in_use == (0, 8 + 8)


def test_a_convolution_has_copies_in_blocks_of_channels_while_it_runs() -> None:
    with StepRecorder() as recorder:
        x, weight = on_meta(PRIME_BATCH, 8, 5, 5), on_meta(20, 8, 3, 3)
        assert recorder.moments == {(0, 800), (5760, 800)}
        result = F.conv2d(x, weight, padding=1)
    image, output = 800, 2000
    after = image + output
    # 8 channels fill a block of 16, 20 fill two.
    assert (2 * 5760, after + 2 * image) in recorder.moments
    assert (5760, after + output * 32 // 20) in recorder.moments
    assert recorder.in_use == (5760, after)
    assert recorder.flops_per_sample == 2 * 25 * 20 * 8 * 9
    del result


@pytest.mark.parametrize(
    ("layer", "multiply_adds"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), 4 * 4 * 4 * 6 * 9),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), 6 * 6 * 2 * 6 * 9),
        (nn.ConvTranspose2d(4, 6, 2, 2, bias=False), 8 * 8 * 4 * 6 * 4),
    ],
    ids=["strided", "grouped", "transposed"],
)
def test_multiply_adds_of_a_convolution_forward_and_of_both_halves_backward(
    layer: nn.Module, multiply_adds: int
) -> None:
    layer = layer.to("meta")
    with StepRecorder() as recorder:
        x = on_meta(PRIME_BATCH, 4, 8, 8, requires_grad=True)
        total = layer(x).sum()
        assert recorder.flops_per_sample == 2 * multiply_adds
        total.backward()
    assert recorder.flops_per_sample == 3 * 2 * multiply_adds


def test_multiply_adds_of_a_matrix_product() -> None:
    with StepRecorder() as recorder:
        F.linear(on_meta(PRIME_BATCH, 7, 5), on_meta(3, 5), on_meta(3))
    assert recorder.flops_per_sample == 2 * 7 * 5 * 3


def test_half_precision_casts_as_autocast_does() -> None:
    weight = nn.Parameter(on_meta(4, 4, 3, 3))
    x = on_meta(2, 4, 8, 8)
    with HalfPrecision() as mode:
        y = F.conv2d(x, weight, padding=1)
        assert y.dtype == torch.bfloat16
        assert (y + 1).dtype == torch.bfloat16
        assert F.softmax(y, dim=1).dtype == torch.float32
        assert F.layer_norm(y, (8, 8)).dtype == torch.float32
        assert (y @ y).dtype == torch.bfloat16
        first = mode._copies[weight]
        F.conv2d(y, weight, padding=1)
        assert mode._copies == {weight: first}
    assert F.conv2d(x, weight).dtype == torch.float32
    assert not mode._copies


def test_gradients_of_weights_in_half_precision_are_float32() -> None:
    weight = nn.Parameter(on_meta(4, 4, 3, 3))
    with HalfPrecision():
        y = F.conv2d(on_meta(2, 4, 8, 8), weight, padding=1)
    y.float().sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
