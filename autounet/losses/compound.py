"""Losses that compare a network's outputs with label maps; thin modules over `functional`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autounet.labels import LabelSchema
from autounet.losses.functional import (
    at_least_single,
    binary_cross_entropy_loss,
    cross_entropy_loss,
    marginal_logits,
    one_hot,
    soft_dice_loss,
)

_IGNORE_INDEX = -100


class SegmentationLoss(nn.Module):
    """Base of the losses: logits `(B, K, *spatial)` and a label map `(B, *spatial)` to a scalar."""

    def forward(self, logits: Tensor, label: Tensor, annotated: Tensor | None = None) -> Tensor:
        """The loss; `label` holds the dataset's values, -1 outside the body (background to a loss).

        `annotated` `(B, num_classes)` bool tells which classes, in the order of the label schema, were annotated in
        which sample; `None` where all were. A class that was not annotated adds nothing: where it may be, the label
        says background, and the loss is the same whichever of the two the network finds there.
        """
        raise NotImplementedError


class DiceCrossEntropy(SegmentationLoss):
    """Soft Dice of the foreground plus cross-entropy, one to one: nnU-Net's loss (its `compound_losses.py`).

    Regions use sigmoids: binary cross-entropy and Dice of every region. Classes that were not annotated are united
    with background (`marginal_logits`); regions that were not are left out.

    Args:
        labels: What the values mean.
        batch_dice: Pool Dice over the batch.
    """

    def __init__(self, labels: LabelSchema, *, batch_dice: bool) -> None:
        super().__init__()
        self.labels = labels
        self.batch_dice = batch_dice

    def forward(self, logits: Tensor, label: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Dice plus cross-entropy; see the class."""
        label = label.long().clamp_min(0)
        counts = None if self.labels.ignore_value is None else label != self.labels.ignore_value
        mask = None if counts is None else counts.unsqueeze(1)
        if self.labels.has_regions:
            target = self._region_targets(label)
            dice = soft_dice_loss(
                at_least_single(logits).sigmoid(), target, mask, annotated, pool_batch=self.batch_dice
            )
            return dice + binary_cross_entropy_loss(logits, target, mask, annotated)
        index = self._class_index(label)
        if annotated is not None:
            annotated = annotated[:, self._class_of_output(annotated.device)]
            logits = marginal_logits(at_least_single(logits), annotated)
            index = _background_where_not_annotated(index, annotated)
        foreground = one_hot(index - 1, self.labels.num_classes)
        index = index if counts is None else torch.where(counts, index, _IGNORE_INDEX)
        probabilities = at_least_single(logits).softmax(dim=1)[:, 1:]
        dice = soft_dice_loss(probabilities, foreground, mask, annotated, pool_batch=self.batch_dice)
        return dice + cross_entropy_loss(logits, index, _IGNORE_INDEX)

    def _class_index(self, label: Tensor) -> Tensor:
        """The output channel of each voxel's value; of a value to be ignored, any."""
        values = self.labels.output_values
        if values == tuple(range(len(values))):
            return label
        index = torch.zeros(max(self.labels.declared_values) + 1, dtype=torch.long, device=label.device)
        index[list(values)] = torch.arange(len(values), device=label.device)
        return index[label]

    def _class_of_output(self, device: torch.device) -> Tensor:
        """For each output but background, the class in the order of the schema."""
        values = [entry.values[0] for entry in self.labels.classes]
        return torch.tensor([values.index(value) for value in self.labels.output_values[1:]], device=device)

    def _region_targets(self, label: Tensor) -> Tensor:
        regions = [torch.isin(label, torch.tensor(entry.values, device=label.device)) for entry in self.labels.classes]
        return torch.stack(regions, dim=1).float()


class DeepSupervision(nn.Module):
    """A loss on every output of a network, halving in weight with each coarser one.

    The weights are nnU-Net's: `1, 1/2, 1/4, ...`, the coarsest 0, normalised to sum 1; a single output weighs 1.
    Coarse targets are the label map sliced at the centres of the coarse voxels (its "nearest-exact").

    Args:
        loss: What to apply.
        output_strides: For each output, how much coarser than the label map it is on each axis.
    """

    def __init__(self, loss: SegmentationLoss, output_strides: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.loss = loss
        self.output_strides = [tuple(stride) for stride in output_strides]
        self.weights = deep_supervision_weights(len(self.output_strides))

    def forward(self, outputs: Sequence[Tensor], label: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Weighted sum over the outputs, the finest first; `label` is `(B, *spatial)` at full resolution.

        `annotated` is handed on (`SegmentationLoss.forward`).
        """
        total = torch.zeros((), device=label.device)
        for logits, stride, weight in zip(outputs, self.output_strides, self.weights, strict=False):
            if weight > 0:
                total = total + weight * self.loss(logits, label[_centres(stride)], annotated)
        return total


def _background_where_not_annotated(index: Tensor, annotated: Tensor) -> Tensor:
    """Output channels `(B, *spatial)`, 0 for those of the classes that `annotated` `(B, K)` leaves out."""
    outputs = torch.arange(1, annotated.shape[1] + 1, device=index.device) * annotated
    kept = torch.cat([torch.zeros_like(outputs[:, :1]), outputs], dim=1)
    # Voxels to be ignored may lie beyond; what they become does not matter.
    return kept.gather(1, index.clamp_max(annotated.shape[1]).flatten(1)).view_as(index)


def deep_supervision_weights(num_outputs: int) -> list[float]:
    """Weights of the outputs, the finest first."""
    raw = [0.5**index for index in range(num_outputs)]
    if num_outputs > 1:
        raw[-1] = 0.0
    return [weight / sum(raw) for weight in raw]


def _centres(stride: Sequence[int]) -> tuple[slice, ...]:
    return (slice(None), *(slice(step // 2, None, step) for step in stride))
