"""What every network must hold: an architecture added to `NETWORKS` is tested here as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import torch

from autounet.augmentation import POLICIES
from autounet.errors import RequestError
from autounet.labels import LabelClass, LabelSchema
from autounet.losses.options import build_loss
from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork
from autounet.networks.choice import NetworkChoice
from autounet.networks.description import ActivationName, NormName, UpsamplingName
from autounet.networks.layout import set_fast_layout
from autounet.planners.network import network_of_strides
from autounet.training.config import TrainConfig

IN_CHANNELS, NUM_OUTPUTS = 2, 3
# Strides of each stage: even in all directions, and as planned for thick slices.
STRIDES: dict[str, tuple[tuple[int, ...], ...]] = {
    "2d": ((1, 1), (2, 2), (2, 2)),
    "3d": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
    "anisotropic": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
}
# What a network that begins at zero says can be told apart from silence only where it does not.
WITH_OPTIONS = {"diffusion_unet": "diffusion_unet,zero_start=false"}
MADE_FOR = [
    (name, kind) for name in sorted(NETWORKS) for kind in STRIDES if len(STRIDES[kind][0]) in NETWORKS[name].design.dims
]
pytestmark = pytest.mark.parametrize(("name", "kind"), MADE_FOR)


def small_plan(name: str, kind: str, num_stages: int = 3) -> NetworkPlan:
    multiple = NETWORKS[name].design.width_multiple
    return network_of_strides(
        NetworkChoice.of(WITH_OPTIONS.get(name, name)),
        STRIDES[kind][:num_stages],
        base_features=-(-4 // multiple) * multiple,
        flat_stages=kind == "anisotropic",
    )


def build(name: str, kind: str, seed: int = 0) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return NETWORKS[name](small_plan(name, kind), IN_CHANNELS, NUM_OUTPUTS)


def image_for(name: str, kind: str, batch_size: int = 2, further: int = 0) -> torch.Tensor:
    """Of the smallest size to train on, or so many steps larger."""
    plan = small_plan(name, kind)
    size = [edge + further * step for edge, step in zip(plan.smallest_size, plan.divisor, strict=True)]
    return torch.randn(batch_size, IN_CHANNELS, *size, generator=torch.Generator().manual_seed(1))


def test_logits_and_the_gradient_of_every_parameter_are_finite(name: str, kind: str) -> None:
    network = build(name, kind)
    network.deep_supervision = True
    outputs = network(image_for(name, kind))
    sum(output.square().mean() for output in outputs).backward()
    assert all(output.isfinite().all() for output in outputs)
    trained = {key: parameter for key, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained
    for parameter_name, parameter in trained.items():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


def test_in_bfloat16_and_its_fast_layout_it_is_nearly_what_it_is_in_float32(name: str, kind: str) -> None:
    network, image = build(name, kind).eval(), image_for(name, kind, further=1)  # without dropout
    expected = network(image)[0].detach()
    set_fast_layout(network, torch.device("cpu"), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        trained = network(image)[0]
        with torch.inference_mode():
            predicted = network(image)[0]
    trained.float().square().mean().backward()
    for found in (trained.detach(), predicted):
        assert (found.float() - expected).norm() < 0.1 * expected.norm()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


def test_training_lowers_the_loss(name: str, kind: str) -> None:
    network = build(name, kind)
    image = image_for(name, kind)
    target = network.field((image > 0).sum(dim=1))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(network(image)[0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_it_is_built_with_the_depths_that_it_asks_for(name: str, kind: str) -> None:
    for num_stages in (2, 3):
        encoder, decoder = NETWORKS[name].default_depths(num_stages)
        assert (len(encoder), len(decoder)) == (num_stages, num_stages - 1)
    plan = small_plan(name, kind, num_stages=2)
    torch.manual_seed(0)
    network = NETWORKS[name](plan, IN_CHANNELS, NUM_OUTPUTS)
    (logits,) = network(torch.randn(2, IN_CHANNELS, *plan.smallest_size))
    assert logits.isfinite().all()
    assert logits.std() > 0


@pytest.mark.parametrize("further", [0, 1])
def test_outputs_are_as_much_coarser_than_the_input_as_the_network_says(name: str, kind: str, further: int) -> None:
    network = build(name, kind)
    network.deep_supervision = True
    image = image_for(name, kind, further=further)
    outputs = network(image)
    assert len(outputs) == len(network.output_strides)
    assert set(network.output_strides[0]) == {1}
    for output, stride in zip(outputs, network.output_strides, strict=True):
        size = [
            (edge - 2 * lost) // step for edge, lost, step in zip(image.shape[2:], network.halo, stride, strict=True)
        ]
        assert output.shape == (2, NUM_OUTPUTS, *size)


def test_without_deep_supervision_one_output_is_returned(name: str, kind: str) -> None:
    network = build(name, kind).eval()
    image = image_for(name, kind)
    assert network.deep_supervision is False
    (single,) = network(image)
    network.deep_supervision = True
    torch.testing.assert_close(single, network.combine(network(image)))


def test_what_the_network_says_of_itself_fits_its_plan(name: str, kind: str) -> None:
    network, plan = build(name, kind), small_plan(name, kind)
    assert network.num_spatial_dims == plan.num_spatial_dims
    assert network.divisor == plan.divisor
    assert len(network.halo) == plan.num_spatial_dims
    for stride in network.output_strides:
        assert all(divisor % step == 0 for divisor, step in zip(network.divisor, stride, strict=True))


def test_it_reads_of_its_plan_what_is_shown_of_it(name: str, kind: str) -> None:
    def shapes(plan: NetworkPlan) -> dict[str, torch.Size]:
        with torch.device("meta"):
            network = NETWORKS[name](plan, IN_CHANNELS, NUM_OUTPUTS)
        return {key: weights.shape for key, weights in network.state_dict().items()}

    plan = small_plan(name, kind)
    others = {
        "kernel_sizes": tuple(tuple(edge + 2 for edge in kernel) for kernel in plan.kernel_sizes),
        "num_convs_decoder": tuple(count + 1 for count in plan.num_convs_decoder),
    }
    alike = {key for key, value in others.items() if shapes(plan.model_copy(update={key: value})) == shapes(plan)}
    assert alike == NETWORKS[name].design.unread


def test_weights_carry_over_to_another_network(name: str, kind: str) -> None:
    network, other = build(name, kind, seed=0).eval(), build(name, kind, seed=1).eval()
    image = image_for(name, kind)
    assert not torch.equal(network(image)[0], other(image)[0])
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(image)[0], other(image)[0])


def test_same_seed_same_network(name: str, kind: str) -> None:
    first, second = build(name, kind, seed=3).state_dict(), build(name, kind, seed=3).state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_size_that_it_does_not_take_is_refused_with_the_next_that_it_does(name: str, kind: str) -> None:
    network, plan = build(name, kind), small_plan(name, kind)
    size = [edge + 1 for edge in plan.smallest_size]
    with pytest.raises(RequestError, match=re.escape(f"The next that is: {plan.legal_size(size)}")):
        network(torch.randn(1, IN_CHANNELS, *size))


def test_an_option_that_it_does_not_know_is_refused_with_what_it_knows(name: str, kind: str) -> None:
    plan = small_plan(name, kind).model_copy(update={"options": (("colour", "red"),)})
    with pytest.raises(RequestError, match=r"has no option 'colour'.* It has "):
        NETWORKS[name](plan, IN_CHANNELS, NUM_OUTPUTS)


def test_every_norm_activation_and_upsampling_that_it_knows_works(name: str, kind: str) -> None:
    fields = NETWORKS[name].Options.model_fields
    choices = {
        "norm": get_args(NormName),
        "activation": get_args(ActivationName),
        "upsampling": get_args(UpsamplingName),
        "dropout": (0.5,),
    }
    for option, values in choices.items():
        for value in values if option in fields else ():
            plan = NetworkChoice(name=name, options=((option, value),)).applied(small_plan(name, kind))
            network = NETWORKS[name](plan, IN_CHANNELS, NUM_OUTPUTS)
            assert network(image_for(name, kind))[0].isfinite().all(), f"{option}={value}"


def test_a_sample_does_not_depend_on_the_others_of_its_batch(name: str, kind: str) -> None:
    network = build(name, kind).eval()
    image = image_for(name, kind)
    together = network(image)[0]
    torch.testing.assert_close(together[:1], network(image[:1])[0], rtol=1e-4, atol=1e-5)


def test_logits_are_finite_in_bfloat16(name: str, kind: str) -> None:
    network = build(name, kind)
    with torch.autocast("cpu", torch.bfloat16):
        (logits,) = network(image_for(name, kind))
    assert logits.isfinite().all()
    assert logits.float().std() > 0


def test_it_is_built_on_the_meta_device_without_memory(name: str, kind: str) -> None:
    with torch.device("meta"):
        network = NETWORKS[name](small_plan(name, kind), IN_CHANNELS, NUM_OUTPUTS)
        (logits,) = network(torch.empty_like(image_for(name, kind), device="meta"))
    assert all(parameter.device.type == "meta" for parameter in network.parameters())
    assert logits.shape[:2] == (2, NUM_OUTPUTS)


# PyTorch's newer exporter does the same, but takes seconds for each network.
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:Constant folding:UserWarning"
)
def test_it_computes_the_same_as_onnx(name: str, kind: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    network, image = build(name, kind).eval(), image_for(name, kind, batch_size=1)
    stored = tmp_path / "network.onnx"
    torch.onnx.export(network, (image,), stored, dynamo=False)
    session = runtime.InferenceSession(stored, providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.inference_mode():
        (logits,) = network(image)
    torch.testing.assert_close(torch.from_numpy(exported), logits, rtol=1e-4, atol=1e-4)


def test_it_takes_any_number_of_channels_and_classes(name: str, kind: str) -> None:
    plan = small_plan(name, kind)
    for in_channels, num_outputs in ((1, 1), (7, 5)):
        network = NETWORKS[name](plan, in_channels, num_outputs).eval()
        (logits,) = network(torch.randn(1, in_channels, *plan.smallest_size))
        assert logits.shape == (1, num_outputs, *plan.output_size(plan.smallest_size))


def test_its_recipe_can_be_trained_with(name: str, kind: str) -> None:
    config = TrainConfig.parse(NETWORKS[name].recipe.choices, name)
    assert POLICIES.find(config.augmentation)
    labels = LabelSchema(classes=(LabelClass(name="a", values=(1,)),))
    assert build_loss(config.loss, labels, batch_dice=False)
