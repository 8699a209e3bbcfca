"""What is minimised: a batch in, a loss out."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from autounet.augmentation import device as device_backend
from autounet.geometry import Array
from autounet.losses.deep_supervision import DeepSupervision
from autounet.networks.base import SegmentationNetwork
from autounet.training.precision import Precision
from autounet.training.replicas import Replicas
from autounet.training.sampling import PatchBatch


class Objective(Protocol):
    """A training objective, as the trainer sees it."""

    def __call__(self, network: SegmentationNetwork, batch: PatchBatch) -> Tensor:
        """The loss of a batch, with its graph."""


class SegmentationObjective:
    """A loss between the network's logits and the label map.

    Args:
        loss: Compares all outputs with the label map.
        precision: What the network computes in; the loss is in float32.
        replicas: This process among those that train together; each runs its part of the batch through the network.
    """

    def __init__(self, loss: DeepSupervision, precision: Precision, replicas: Replicas) -> None:
        self.loss = loss
        self.precision = precision
        self.replicas = replicas

    def __call__(self, network: SegmentationNetwork, batch: PatchBatch) -> Tensor:
        """The loss of a batch."""
        device, size = self.replicas.device, len(batch.image)
        image, label = self._augmented(batch)
        image = image[self.replicas.part(size)].to(device, non_blocking=True)
        with self.precision.autocast(device):
            outputs = network(image)
        outputs = self.replicas.gather(outputs, size)
        annotated = None if batch.annotated is None else self._on_device(batch.annotated)
        maps = None if batch.maps is None else network.field(self._on_device(batch.maps))
        result: Tensor = self.loss(outputs, network.field(label), annotated, maps)
        return result

    def _augmented(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """The label on the device; the image too where it is changed there, all of it, as changes are drawn for all."""
        label = self._on_device(batch.label)
        if batch.pending is None:
            return torch.from_numpy(batch.image), label
        image, label = device_backend.apply(batch.pending, self._on_device(batch.image), label[:, None])
        return image, label[:, 0]

    def _on_device(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self.replicas.device, non_blocking=True)
