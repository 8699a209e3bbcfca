"""The loss where classes were annotated in some samples only: by hand, and by what it must not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from autounet.labels import LabelClass, LabelSchema
from autounet.losses.cross_entropy import DiceCrossEntropy
from autounet.losses.functional.cross_entropy import binary_cross_entropy_loss
from autounet.losses.functional.marginal import marginal_logits
from autounet.losses.functional.overlap import soft_dice_loss

LABELS = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))
IGNORE = LabelSchema(classes=LABELS.classes, ignore_value=3)
REGIONS = LabelSchema(
    classes=(LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,))), region_order=(1, 2)
)
ONLY_A, ONLY_B, BOTH, NONE = [True, False], [False, True], [True, True], [False, False]
pools = pytest.mark.parametrize("batch_dice", [False, True], ids=["per sample", "per batch"])


def random_case(num_outputs: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, num_outputs, 4, 5, generator=generator, dtype=torch.float64)
    return logits, torch.randint(-1, 2, (2, 4, 5), generator=generator)  # class b is not drawn anywhere


def test_by_hand() -> None:
    # Two voxels, background and class a, each with probabilities 1/2 (background), 1/3 (a), 1/6 (b); b not annotated.
    logits = torch.tensor([3.0, 2.0, 1.0]).log().view(1, 3, 1).expand(1, 3, 2)
    # Dice of a: 2 * 1/3 / (2/3 + 1) = 2/5. Cross-entropy: -log(1/2 + 1/6) for background, -log(1/3) for a.
    expected = 1 - 2 / 5 + (math.log(3 / 2) + math.log(3)) / 2
    loss = DiceCrossEntropy(LABELS, batch_dice=False)
    assert float(loss(logits, torch.tensor([[0, 1]]), torch.tensor([ONLY_A]))) == pytest.approx(expected, abs=1e-4)


def test_regions_by_hand() -> None:
    label = torch.tensor([[[0, 1], [1, 0]]])
    # Probability 1/2 each. Only 'whole' counts: Dice 2 * 1 / (2 + 2), cross-entropy log 2.
    found = DiceCrossEntropy(REGIONS, batch_dice=False)(torch.zeros(1, 2, 2, 2), label, torch.tensor([ONLY_A]))
    assert float(found) == pytest.approx(1 / 2 + math.log(2), abs=1e-4)


def test_batch_dice_pools_each_class_over_the_samples_that_have_it() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities, target = torch.rand(3, 2, 6, generator=generator), torch.rand(3, 2, 6, generator=generator).round()
    annotated = torch.tensor([ONLY_A, BOTH, ONLY_A])
    a = soft_dice_loss(probabilities[:, :1], target[:, :1], pool_batch=True)
    b = soft_dice_loss(probabilities[1:2, 1:], target[1:2, 1:], pool_batch=True)
    torch.testing.assert_close(soft_dice_loss(probabilities, target, None, annotated, pool_batch=True), (a + b) / 2)
    # Over single pairs, a counts three times and b once.
    pairs = [soft_dice_loss(probabilities[i, :1][None], target[i, :1][None], pool_batch=False) for i in range(3)]
    found = soft_dice_loss(probabilities, target, None, annotated, pool_batch=False)
    torch.testing.assert_close(found, (sum(pairs) + b) / 4)


@pools
def test_a_class_that_no_sample_has_is_left_out_of_the_mean(batch_dice: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities, target = torch.rand(2, 2, 6, generator=generator), torch.rand(2, 2, 6, generator=generator).round()
    found = soft_dice_loss(probabilities, target, None, torch.tensor([ONLY_B, ONLY_B]), pool_batch=batch_dice)
    torch.testing.assert_close(found, soft_dice_loss(probabilities[:, 1:], target[:, 1:], pool_batch=batch_dice))
    nothing = soft_dice_loss(probabilities, target, None, torch.tensor([NONE, NONE]), pool_batch=batch_dice)
    assert float(nothing) == 0


def test_marginal_logits_add_the_probabilities() -> None:
    logits, _ = random_case(4)
    annotated = torch.tensor([[True, False, False], [False, True, True]])
    before, after = logits.softmax(1), marginal_logits(logits, annotated).softmax(1)
    torch.testing.assert_close(after[0, 0], before[0, [0, 2, 3]].sum(0))
    torch.testing.assert_close(after[0, 1], before[0, 1])
    assert (after[0, 2:] == 0).all()
    torch.testing.assert_close(after[1, 0], before[1, :2].sum(0))
    torch.testing.assert_close(after[1, 2:], before[1, 2:])


@pools
@pytest.mark.parametrize("schema", [LABELS, IGNORE], ids=["labels", "ignore"])
def test_nothing_changes_when_probability_moves_between_background_and_a_class_not_annotated(
    schema: LabelSchema, batch_dice: bool
) -> None:
    logits, label = random_case(3)
    loss = DiceCrossEntropy(schema, batch_dice=batch_dice)
    annotated = torch.tensor([ONLY_A, ONLY_A])
    share = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    total = logits[:, [0, 2]].logsumexp(1)
    moved = torch.stack([total + share.log(), logits[:, 1], total + (1 - share).log()], dim=1)
    assert not torch.allclose(moved, logits)
    torch.testing.assert_close(loss(moved, label, annotated), loss(logits, label, annotated))
    assert not torch.allclose(loss(moved, label), loss(logits, label))


@pools
def test_the_gradient_of_background_and_a_class_not_annotated_is_shared_by_their_probabilities(
    batch_dice: bool,
) -> None:
    logits, label = random_case(3)
    logits.requires_grad_()
    DiceCrossEntropy(LABELS, batch_dice=batch_dice)(logits, label, torch.tensor([ONLY_A, ONLY_A])).backward()
    assert logits.grad is not None
    probabilities = logits.detach().softmax(1)
    # Their difference is moved by nothing: what is won for the sum is won in proportion.
    torch.testing.assert_close(
        logits.grad[:, 0] * probabilities[:, 2], logits.grad[:, 2] * probabilities[:, 0], atol=1e-12, rtol=1e-9
    )
    assert logits.grad[:, 0].abs().min() > 0


@pools
def test_a_region_not_annotated_has_no_gradient(batch_dice: bool) -> None:
    logits, label = random_case(2)
    logits.requires_grad_()
    loss = DiceCrossEntropy(REGIONS, batch_dice=batch_dice)
    loss(logits, label, torch.tensor([ONLY_A, BOTH])).backward()
    assert logits.grad is not None
    assert not logits.grad[0, 1].any()
    assert logits.grad[0, 0].any()
    assert logits.grad[1].any(dim=(1, 2)).all()


def test_binary_cross_entropy_is_the_mean_over_what_counts() -> None:
    logits, _ = random_case(2)
    target = torch.rand(logits.shape, generator=torch.Generator().manual_seed(2)).round().double()
    mask = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(3)) > 0.3
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    kept = torch.cat([losses[0, 0][mask[0, 0]], losses[1, 1][mask[1, 0]]])
    found = binary_cross_entropy_loss(logits, target, mask, torch.tensor([ONLY_A, ONLY_B]))
    torch.testing.assert_close(found, kept.mean())


def test_columns_follow_the_schema_and_not_the_order_of_values() -> None:
    turned = LabelSchema(classes=tuple(reversed(LABELS.classes)))
    logits, label = random_case(3)
    first = DiceCrossEntropy(LABELS, batch_dice=False)(logits, label, torch.tensor([ONLY_A, BOTH]))
    second = DiceCrossEntropy(turned, batch_dice=False)(logits, label, torch.tensor([ONLY_B, BOTH]))
    torch.testing.assert_close(first, second)


@pools
@pytest.mark.parametrize("schema", [LABELS, IGNORE, REGIONS], ids=["labels", "ignore", "regions"])
def test_gradients_are_those_of_the_loss(schema: LabelSchema, batch_dice: bool) -> None:
    logits, label = random_case(schema.num_outputs)
    label = label.clone()
    label[1, 2:] = 2
    loss = DiceCrossEntropy(schema, batch_dice=batch_dice)
    annotated = torch.tensor([ONLY_A, BOTH])
    assert torch.autograd.gradcheck(lambda x: loss(x, label, annotated), (logits.requires_grad_(),))


@pytest.mark.parametrize("schema", [LABELS, IGNORE, REGIONS], ids=["labels", "ignore", "regions"])
def test_it_has_a_shape_without_values(schema: LabelSchema) -> None:
    logits = torch.zeros(2, schema.num_outputs, 4, 5, device="meta", requires_grad=True)
    label = torch.zeros(2, 4, 5, dtype=torch.int16, device="meta")
    annotated = torch.ones(2, 2, dtype=torch.bool, device="meta")
    loss = DiceCrossEntropy(schema, batch_dice=True)(logits, label, annotated)
    loss.backward()
    assert loss.shape == ()
