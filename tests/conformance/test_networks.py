"""What every network must hold: an architecture added to `NETWORKS` is tested here as it is."""

from __future__ import annotations

import pytest
import torch

from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork

IN_CHANNELS, NUM_OUTPUTS = 2, 3
# Strides of each stage: even in all directions, and as planned for thick slices.
STRIDES: dict[str, tuple[tuple[int, ...], ...]] = {
    "2d": ((1, 1), (2, 2), (2, 2)),
    "3d": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
    "anisotropic": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
}

pytestmark = [pytest.mark.parametrize("name", sorted(NETWORKS)), pytest.mark.parametrize("kind", sorted(STRIDES))]


def small_plan(name: str, kind: str) -> NetworkPlan:
    strides = STRIDES[kind]
    kernels = [(3,) * len(strides[0])] * 3
    if kind == "anisotropic":
        kernels[0] = (1, 3, 3)
    return NetworkPlan(
        name=name,
        features=(4, 6, 8),
        kernel_sizes=tuple(kernels),
        strides=strides,
        num_convs_encoder=(2, 2, 2),
        num_convs_decoder=(2, 2),
    )


def build(name: str, kind: str, seed: int = 0) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return NETWORKS[name](small_plan(name, kind), IN_CHANNELS, NUM_OUTPUTS)


def image_for(network: SegmentationNetwork, batch_size: int = 2, multiple: int = 2) -> torch.Tensor:
    size = [multiple * step + 2 * lost for step, lost in zip(network.divisor, network.halo, strict=True)]
    return torch.randn(batch_size, IN_CHANNELS, *size, generator=torch.Generator().manual_seed(1))


def test_logits_and_the_gradient_of_every_parameter_are_finite(name: str, kind: str) -> None:
    network = build(name, kind)
    network.deep_supervision = True
    outputs = network(image_for(network))
    sum(output.square().mean() for output in outputs).backward()
    assert all(output.isfinite().all() for output in outputs)
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


def test_training_lowers_the_loss(name: str, kind: str) -> None:
    network = build(name, kind)
    image = image_for(network)
    target = torch.randint(NUM_OUTPUTS, network(image)[0][:, 0].shape, generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(network(image)[0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("num_stages", [2, 3])
def test_it_is_built_with_the_depths_that_it_asks_for(name: str, kind: str, num_stages: int) -> None:
    encoder, decoder = NETWORKS[name].default_depths(num_stages)
    assert (len(encoder), len(decoder)) == (num_stages, num_stages - 1)
    small = small_plan(name, kind)
    plan = NetworkPlan(
        name=name,
        features=small.features[:num_stages],
        kernel_sizes=small.kernel_sizes[:num_stages],
        strides=small.strides[:num_stages],
        num_convs_encoder=encoder,
        num_convs_decoder=decoder,
    )
    torch.manual_seed(0)
    network = NETWORKS[name](plan, IN_CHANNELS, NUM_OUTPUTS)
    (logits,) = network(image_for(network))
    assert logits.isfinite().all()
    assert logits.std() > 0


@pytest.mark.parametrize("multiple", [2, 3])
def test_outputs_are_as_much_coarser_than_the_input_as_the_network_says(name: str, kind: str, multiple: int) -> None:
    network = build(name, kind)
    network.deep_supervision = True
    image = image_for(network, multiple=multiple)
    outputs = network(image)
    assert len(outputs) == len(network.output_strides)
    assert set(network.output_strides[0]) == {1}
    for output, stride in zip(outputs, network.output_strides, strict=True):
        size = [
            (edge - 2 * lost) // step for edge, lost, step in zip(image.shape[2:], network.halo, stride, strict=True)
        ]
        assert output.shape == (2, NUM_OUTPUTS, *size)


def test_without_deep_supervision_only_the_finest_output_is_returned(name: str, kind: str) -> None:
    network = build(name, kind)
    image = image_for(network)
    assert network.deep_supervision is False
    (single,) = network(image)
    network.deep_supervision = True
    torch.testing.assert_close(single, network(image)[0])


def test_what_the_network_says_of_itself_fits_its_plan(name: str, kind: str) -> None:
    network, plan = build(name, kind), small_plan(name, kind)
    assert network.num_spatial_dims == plan.num_spatial_dims
    assert network.divisor == plan.divisor
    assert len(network.halo) == plan.num_spatial_dims
    for stride in network.output_strides:
        assert all(divisor % step == 0 for divisor, step in zip(network.divisor, stride, strict=True))


def test_weights_carry_over_to_another_network(name: str, kind: str) -> None:
    network, other = build(name, kind, seed=0), build(name, kind, seed=1)
    image = image_for(network)
    assert not torch.equal(network(image)[0], other(image)[0])
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(image)[0], other(image)[0])


def test_same_seed_same_network(name: str, kind: str) -> None:
    first, second = build(name, kind, seed=3).state_dict(), build(name, kind, seed=3).state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_sample_does_not_depend_on_the_others_of_its_batch(name: str, kind: str) -> None:
    network = build(name, kind)
    image = image_for(network)
    together = network(image)[0]
    torch.testing.assert_close(together[:1], network(image[:1])[0], rtol=1e-4, atol=1e-5)


def test_logits_are_finite_in_bfloat16(name: str, kind: str) -> None:
    network = build(name, kind)
    with torch.autocast("cpu", torch.bfloat16):
        (logits,) = network(image_for(network))
    assert logits.isfinite().all()
    assert logits.float().std() > 0


def test_it_is_built_on_the_meta_device_without_memory(name: str, kind: str) -> None:
    with torch.device("meta"):
        network = NETWORKS[name](small_plan(name, kind), IN_CHANNELS, NUM_OUTPUTS)
        (logits,) = network(torch.empty_like(image_for(network), device="meta"))
    assert all(parameter.device.type == "meta" for parameter in network.parameters())
    assert logits.shape[:2] == (2, NUM_OUTPUTS)
