"""Weights of the outputs, and coarse targets against `F.interpolate`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from autounet.labels import LabelClass, LabelSchema
from autounet.losses.deep_supervision import DeepSupervision, deep_supervision_weights
from autounet.losses.segmentation import SegmentationLoss


@dataclass(frozen=True)
class Seen:
    """What a loss was asked to compare."""

    logits: Tensor
    label: Tensor
    annotated: Tensor | None
    maps: Tensor | None


class Recorder(SegmentationLoss):
    """Keeps what it is asked to compare."""

    def __init__(self) -> None:
        super().__init__(LabelSchema(classes=(LabelClass(name="a", values=(1,)),)), batch_dice=False)
        self.seen: list[Seen] = []

    def forward(
        self, logits: Tensor, label: Tensor, annotated: Tensor | None = None, maps: Tensor | None = None
    ) -> Tensor:
        self.seen.append(Seen(logits, label, annotated, maps))
        return logits.mean()


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
    DeepSupervision(recorder, strides)(outputs, label, None, label[:, None])
    assert len(recorder.seen) == len(strides) - 1  # the coarsest weighs nothing
    for seen in recorder.seen:
        expected = F.interpolate(label[:, None].float(), seen.logits.shape[2:], mode="nearest-exact")[:, 0].long()
        assert torch.equal(seen.label, expected)
        assert seen.maps is not None
        assert torch.equal(seen.maps[:, 0], expected)


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
    assert torch.equal(recorder.seen[0].label, label)


def test_what_is_known_of_the_annotation_is_handed_on_to_every_output() -> None:
    recorder, annotated = Recorder(), torch.tensor([[True]])
    outputs = [torch.zeros(1, 3, size) for size in (8, 4, 2)]
    DeepSupervision(recorder, [(1,), (2,), (4,)])(outputs, torch.zeros(1, 8), annotated)
    assert len(recorder.seen) == 2
    assert all(seen.annotated is annotated for seen in recorder.seen)


def test_a_network_may_tell_the_weights() -> None:
    assert DeepSupervision(Recorder(), [(1,)] * 4, (1.0,) * 4).weights == [0.25] * 4
