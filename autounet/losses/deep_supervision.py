"""A loss on every output of a network, not on the finest alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autounet.losses.segmentation import SegmentationLoss


class DeepSupervision(nn.Module):
    """A loss on every output of a network, halving in weight with each coarser one.

    The weights are nnU-Net's: `1, 1/2, 1/4, ...`, the coarsest 0, normalised to sum 1; a single output weighs 1.
    Coarse targets are the label map sliced at the centres of the coarse voxels (its "nearest-exact").

    Args:
        loss: What to apply.
        output_strides: For each output, how much coarser than the label map it is on each axis.
        weights: Of the outputs, where the network tells them; they are normalised to sum 1.
    """

    def __init__(
        self,
        loss: SegmentationLoss,
        output_strides: Sequence[Sequence[int]],
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.output_strides = [tuple(stride) for stride in output_strides]
        self.weights = deep_supervision_weights(len(self.output_strides))
        if weights is not None:
            self.weights = [weight / sum(weights) for weight in weights]

    def forward(
        self, outputs: Sequence[Tensor], label: Tensor, annotated: Tensor | None = None, maps: Tensor | None = None
    ) -> Tensor:
        """Weighted sum over the outputs, the finest first; `label` is `(B, *spatial)` at full resolution.

        `annotated` is handed on (`SegmentationLoss.forward`), and so are `maps`, sliced as the label is.
        """
        total = torch.zeros((), device=label.device)
        for logits, stride, weight in zip(outputs, self.output_strides, self.weights, strict=False):
            if weight > 0:
                centres = _centres(stride)
                coarse_maps = None if maps is None else maps[:, :, *centres]
                total = total + weight * self.loss(logits, label[:, *centres], annotated, coarse_maps)
        return total


def deep_supervision_weights(num_outputs: int) -> list[float]:
    """Weights of the outputs, the finest first."""
    raw = [0.5**index for index in range(num_outputs)]
    if num_outputs > 1:
        raw[-1] = 0.0
    return [weight / sum(raw) for weight in raw]


def _centres(stride: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(step // 2, None, step) for step in stride)
