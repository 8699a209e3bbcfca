"""What is minimised: a batch in, a loss out."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from autounet.geometry import Array
from autounet.losses.deep_supervision import DeepSupervision
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
        image, label = self._on_device(batch.image), self._on_device(batch.label)
        with self.precision.autocast(self.device):
            outputs = network(image)
        annotated = None if batch.annotated is None else self._on_device(batch.annotated)
        maps = None if batch.maps is None else self._on_device(batch.maps)
        result: Tensor = self.loss(outputs, label, annotated, maps)
        return result

    def _on_device(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)
