"""Losses of voxels by hand, from logits and label maps, and which output answers to which value."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from autounet.errors import RequestError
from autounet.labels import LabelClass, LabelSchema
from autounet.losses.cross_entropy import CrossEntropy, DiceCrossEntropy, DiceTopK, Focal, TopK, UNet2015

LABELS = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))
REGIONS = LabelSchema(
    classes=(LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,))), region_order=(1, 2)
)


def test_even_logits_by_hand() -> None:
    # Three outputs of probability 1/3 on four voxels: one of class 1, one of class 2, two of background.
    label = torch.tensor([[[0, 1], [2, 0]]], dtype=torch.int16)
    # Each class: 2 * (1/3) / (4/3 + 1) = 2/7. Background does not count for Dice.
    expected = (1 - 2 / 7) + math.log(3)
    found = DiceCrossEntropy(LABELS, batch_dice=False)(torch.zeros(1, 3, 2, 2), label)
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_uneven_logits_by_hand() -> None:
    # Two voxels of classes 1 and 2, each with probabilities 1/2, 1/3, 1/6.
    logits = torch.tensor([3.0, 2.0, 1.0]).log().view(1, 3, 1).expand(1, 3, 2)
    # Dice of class 1: 2/3 / (2/3 + 1) = 2/5; of class 2: 1/3 / (1/3 + 1) = 1/4.
    expected = 1 - (2 / 5 + 1 / 4) / 2 + (math.log(3) + math.log(6)) / 2
    found = DiceCrossEntropy(LABELS, batch_dice=False)(logits, torch.tensor([[1, 2]]))
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_even_regions_by_hand() -> None:
    label = torch.tensor([[[0, 1], [2, 0]]], dtype=torch.int16)
    # Probability 1/2 each. Whole: 2 * 1 / (2 + 2); core: 2 * 0.5 / (2 + 1).
    expected = 1 - (1 / 2 + 1 / 3) / 2 + math.log(2)
    found = DiceCrossEntropy(REGIONS, batch_dice=False)(torch.zeros(1, 2, 2, 2), label)
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_outputs_answer_to_values_whatever_the_order_of_the_classes() -> None:
    turned = LabelSchema(classes=tuple(reversed(LABELS.classes)))
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(1, 3, 4, 4, generator=generator), torch.randint(0, 3, (1, 4, 4), generator=generator)
    first = DiceCrossEntropy(LABELS, batch_dice=True)(logits, label)
    torch.testing.assert_close(DiceCrossEntropy(turned, batch_dice=True)(logits, label), first)


@pytest.mark.parametrize("batch_dice", [False, True])
def test_values_with_gaps_are_as_good_as_consecutive_ones(batch_dice: bool) -> None:
    gaps = LabelSchema(
        classes=(LabelClass(name="a", values=(40,)), LabelClass(name="b", values=(7,))), ignore_value=300
    )
    same = LabelSchema(classes=LABELS.classes, ignore_value=3)
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(2, 3, 4, 4, generator=generator), torch.randint(-1, 4, (2, 4, 4), generator=generator)
    values = torch.tensor([0, 7, 40, 300, -1])[label]  # -1, outside the body, is the last
    expected = DiceCrossEntropy(same, batch_dice=batch_dice)(logits, label)
    torch.testing.assert_close(DiceCrossEntropy(gaps, batch_dice=batch_dice)(logits, values), expected)


def test_the_weights_of_a_sum() -> None:
    logits, label = torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 1], [2, 0]]])
    found = DiceCrossEntropy(LABELS, batch_dice=False, dice_weight=2.0, ce_weight=0.5)(logits, label)
    assert float(found) == pytest.approx(2 * (1 - 2 / 7) + 0.5 * math.log(3), abs=1e-4)


def test_class_weights_are_in_the_order_of_dataset_json() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(2, 3, 4, 4, generator=generator), torch.randint(0, 3, (2, 4, 4), generator=generator)
    turned = LabelSchema(classes=tuple(reversed(LABELS.classes)))
    expected = F.cross_entropy(logits, label, weight=torch.tensor([1.0, 2.0, 5.0]))
    for schema, weights in ((LABELS, (2.0, 5.0)), (turned, (5.0, 2.0))):
        torch.testing.assert_close(
            CrossEntropy(schema, batch_dice=False, class_weights=weights)(logits, label), expected
        )


def test_class_weights_of_regions_by_hand() -> None:
    label = torch.tensor([[0, 1, 2]])
    logits = torch.tensor([[[0.0, 0, 0], [3.0, 3, 3]]])
    whole, core = math.log(2), (2 * math.log(1 + math.exp(3)) + math.log(1 + math.exp(-3))) / 3
    found = CrossEntropy(REGIONS, batch_dice=False, class_weights=(1.0, 3.0))(logits, label)
    assert float(found) == pytest.approx((whole + 3 * core) / 4, abs=1e-5)


def test_class_weights_that_do_not_fit() -> None:
    with pytest.raises(RequestError, match="one number of 0 or more for each of the 2 classes"):
        CrossEntropy(LABELS, batch_dice=False, class_weights=(1.0,))


def test_focal_by_hand() -> None:
    # Probabilities 1/2, 1/3, 1/6 on a voxel of background and one of class 1.
    logits = torch.tensor([3.0, 2.0, 1.0]).log().view(1, 3, 1).expand(1, 3, 2)
    expected = (0.75 * 0.5**2 * math.log(2) + 0.25 * (2 / 3) ** 2 * math.log(3)) / 2
    assert float(Focal(LABELS, batch_dice=False)(logits, torch.tensor([[0, 1]]))) == pytest.approx(expected, abs=1e-6)


def test_top_k_is_the_mean_of_the_hardest() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(2, 3, 5, 4, generator=generator), torch.randint(0, 3, (2, 5, 4), generator=generator)
    losses = F.cross_entropy(logits, label, reduction="none").flatten().sort(descending=True).values
    torch.testing.assert_close(TopK(LABELS, batch_dice=False)(logits, label), losses[:4].mean())
    torch.testing.assert_close(TopK(LABELS, batch_dice=False, k=50)(logits, label), losses[:20].mean())
    dice = DiceCrossEntropy(LABELS, batch_dice=False, ce_weight=0)(logits, label)
    torch.testing.assert_close(DiceTopK(LABELS, batch_dice=False)(logits, label), dice + losses[:4].mean())


def test_unet_2015_by_hand() -> None:
    # Two objects of one voxel, a gap of four, one voxel beyond; classes of 2 and 6 voxels weigh 8/4 and 8/12.
    one = LabelSchema(classes=LABELS.classes[:1])
    label = torch.tensor([[0, 1, 0, 0, 0, 0, 1, 0]])
    loss = UNet2015(one, batch_dice=False)
    maps = torch.from_numpy(loss.label_maps((1.0,))(label.numpy()))
    gap = 10 * math.exp(-(5**2) / 50)
    beyond = 10 * math.exp(-((1 + 6) ** 2) / 50)
    # Logits by which every voxel is background with probability 4/5.
    logits = torch.tensor([0.8, 0.2]).log().view(1, 2, 1).expand(1, 2, 8)
    background, objects = 6 * 8 / 12 + 4 * gap + 2 * beyond, 2 * 8 / 4
    expected = (background * -math.log(0.8) + objects * -math.log(0.2)) / (background + objects)
    assert float(loss(logits, label, None, maps)) == pytest.approx(expected, abs=1e-5)
    # Without balance all weigh 1 before the gaps.
    plain = UNet2015(one, batch_dice=False, balance=False)
    background, objects = 6 + 4 * gap + 2 * beyond, 2
    expected = (background * -math.log(0.8) + objects * -math.log(0.2)) / (background + objects)
    assert float(plain(logits, label, None, maps)) == pytest.approx(expected, abs=1e-5)


def test_unet_2015_of_regions_balances_each_by_itself() -> None:
    # 'whole' has 3 of 4 voxels, 'core' 1 of 4; no gaps.
    label, logits = torch.tensor([[0, 1, 1, 2]]), torch.tensor([[[1.0] * 4, [-2.0] * 4]])
    found = UNet2015(REGIONS, batch_dice=False)(logits, label, None, torch.zeros(1, 2, 4))

    def balanced(logit: float) -> float:
        return (math.log(1 + math.exp(-logit)) + math.log(1 + math.exp(logit))) / 2

    assert float(found) == pytest.approx((balanced(1) + balanced(-2)) / 2, abs=1e-5)


def test_a_voxel_in_two_gaps_weighs_by_the_narrower() -> None:
    logits, label = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([[0, 0, 1, 2]])
    maps = torch.tensor([[[1.0, 5, 0, 0], [3.0, 2, 0, 0]]])
    losses = F.cross_entropy(logits, label, reduction="none")[0]
    weights = torch.tensor([4.0, 6, 1, 1])
    expected = (losses * weights).sum() / weights.sum()
    torch.testing.assert_close(UNet2015(LABELS, batch_dice=False, balance=False)(logits, label, None, maps), expected)
