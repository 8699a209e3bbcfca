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
        image, label = augmented(batch, device)
        image = image[self.replicas.part(size)].to(device, non_blocking=True)
        with self.precision.autocast(device):
            outputs = network(image)
        outputs = self.replicas.gather(outputs, size)
        annotated = None if batch.annotated is None else on_device(batch.annotated, device)
        maps = None if batch.maps is None else network.field(on_device(batch.maps, device))
        result: Tensor = self.loss(outputs, network.field(label), annotated, maps)
        return result


def augmented(batch: PatchBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Image `(B, C, *patch)` and label `(B, *patch)` of a batch, whose changes are made here if they still are to be.

    The label is on the device; the image too where it is changed there, all of it, as changes are drawn for all.
    """
    label = on_device(batch.label, device)
    if batch.pending is None:
        return torch.from_numpy(batch.image), label
    image, label = device_backend.apply(batch.pending, on_device(batch.image, device), label[:, None])
    return image, label[:, 0]


def on_device(array: Array, device: torch.device) -> Tensor:
    """An array as a tensor on a device."""
    return torch.from_numpy(array).to(device, non_blocking=True)
