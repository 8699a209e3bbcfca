"""Instance norm against PyTorch's own, in both memory layouts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autounet.networks.description import NormName
from autounet.networks.norm import CurrentBatchNorm, GroupNorm, InstanceNorm, make_norm


@pytest.mark.parametrize(("shape", "oracle"), [((2, 5, 4, 6, 3), nn.InstanceNorm3d), ((3, 5, 8, 6), nn.InstanceNorm2d)])
def test_instance_norm_is_pytorchs_forward_and_backward(shape: tuple[int, ...], oracle: type[nn.Module]) -> None:
    torch.manual_seed(0)
    ours, theirs = InstanceNorm(5), oracle(5, affine=True)
    with torch.no_grad():
        ours.weight.normal_()
        ours.bias.normal_()
        theirs.load_state_dict(ours.state_dict())
    x = (torch.randn(shape) * 3 + 7).requires_grad_()
    y = x.detach().clone().requires_grad_()
    pull = torch.randn(shape)
    ours_out, theirs_out = ours(x), theirs(y)
    torch.testing.assert_close(ours_out, theirs_out)
    (ours_out * pull).sum().backward()
    (theirs_out * pull).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-5)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(getattr(ours, name).grad, parameter.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("last", [False, True])
def test_without_affine_parameters_it_is_pytorchs_too(last: bool) -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(5, affine=False)
    assert not list(norm.parameters())
    assert not norm.state_dict()
    x = torch.randn(2, 5, 4, 6).to(memory_format=torch.channels_last if last else torch.contiguous_format)
    y = x.detach().clone().requires_grad_()
    x.requires_grad_()
    ours, theirs = norm(x), nn.functional.instance_norm(y)
    torch.testing.assert_close(ours, theirs)
    pull = torch.randn(2, 5, 4, 6)
    (ours * pull).sum().backward()
    (theirs * pull).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-5)


LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


@pytest.mark.parametrize("shape", [(2, 4, 5, 4, 3), (3, 4, 6, 5)])
def test_channels_last_gives_the_same_and_stays_channels_last(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(4)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = (torch.randn(shape) * 3 + 7).requires_grad_()
    y = x.detach().clone(memory_format=LAYOUTS[len(shape)]).requires_grad_()
    pull = torch.randn(shape)
    results, gradients = [], []
    for tensor in (x, y):
        norm.zero_grad()
        results.append(norm(tensor))
        (results[-1] * pull).sum().backward()
        gradients.append((tensor.grad, norm.weight.grad, norm.bias.grad))
    assert results[1].is_contiguous(memory_format=LAYOUTS[len(shape)])
    torch.testing.assert_close(results[1], results[0])
    for found, expected in zip(*reversed(gradients), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(norm(y.detach()), results[0].detach())


@pytest.mark.parametrize(
    ("norm", "num_groups"),
    [(InstanceNorm(8), 8), (CurrentBatchNorm(8).eval(), 8), (GroupNorm(2, 8), 2), (GroupNorm(1, 8), 1)],
    ids=["instance", "current batch", "groups", "one group"],
)
@pytest.mark.parametrize("shape", [(2, 8, 24, 40, 24), (1, 8, 300, 150), (2, 8, 3, 5, 2)])
def test_prediction_in_channels_last_keeps_the_digits_of_maps_far_from_zero(
    shape: tuple[int, ...], norm: nn.Module, num_groups: int
) -> None:
    # Group norm sums squares in float32: 1e-3 off here.
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.5 + 5
    x = (x + torch.linspace(0, 1, shape[2]).view(-1, *(1,) * (len(shape) - 3))).to(memory_format=LAYOUTS[len(shape)])
    x += torch.arange(8).div(8).view(1, 8, *(1,) * (len(shape) - 2))
    with torch.inference_mode():
        found = norm(x)
    assert found.is_contiguous(memory_format=LAYOUTS[len(shape)])
    expected = nn.functional.group_norm(x.double(), num_groups)
    assert float((found - expected).abs().max()) < 1e-5


@pytest.mark.parametrize("shape", [(3, 8, 20, 30, 20), (300, 8, 14, 10), (70, 64, 7, 9), (5, 8, 2, 3, 2)])
def test_prediction_in_channels_last_is_the_same_alone_and_with_any_number_of_threads(shape: tuple[int, ...]) -> None:
    norm, generator = InstanceNorm(shape[1]), torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(memory_format=LAYOUTS[len(shape)])
    before = torch.get_num_threads()
    try:
        with torch.inference_mode():
            found = []
            for num_threads in (1, 2, 3):
                torch.set_num_threads(num_threads)
                found += [norm(x), torch.cat([norm(one) for one in x.split(1)])]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_the_gradient_in_channels_last_is_that_of_differences() -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(3).double()
    x = torch.randn(2, 3, 3, 2, 2, dtype=torch.float64).contiguous(memory_format=torch.channels_last_3d)
    assert torch.autograd.gradcheck(norm, (x.requires_grad_(),))


def test_instance_norm_by_hand() -> None:
    # Mean 2 and variance 1 (population): (x - 2) / sqrt(1 + 1e-5).
    out = InstanceNorm(1)(torch.tensor([[[[1.0, 3.0]]]]))
    torch.testing.assert_close(out, torch.tensor([[[[-1.0, 1.0]]]]) / (1 + 1e-5) ** 0.5)


def test_on_the_meta_device_instance_norm_keeps_for_the_backward_pass_what_it_keeps_on_a_cpu() -> None:
    def kept(device: str) -> list[torch.Size]:
        norm = InstanceNorm(4).to(device)
        x = torch.zeros(2, 4, 6, 6, 6, device=device, requires_grad=True)
        shapes: list[torch.Size] = []

        def note(tensor: torch.Tensor) -> torch.Tensor:
            shapes.append(tensor.shape)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            norm(x)
        return shapes

    assert kept("meta") == kept("cpu")


@pytest.mark.parametrize("name", ["instance", "group"])
def test_a_norm_that_may_writes_over_its_input_in_prediction_only(name: NormName) -> None:
    keeps, overwrites = make_norm(name, 3, 8), make_norm(name, 3, 8, overwrites=True)
    x = torch.randn(2, 8, 5, 6, 7).to(memory_format=torch.channels_last_3d)
    given = x.clone()
    trained = overwrites(given)
    assert torch.equal(given, x)
    with torch.inference_mode():
        expected = keeps(given)
        assert torch.equal(given, x)
        found = overwrites(given)
    assert torch.equal(found, expected)
    assert found.data_ptr() == given.data_ptr()
    torch.testing.assert_close(found, trained.detach())


@pytest.mark.parametrize("shape", [(2, 4, 6, 5, 7), (3, 4, 9, 8)])
def test_in_bfloat16_channels_last_it_is_that_of_float32_up_to_eight_digits(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(4)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = (torch.randn(shape) * 3 + 7).bfloat16()
    pull = torch.randn(shape).bfloat16()
    results, gradients = [], []
    for tensor in (x.float(), x.to(memory_format=LAYOUTS[len(shape)])):
        tensor.requires_grad_()
        norm.zero_grad()
        results.append(norm(tensor))
        (results[-1] * pull).sum().backward()
        assert norm.weight.grad is not None
        assert norm.bias.grad is not None
        gradients.append((tensor.grad, norm.weight.grad.clone(), norm.bias.grad.clone()))
    assert results[1].dtype == torch.bfloat16
    assert results[1].is_contiguous(memory_format=LAYOUTS[len(shape)])
    torch.testing.assert_close(results[1].float(), results[0], rtol=1e-2, atol=2e-2)
    for found, expected in zip(*reversed(gradients), strict=True):
        assert found is not None
        assert expected is not None
        torch.testing.assert_close(found.float(), expected, rtol=2e-2, atol=2e-2)
    with torch.inference_mode():
        torch.testing.assert_close(norm(x.to(memory_format=LAYOUTS[len(shape)])), results[1].detach())
