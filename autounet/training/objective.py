"""What is minimised: a batch in, a loss out."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from autounet.augmentation import device as device_backend
from autounet.augmentation.patches import BatchParameters
from autounet.losses.compound import DeepSupervision
from autounet.networks.blocks import SegmentationNetwork
from autounet.training.precision import Precision
from autounet.training.sampling import PatchBatch


class Objective(Protocol):
    """A training objective, as the trainer sees it."""

    def __call__(self, network: SegmentationNetwork, batch: PatchBatch) -> Tensor:
        """The loss of a batch, with its graph."""


class SegmentationObjective:
    """A loss between the network's logits and the label map.

    Args:
        loss: Compares all outputs with the label map.
        device: Where to compute.
        precision: What the network computes in; the loss is in float32.
    """

    def __init__(self, loss: DeepSupervision, device: torch.device, precision: Precision) -> None:
        self.loss = loss
        self.device = device
        self.precision = precision

    def __call__(self, network: SegmentationNetwork, batch: PatchBatch) -> Tensor:
        """The loss of a batch."""
        image = torch.from_numpy(batch.image).to(self.device, non_blocking=True)
        label = torch.from_numpy(batch.label).to(self.device, non_blocking=True)
        if batch.pending is not None:
            image, label = _augmented(batch.pending, image, label)
        with self.precision.autocast(self.device):
            outputs = network(image)
        annotated = None if batch.annotated is None else torch.from_numpy(batch.annotated).to(self.device)
        result: Tensor = self.loss(outputs, label, annotated)
        return result


def _augmented(pending: BatchParameters, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    image, label = device_backend.apply(pending, image, label[:, None])
    return image, label[:, 0]
