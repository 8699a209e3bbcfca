"""What images are conditioned on: masks of the label map, and the names of the classes that it shows."""

from __future__ import annotations

import torch
from torch import Tensor

from autounet.labels import OUTSIDE, LabelSchema

# In place of the name of a class that is not there, and of all names where the condition is hidden.
NO_NAME = 0


def num_masks(labels: LabelSchema) -> int:
    """Channels of a condition: background, and one a class or region."""
    return 1 + labels.num_classes


def masks_of(label: Tensor, labels: LabelSchema) -> Tensor:
    """Label maps `(B, *spatial)` as masks `(B, M, *spatial)`, float32: background, then the classes in their order.

    Voxels of the ignore label and beyond the image are in no mask, so that they differ from background.
    """
    foreground = [torch.isin(label, label.new_tensor(entry.values)) for entry in labels.classes]
    background = ~torch.stack(foreground).any(dim=0) & (label != OUTSIDE)
    if labels.ignore_value is not None:
        background &= label != labels.ignore_value
    return torch.stack([background, *foreground], dim=1).float()


def names_of(masks: Tensor) -> Tensor:
    """The number of the name of each class `(B, K)` that masks `(B, 1 + K, *spatial)` show, from 1; 0 elsewhere."""
    present = masks[:, 1:].flatten(2).amax(dim=2) > 0
    return torch.where(present, torch.arange(1, present.shape[1] + 1, device=masks.device), NO_NAME)


def hidden(masks: Tensor, which: Tensor) -> Tensor:
    """Masks without those of some samples `(B,)`: all zero, which no label map gives."""
    return masks * (~which).reshape(-1, *(1,) * (masks.ndim - 1))
