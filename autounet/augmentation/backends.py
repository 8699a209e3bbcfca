"""Which backend carries a policy out, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autounet.errors import RequestError

BackendChoice = Literal["auto", "workers", "device"]


@dataclass(frozen=True)
class Backend:
    """The backend of a run.

    Attributes:
        on_device: Whether torch changes whole batches on the training device; else NumPy does beside the training.
        reason: A sentence for the user.
    """

    on_device: bool
    reason: str


def choose_backend(
    asked: BackendChoice, device_type: str, needs_maps: bool = False, is_cascade: bool = False
) -> Backend:
    """The backend asked for, or the one that keeps the bottleneck free.

    A rule and no measurement, because the choice decides the noise of every batch: two runs of one seed on one machine
    must be the same, whatever else the machine did while they began.

    Args:
        asked: `auto` decides by the device.
        device_type: `cuda`, `cpu` or `mps`.
        needs_maps: The loss has maps computed of augmented labels, which is done where NumPy makes batches.
        is_cascade: What an earlier stage found is changed too: its components are told apart, which torch cannot.

    Raises:
        RequestError: The device was asked for, and the loss needs maps, or this is a cascade.
    """
    if is_cascade and asked == "device":
        raise RequestError(
            "the second stage of a cascade is trained on changed predictions of the first, whose components torch "
            "cannot tell apart, so batches cannot be augmented on the device. Leave augmentation_backend at auto."
        )
    if needs_maps and asked == "device":
        raise RequestError(
            "the loss needs maps of the labels that are computed beside the training, after augmentation, so batches "
            "cannot be augmented on the device. Leave augmentation_backend at auto, or take another loss."
        )
    if needs_maps:
        return Backend(False, "batches are augmented by NumPy beside the training, where the loss' maps are computed")
    if is_cascade:
        return Backend(False, "batches are augmented by NumPy beside the training, where the first stage's are changed")
    if asked == "device":
        return Backend(True, "batches are augmented on the training device, as asked")
    if asked == "workers":
        return Backend(False, "batches are augmented by NumPy beside the training, as asked")
    if device_type == "cuda":
        return Backend(True, "batches are augmented on the GPU, which else would wait for the processors")
    if device_type == "cpu":
        return Backend(True, "batches are augmented in whole by torch, which takes less of the processors than NumPy")
    return Backend(
        False, f"batches are augmented by NumPy beside the training: {device_type} cannot interpolate volumes"
    )
