"""The compound loss by hand, and deep supervision against `F.interpolate`."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from autounet.labels import LabelClass, LabelSchema
from autounet.losses.compound import DeepSupervision, DiceCrossEntropy, SegmentationLoss, deep_supervision_weights

LABELS = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))
REGIONS = LabelSchema(
    classes=(LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,))), region_order=(1, 2)
)


class Recorder(SegmentationLoss):
    """Keeps what it is asked to compare."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, logits: Tensor, label: Tensor, annotated: Tensor | None = None) -> Tensor:
        self.seen.append((logits, label))
        return logits.mean()


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


def test_weights_halve_and_the_coarsest_is_left_out() -> None:
    # Six stages: 1, 1/2, 1/4, 1/8, 0, divided by their sum 15/8.
    expected = [8 / 15, 4 / 15, 2 / 15, 1 / 15, 0]
    assert deep_supervision_weights(5) == pytest.approx(expected)
    assert expected == pytest.approx([0.5333, 0.2667, 0.1333, 0.0667, 0], abs=1e-4)
    assert deep_supervision_weights(2) == [1, 0]
    assert deep_supervision_weights(1) == [1]


@pytest.mark.parametrize(
    ("size", "strides"),
    [
        ((8, 16), [(1, 1), (2, 2), (4, 4), (8, 8)]),
        ((4, 12, 18), [(1, 1, 1), (1, 2, 2), (2, 4, 6), (4, 4, 6)]),
        ((9, 27), [(1, 1), (3, 3), (9, 9), (9, 9)]),
    ],
)
def test_coarse_targets_are_the_nearest_voxels(size: tuple[int, ...], strides: list[tuple[int, ...]]) -> None:
    label = torch.randint(0, 3, (2, *size), generator=torch.Generator().manual_seed(0))
    outputs = [
        torch.zeros(2, 3, *(edge // step for edge, step in zip(size, stride, strict=True))) for stride in strides
    ]
    recorder = Recorder()
    DeepSupervision(recorder, strides)(outputs, label)
    assert len(recorder.seen) == len(strides) - 1  # the coarsest weighs nothing
    for logits, target in recorder.seen:
        expected = F.interpolate(label[:, None].float(), logits.shape[2:], mode="nearest-exact")[:, 0].long()
        assert torch.equal(target, expected)


def test_the_outputs_are_added_by_their_weights() -> None:
    outputs = [torch.full((1, 1, size), value, requires_grad=True) for size, value in ((4, 1.0), (2, 10.0), (1, 100.0))]
    loss = DeepSupervision(Recorder(), [(1,), (2,), (4,)])(outputs, torch.zeros(1, 4))
    assert float(loss.detach()) == pytest.approx(2 / 3 * 1 + 1 / 3 * 10)
    loss.backward()
    assert outputs[1].grad is not None
    assert outputs[2].grad is None


def test_a_single_output_is_compared_at_full_resolution() -> None:
    recorder, label = Recorder(), torch.arange(8).view(1, 8)
    loss = DeepSupervision(recorder, [(1,)])([torch.full((1, 1, 8), 3.0)], label)
    assert float(loss.detach()) == 3
    assert torch.equal(recorder.seen[0][1], label)
