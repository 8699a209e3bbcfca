"""What a training step was found to cost beside what it really takes: a network added to `NETWORKS` is tested as it is.

Real memory is the CPU profiler's record of every allocation. Networks here are narrow, so that activations dominate as
they do in training. What scratch a convolution takes on a CPU depends on its instruction set and its threads (oneDNN
picks another method where there is no AVX-512), and no estimate can know it: there an estimate may lie between the peak
with such scratch and the peak without.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode, conv_backward_flop, conv_flop_count

from autounet.labels import LabelClass, LabelSchema
from autounet.losses import LOSSES
from autounet.losses.deep_supervision import DeepSupervision
from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork
from autounet.networks.choice import NetworkChoice
from autounet.planners import memory, recorder
from autounet.planners.memory import TrainingCost, training_cost
from autounet.planners.network import network_of_strides

NUM_CHANNELS, BATCH_SIZE = 2, 2
# Strides of each stage, and the coarsest feature maps; the patch is both together, and the halo.
STRIDES: dict[str, tuple[tuple[int, ...], ...]] = {
    "2d": ((1, 1), (2, 2), (2, 2)),
    "3d": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
    "anisotropic": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
}
COARSEST = {"2d": (20, 24), "3d": (4, 5, 6), "anisotropic": (4, 6, 6)}
CLASSES = tuple(LabelClass(name=f"class {value}", values=(value,)) for value in (1, 2, 3))
REGIONS = (LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,)))
SCHEMAS = {
    "labels": LabelSchema(classes=CLASSES),
    "labels, ignore": LabelSchema(classes=CLASSES, ignore_value=4),
    "regions": LabelSchema(classes=REGIONS, region_order=(1, 2)),
    "regions, ignore": LabelSchema(classes=REGIONS, region_order=(1, 2), ignore_value=3),
}

MADE_FOR = [
    (name, kind) for name in sorted(NETWORKS) for kind in STRIDES if len(STRIDES[kind][0]) in NETWORKS[name].design.dims
]
networks = pytest.mark.parametrize(("name", "kind"), MADE_FOR)


@dataclass(frozen=True)
class Measured:
    """Bytes of a real training step.

    Attributes:
        peak: The most in use at once.
        peak_of_tensors: The same; where there is no AVX-512, without the scratch of single operations.
        after_forward: In use before the backward pass.
    """

    peak: int
    peak_of_tensors: int
    after_forward: int


def plan_of(name: str, kind: str) -> NetworkPlan:
    """Narrow, with one convolution or block in some stages and two in others."""
    multiple = NETWORKS[name].design.width_multiple
    base, widest = (-(-width // multiple) * multiple for width in (16, 24))
    flat = int(kind == "anisotropic")
    plan = network_of_strides(
        NetworkChoice.of(name), STRIDES[kind], base_features=base, max_features=widest, flat_stages=flat
    )
    return plan.model_copy(update={"num_convs_encoder": (1, 2, 1), "num_convs_decoder": (1, 2)})


def build(plan: NetworkPlan, labels: LabelSchema, loss: str = "dice_ce") -> tuple[SegmentationNetwork, DeepSupervision]:
    torch.manual_seed(0)
    network = NETWORKS[plan.name](plan, NUM_CHANNELS, labels.num_outputs)
    network.deep_supervision = True
    compare = LOSSES[loss](labels, batch_dice=False)
    return network, DeepSupervision(compare, network.output_strides, network.output_weights)


def patch_of(name: str, kind: str) -> tuple[int, ...]:
    plan = plan_of(name, kind)
    axes = zip(plan.divisor, COARSEST[kind], plan.halo, strict=True)
    return plan.legal_size([step * size + 2 * halo for step, size, halo in axes])


def label_shape(network: SegmentationNetwork, size: tuple[int, ...]) -> tuple[int, ...]:
    return (BATCH_SIZE, *(edge - 2 * halo for edge, halo in zip(size, network.halo, strict=True)))


def estimate(
    name: str,
    kind: str,
    labels: LabelSchema = SCHEMAS["labels"],
    *,
    half: bool = False,
    partial: bool = False,
    loss: str = "dice_ce",
) -> TrainingCost:
    return training_cost(
        plan_of(name, kind),
        patch_of(name, kind),
        num_channels=NUM_CHANNELS,
        labels=labels,
        batch_dice=False,
        half_precision=half,
        loss=loss,
        num_optimizer_states=1,
        partially_annotated=partial,
    )


@functools.cache
def measure(
    name: str, kind: str, schema: str = "labels", *, half: bool = False, partial: bool = False, loss: str = "dice_ce"
) -> Measured:
    """Two steps with momentum, so that the second begins with everything that stays."""
    labels = SCHEMAS[schema]
    told = torch.arange(BATCH_SIZE * labels.num_classes).view(BATCH_SIZE, -1) % 2 == 0 if partial else None
    network, criterion = build(plan_of(name, kind), labels, loss)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, fused=True)
    size = patch_of(name, kind)
    makes_maps = criterion.loss.label_maps((1.0,) * len(size))

    def forward() -> torch.Tensor:
        image = torch.randn(BATCH_SIZE, NUM_CHANNELS, *size)
        label = torch.randint(3, label_shape(network, size), dtype=torch.int16)
        maps = None
        if makes_maps is not None:
            maps = torch.rand(BATCH_SIZE, makes_maps.num_maps, *label_shape(network, size)[1:])
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            outputs = network(image)
        result: torch.Tensor = criterion(outputs, label, told, maps)
        return result

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            value = forward()
            with record_function("backward pass"):
                value.backward()
            optimizer.step()
    assert recording.profiler is not None
    events = sorted(recording.profiler.kineto_results.events(), key=lambda event: int(event.start_ns()))
    return peaks([(event.name(), event.nbytes()) for event in events], sum(p.nbytes for p in network.parameters()))


def peaks(events: list[tuple[str, int]], in_use: int) -> Measured:
    """Follows what is allocated and freed, in order of time, from what is in use before.

    Args:
        events: Names of operations where they begin, and `[memory]` with the bytes taken (below 0: freed).
        in_use: Bytes.
    """
    drops_scratch = not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    peak = peak_of_tensors = in_use
    after_forward = scratch = largest = 0
    for place, (name, num_bytes) in enumerate(events):
        if name == "backward pass":
            after_forward = in_use
        if name != "[memory]":
            continue
        in_use += num_bytes
        if drops_scratch and num_bytes > largest and freed_at_once(events, place):
            scratch = num_bytes
        else:
            largest = max(largest, num_bytes)
        if num_bytes == -scratch:
            scratch = 0
        peak, peak_of_tensors = max(peak, in_use), max(peak_of_tensors, in_use - scratch)
    return Measured(peak, peak_of_tensors, after_forward)


def freed_at_once(events: list[tuple[str, int]], place: int) -> bool:
    """Whether a block is gone before another operation begins: no tensor, or the copy of one in another layout."""
    after = (events[later] for later in range(place + 1, len(events)))
    of_operation = itertools.takewhile(lambda event: event[0] == "[memory]", after)
    return ("[memory]", -events[place][1]) in of_operation


@networks
def test_the_peak_of_a_step_is_what_was_found(name: str, kind: str) -> None:
    cost, real = estimate(name, kind), measure(name, kind)
    assert 3 * cost.parameter_bytes < real.peak_of_tensors * 2 / 3, (
        "activations must matter for the test to mean something"
    )
    # Convolutions of one voxel are counted with copies that a CPU does without: where they are many, it is too much.
    assert 0.95 * real.peak_of_tensors <= cost.memory_bytes(BATCH_SIZE) <= 1.1 * real.peak


@networks
def test_what_the_forward_pass_keeps_is_what_was_found(name: str, kind: str) -> None:
    cost, real = estimate(name, kind), measure(name, kind)
    kept = cost.parameter_bytes + cost.optimizer_bytes + BATCH_SIZE * cost.activation_bytes_per_sample
    # What does not grow with the batch, such as the places of tokens in a window, is no part of it.
    assert kept == pytest.approx(real.after_forward, rel=0.005)


@pytest.mark.parametrize("name", [name for name, kind in MADE_FOR if kind == "2d"])
def test_what_the_forward_pass_keeps_in_half_precision_is_what_was_found(name: str) -> None:
    # In 2D autocast does the same on a CPU and on CUDA; in 3D a CPU's means over strides are in float32.
    cost, real = estimate(name, "2d", half=True), measure(name, "2d", half=True)
    weights = cost.parameter_bytes * 3 // 2 + cost.optimizer_bytes
    kept = weights + BATCH_SIZE * cost.activation_bytes_per_sample
    assert kept == pytest.approx(real.after_forward, rel=0.01)


@pytest.mark.parametrize("kind", sorted(STRIDES))
@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_classes_that_were_not_annotated_take_is_what_was_found(kind: str, schema: str) -> None:
    cost = estimate("plain", kind, SCHEMAS[schema], partial=True)
    real = measure("plain", kind, schema, partial=True)
    kept = cost.parameter_bytes + cost.optimizer_bytes + BATCH_SIZE * cost.activation_bytes_per_sample
    assert kept == pytest.approx(real.after_forward, rel=0.001)
    assert 0.97 * real.peak_of_tensors <= cost.memory_bytes(BATCH_SIZE) <= 1.03 * real.peak


@pytest.mark.parametrize(
    ("name", "kind", "schema", "partial"),
    [(name, kind, "labels", False) for name, kind in MADE_FOR]
    + [("plain", "anisotropic", schema, partial) for schema in SCHEMAS for partial in (False, True)],
)
def test_shapes_by_rule_are_those_that_pytorch_derives(
    name: str, kind: str, schema: str, partial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory._measured.cache_clear()
    by_rule = estimate(name, kind, SCHEMAS[schema], partial=partial)
    memory._measured.cache_clear()
    monkeypatch.setattr(recorder, "infer", lambda *_: NotImplemented)
    assert estimate(name, kind, SCHEMAS[schema], partial=partial) == by_rule


def of_convolution_backward(gradient: Any, x: Any, weight: Any, *rest: Any, out_shape: Any) -> int:
    """PyTorch's own count, but for grouped convolutions, whose weights' gradient it counts as if all channels met."""
    transposed, groups, wanted = rest[4], rest[6], rest[7]
    if groups == 1:
        return int(inspect.unwrap(conv_backward_flop)(gradient, x, weight, *rest, out_shape=out_shape))
    return int(conv_flop_count(x, weight, gradient, transposed=transposed) * sum(wanted[:2]))


@networks
def test_operations_are_those_that_pytorch_counts(name: str, kind: str) -> None:
    size = patch_of(name, kind)
    with torch.device("meta"):
        network, criterion = build(plan_of(name, kind), SCHEMAS["labels"])
        image = torch.empty(BATCH_SIZE, NUM_CHANNELS, *size)
        label = torch.empty(label_shape(network, size), dtype=torch.int16)
    counts = {torch.ops.aten.convolution_backward: of_convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=counts) as counter:
        criterion(network(image), label).backward()
    assert estimate(name, kind).flops_per_sample * BATCH_SIZE == counter.get_total_flops()


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("kind", ["2d", "3d"])
@pytest.mark.parametrize("schema", ["labels, ignore", "regions"])
def test_what_a_loss_takes_is_what_was_found(loss: str, kind: str, schema: str) -> None:
    labels = SCHEMAS[schema]
    cost, real = estimate("plain", kind, labels, loss=loss), measure("plain", kind, schema, loss=loss)
    kept = cost.parameter_bytes + cost.optimizer_bytes + BATCH_SIZE * cost.activation_bytes_per_sample
    assert kept == pytest.approx(real.after_forward, rel=0.01)
    assert 0.95 * real.peak_of_tensors <= cost.memory_bytes(BATCH_SIZE) <= 1.05 * real.peak
