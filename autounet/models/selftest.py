"""A small input and what the network made of it when it was stored, to see whether it still does elsewhere.

The input is made up, so that no patient's image travels with a model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.models.integrity import SELF_TEST
from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.plans import Configuration
from autounet.records import Record
from autounet.training.checkpoint import load_tensors, save_tensors

_SEED = 20
_SHORTEST_EDGE = 24
_LONGEST_SAMPLE = 65_536
_BLOB_VOXELS = 6
_NOISE = 0.3
# TensorFloat-32 and other orders of summation stay below this; a wrong weight or layer does not.
_TOLERANCE = 0.02


class SelfTest(Record):
    """What came of the stored input.

    Attributes:
        label_sha256: Of the label map, one byte or two a voxel; `None` where nothing is segmented.
        logits_mean: Of each output.
        logits_std: Of each output.
        tolerance: Largest difference of a logit that is no fault, as a share of its output's standard deviation.
    """

    label_sha256: str | None
    logits_mean: tuple[float, ...]
    logits_std: tuple[float, ...]
    tolerance: float = Field(_TOLERANCE, gt=0)


@dataclass(frozen=True)
class SelfTestResult:
    """How a network answers compared with when it was stored.

    Attributes:
        deviation: Largest difference of a logit, as a share of its output's standard deviation.
        tolerance: What it may be.
        same_label: Whether the label map is the same, voxel by voxel; `None` where there is none.
    """

    deviation: float
    tolerance: float
    same_label: bool | None

    @property
    def agrees(self) -> bool:
        """Whether the network is as it was."""
        return self.deviation <= self.tolerance

    @property
    def sentence(self) -> str:
        """The verdict in a line."""
        verdict = "agrees" if self.agrees else "DEVIATES"
        labels = {True: "; the label map is the same", False: "; the label map is another", None: ""}
        told = f"logits differ by {self.deviation:.2g} of their spread ({self.tolerance:g} allowed)"
        return f"{verdict}: {told}{labels[self.same_label]}"


def write_self_test(
    fold: Path,
    network: SegmentationNetwork,
    configuration: Configuration,
    *,
    num_inputs: int,
    num_channels: int,
    labels: LabelSchema | None,
) -> SelfTest:
    """Make up an input, predict it, and store both.

    Args:
        fold: Where to store.
        network: As it will predict.
        configuration: What the network was trained as.
        num_inputs: Channels that it takes.
        num_channels: Those of them that are images, the first; the others are masks.
        labels: What its outputs mean; `None` where it segments nothing.
    """
    image = _made_up(num_inputs, num_channels, _size(configuration.network, configuration.patch_size))
    logits = _logits(network, image)
    sample = _sample(logits)
    save_tensors(fold / SELF_TEST, {"image": image, "logits": sample}, {"format": "autounet self-test"})
    flat = logits.flatten(1)
    return SelfTest(
        label_sha256=None if labels is None else _label_digest(logits, labels),
        logits_mean=tuple(flat.mean(1).tolist()),
        logits_std=tuple(flat.std(1).tolist()),
    )


def run_self_test(fold: Path, expected: SelfTest, network: SegmentationNetwork, labels: LabelSchema) -> SelfTestResult:
    """Predict the stored input again and compare.

    Raises:
        RequestError: The stored input is missing or damaged.
    """
    tensors, _ = load_tensors(fold / SELF_TEST)
    if tensors.keys() != {"image", "logits"}:
        raise RequestError(f"{fold / SELF_TEST} holds {', '.join(tensors)}, not an image and logits. Copy it again.")
    logits = _logits(network, tensors["image"])
    spread = torch.tensor(expected.logits_std).clamp_min(torch.finfo(torch.float32).eps)
    sample = _sample(logits)
    if sample.shape != tensors["logits"].shape:
        raise RequestError(f"{fold / SELF_TEST} is that of another network. Copy the model folder again.")
    # Compared so that NaN counts as a deviation.
    difference = ((sample - tensors["logits"]).abs() / spread[:, None]).nan_to_num(torch.inf)
    return SelfTestResult(
        deviation=float(difference.max()),
        tolerance=expected.tolerance,
        same_label=None if expected.label_sha256 is None else _label_digest(logits, labels) == expected.label_sha256,
    )


def _size(network: NetworkPlan, patch: tuple[int, ...]) -> tuple[int, ...]:
    """Of a patch that is cut to what every resolution needs to have some voxels."""
    short = network.legal_size([_SHORTEST_EDGE + 2 * halo for halo in network.halo])
    return tuple(map(max, network.smallest_size, map(min, patch, short)))


def _made_up(num_inputs: int, num_image_channels: int, size: tuple[int, ...]) -> Tensor:
    """Blobs and noise `(C, *size)` of the normal distribution, and blobs of ones for masks."""
    generator = torch.Generator().manual_seed(_SEED)
    coarse = [max(2, edge // _BLOB_VOXELS) for edge in size]
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    blobs = F.interpolate(torch.randn(1, num_inputs, *coarse, generator=generator), size=list(size), mode=mode)[0]
    blobs = blobs + _NOISE * torch.randn(blobs.shape, generator=generator)
    blobs[num_image_channels:] = (blobs[num_image_channels:] > 1).float()
    return blobs


@torch.inference_mode()
def _logits(network: SegmentationNetwork, image: Tensor) -> Tensor:
    """`(K, *size)` on the CPU, float32."""
    device = next(network.parameters()).device
    logits: Tensor = network(image[None].to(device))[0][0]
    return logits.float().cpu()


def _sample(logits: Tensor) -> Tensor:
    """Some voxels `(K, num_voxels)`, evenly spread."""
    flat = logits.flatten(1)
    step = max(1, -(-flat.numel() // _LONGEST_SAMPLE))
    return flat[:, ::step].contiguous()


def _label_digest(logits: Tensor, labels: LabelSchema) -> str:
    return hashlib.sha256(labels.segmentation(logits.numpy()).tobytes()).hexdigest()
