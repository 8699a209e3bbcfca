"""What every loss must hold: a loss added to `LOSSES` is tested here as it is."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from autounet.labels import LabelClass, LabelSchema
from autounet.losses import LOSSES
from autounet.losses.deep_supervision import DeepSupervision
from autounet.losses.segmentation import SegmentationLoss

PLAIN = (LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,)))
REGIONS = (LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,)))
SCHEMAS = {
    "labels": LabelSchema(classes=PLAIN),
    "labels, ignore": LabelSchema(classes=PLAIN, ignore_value=3),
    "regions": LabelSchema(classes=REGIONS, region_order=(1, 2)),
    "regions, ignore": LabelSchema(classes=REGIONS, region_order=(1, 2), ignore_value=3),
}
WITH_IGNORE = [name for name in SCHEMAS if "ignore" in name]

# Each kind of schema with one way of pooling, and both ways with each of labels, regions, and the ignore label.
POOLED = {"labels": False, "labels, ignore": True, "regions": True, "regions, ignore": False}

names = pytest.mark.parametrize("name", sorted(LOSSES))
schemas = pytest.mark.parametrize(("schema", "batch_dice"), [(SCHEMAS[k], POOLED[k]) for k in SCHEMAS], ids=SCHEMAS)
ignoring = pytest.mark.parametrize(
    ("schema", "batch_dice"), [(SCHEMAS[k], POOLED[k]) for k in WITH_IGNORE], ids=WITH_IGNORE
)
sizes = pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])


class WithMaps:
    """A loss together with the maps that it needs, as the trainer hands them over."""

    def __init__(self, loss: SegmentationLoss) -> None:
        self.loss = loss

    def __call__(self, logits: Tensor, label: Tensor, annotated: Tensor | None = None) -> Tensor:
        result: Tensor = self.loss(logits, label, annotated, maps_of(self.loss, label))
        return result


def maps_of(loss: SegmentationLoss, label: Tensor) -> Tensor | None:
    make = loss.label_maps((1.0,) * (label.ndim - 1))
    if make is None:
        return None
    maps = make(label.numpy())
    assert maps.dtype == np.float32
    assert maps.shape == (len(label), make.num_maps, *label.shape[1:])
    return torch.from_numpy(maps)


def build(name: str, schema: LabelSchema, batch_dice: bool) -> WithMaps:
    return WithMaps(LOSSES[name](schema, batch_dice=batch_dice))


def random_case(schema: LabelSchema, size: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and a label map with every declared value, and -1 outside the body."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(-1, max(schema.declared_values) + 1, (2, *size), generator=generator, dtype=torch.int16)
    return torch.randn(2, schema.num_outputs, *size, generator=generator), label


def perfect_logits(schema: LabelSchema, label: Tensor, confidence: float = 30.0) -> Tensor:
    """Logits of a network that knows the label map; at ignored voxels they are wrong on purpose."""
    if schema.has_regions:
        right = torch.stack([torch.isin(label, torch.tensor(entry.values)) for entry in schema.classes], dim=1)
    else:
        values = torch.arange(schema.num_outputs).view(1, -1, *(1,) * (label.ndim - 1))
        right = label.clamp_min(0).unsqueeze(1) == values
    return torch.where(right, confidence, -confidence)


@names
@schemas
@sizes
def test_loss_and_gradient_are_finite(name: str, schema: LabelSchema, batch_dice: bool, size: tuple[int, ...]) -> None:
    logits, label = random_case(schema, size)
    logits.requires_grad_()
    loss = build(name, schema, batch_dice)(logits, label)
    assert loss.shape == ()
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.any()


@names
@schemas
def test_a_perfect_prediction_costs_nothing_and_its_opposite_the_most(
    name: str, schema: LabelSchema, batch_dice: bool
) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, (6, 5))
    perfect = perfect_logits(schema, label)
    assert 0 <= float(loss(perfect, label)) < 1e-4
    assert float(loss(perfect, label)) < float(loss(logits, label)) < float(loss(-perfect, label))


@names
@schemas
def test_following_the_gradient_leads_to_the_label_map(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, (6, 5))
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], 1.0)
    for _ in range(30):
        optimizer.zero_grad()
        loss(logits, label).backward()
        optimizer.step()
    counted = label != 3
    for index in range(2):
        found = torch.from_numpy(schema.segmentation(logits.detach()[index].numpy()))
        assert torch.equal(found[counted[index]], label[index].clamp_min(0).byte()[counted[index]])


@names
@ignoring
def test_ignored_voxels_have_no_gradient_at_all(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    logits, label = random_case(schema, (6, 5))
    logits.requires_grad_()
    build(name, schema, batch_dice)(logits, label).backward()
    assert logits.grad is not None
    ignored = (label == 3).unsqueeze(1).expand_as(logits)
    assert ignored.any()
    assert (logits.grad[ignored] == 0).all()


@names
@ignoring
def test_the_loss_is_that_of_the_annotated_part_alone(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, (6, 8))
    label[label == 3] = 1
    label[..., 5:] = 3
    torch.testing.assert_close(loss(logits, label), loss(logits[..., :5], label[..., :5]))


@names
@ignoring
def test_a_batch_without_annotation_costs_nothing(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    logits, label = random_case(schema, (6, 5))
    logits.requires_grad_()
    loss = build(name, schema, batch_dice)(logits, torch.full_like(label, 3))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert logits.grad is not None
    assert not logits.grad.any()


@names
@schemas
def test_only_background_is_a_sound_label_map(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    loss = build(name, schema, batch_dice)
    label = torch.zeros(2, 6, 5, dtype=torch.int16)
    assert float(loss(perfect_logits(schema, label), label)) < 0.05
    assert float(loss(-perfect_logits(schema, label), label)) > 0.4


@names
@schemas
def test_outside_the_body_is_background(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, (6, 5))
    assert (label == -1).any()
    torch.testing.assert_close(loss(logits, label), loss(logits, label.clamp_min(0)))


@names
@schemas
def test_the_order_of_the_samples_does_not_matter(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, (6, 5))
    torch.testing.assert_close(loss(logits, label), loss(logits.flip(0), label.flip(0)))


@names
@schemas
def test_logits_in_half_precision_are_compared_in_single_precision(
    name: str, schema: LabelSchema, batch_dice: bool
) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, (6, 5))
    half = logits.bfloat16()
    value = loss(half, label)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(half.float(), label))


@names
@schemas
@pytest.mark.parametrize(("size", "partial"), [((2, 2, 3), False), ((3, 3), True)], ids=["3d, whole", "2d, partial"])
def test_the_gradient_is_the_slope(
    name: str, schema: LabelSchema, batch_dice: bool, size: tuple[int, ...], partial: bool
) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, size, seed=1)
    annotated = torch.tensor([[True, False], [True, True]]) if partial else None
    if annotated is not None:
        label[0][label[0] == 2] = 0
    value = loss(logits.double(), label, annotated)
    assert value.dtype == torch.float64
    torch.testing.assert_close(value.float(), loss(logits, label, annotated))
    inputs = (logits.double().requires_grad_(),)
    assert torch.autograd.gradcheck(lambda x: loss(x, label, annotated), inputs, fast_mode=True)


@names
@schemas
@sizes
def test_all_classes_annotated_is_the_loss_itself(
    name: str, schema: LabelSchema, batch_dice: bool, size: tuple[int, ...]
) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, size)
    torch.testing.assert_close(loss(logits, label, torch.ones(2, 2, dtype=torch.bool)), loss(logits, label))


@names
@schemas
def test_a_class_that_was_not_annotated_adds_nothing(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    loss = build(name, schema, batch_dice)
    logits, label = random_case(schema, (6, 5))
    drawn = label.clone()
    label[label == 2] = 0
    annotated = torch.tensor([[True, False], [True, False]])
    expected = loss(logits, label, annotated)
    if schema.has_regions:
        others = torch.randn(logits[:, 1:].shape, generator=torch.Generator().manual_seed(9))
        changed = torch.cat([logits[:, :1], others], dim=1)
    else:  # the network finds class b where it found background, and the other way round
        changed = logits[:, [2, 1, 0]]
    assert not torch.allclose(loss(changed, drawn), loss(logits, drawn))
    torch.testing.assert_close(loss(changed, label, annotated), expected)


@names
@schemas
def test_a_batch_of_which_no_class_was_annotated_costs_nothing(
    name: str, schema: LabelSchema, batch_dice: bool
) -> None:
    logits, label = random_case(schema, (6, 5))
    logits.requires_grad_()
    loss = build(name, schema, batch_dice)(logits, label, torch.zeros(2, 2, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6


@names
@schemas
def test_a_batch_of_one(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    logits, label = random_case(schema, (6, 5))
    pooled, averaged = (build(name, schema, pool)(logits[:1], label[:1]) for pool in (batch_dice, not batch_dice))
    torch.testing.assert_close(pooled, averaged)
    assert pooled.isfinite()


@names
@schemas
@sizes
def test_every_output_of_a_network_can_be_trained(
    name: str, schema: LabelSchema, batch_dice: bool, size: tuple[int, ...]
) -> None:
    logits, label = random_case(schema, tuple(2 * edge for edge in size))
    strides = [(factor,) * len(size) for factor in (1, 2, 2)]
    outputs = [logits[:, :, *(slice(None, None, step) for step in stride)].requires_grad_() for stride in strides]
    loss = LOSSES[name](schema, batch_dice=batch_dice)
    value = DeepSupervision(loss, strides)(outputs, label, None, maps_of(loss, label))
    gradients = torch.autograd.grad(value, outputs[:2])
    assert value.isfinite()
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


@names
@schemas
def test_it_has_a_shape_without_values(name: str, schema: LabelSchema, batch_dice: bool) -> None:
    size = (4, 3, 5)
    loss = LOSSES[name](schema, batch_dice=batch_dice)
    make = loss.label_maps((1.0,) * len(size))
    with torch.device("meta"):
        logits = torch.zeros(2, schema.num_outputs, *size, requires_grad=True)
        label = torch.zeros(2, *size, dtype=torch.int16)
        maps = None if make is None else torch.zeros(2, make.num_maps, *size)
        annotated = torch.ones(2, 2, dtype=torch.bool)
        value = loss(logits, label, annotated, maps)
        value.backward()
    assert value.shape == ()
    assert logits.grad is not None


@names
def test_it_is_described_with_all_its_hyperparameters(name: str, repository: Path) -> None:
    pages = (repository / "docs" / "reference" / "losses.md").read_text().split("\n### ")
    described = {page.split("\n")[0].strip("`"): page for page in pages[1:]}
    assert set(described) == set(LOSSES)
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    fields = [entry for entry in parameters if entry.kind == entry.KEYWORD_ONLY and entry.name != "batch_dice"]
    for field in fields:
        default = str(field.default).lower()
        assert f"| `{field.name}` | {default} |" in described[name]
    assert described[name].count("\n| `") == len(fields), "the page lists hyperparameters that are not there"
    assert "Source:" in described[name]
