"""How much memory a training step of any network takes, and how much it computes: measured, not estimated by rule.

The network is built and trained for one step on the meta device, which has shapes and no numbers, so that this takes
milliseconds whatever the size. PyTorch's own autograd decides what is kept for the backward pass and when it is freed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from autounet.labels import LabelSchema
from autounet.losses.deep_supervision import DeepSupervision
from autounet.losses.options import build_loss
from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork
from autounet.planners.recorder import PRIME_BATCH, HalfPrecision, Moment, StepRecorder


@dataclass(frozen=True)
class TrainingCost:
    """What one training step takes at one patch size, for any batch size.

    Attributes:
        num_parameters: Of the network.
        parameter_bytes: Its weights, in float32.
        optimizer_bytes: What the optimiser keeps, and averaged weights.
        activation_bytes_per_sample: What the forward pass leaves behind for the backward pass, image and label counted.
        moments: Bytes whatever the batch, weights and optimiser counted, and bytes a sample: of those moments of the
            step at which its use of memory peaks, for one batch size or another.
        flops_per_sample: Twice the multiply-adds of all convolutions and matrix products, forward and backward.
    """

    num_parameters: int
    parameter_bytes: int
    optimizer_bytes: int
    activation_bytes_per_sample: int
    moments: tuple[Moment, ...]
    flops_per_sample: int

    def memory_bytes(self, batch_size: int, voxel_ratio: float = 1.0) -> int:
        """Bytes at the peak of a step.

        Args:
            batch_size: Patches a batch.
            voxel_ratio: Voxels of the patch in question over those of the patch that was measured: all that a sample
                takes grows with its voxels, if the network stays the same.
        """
        return max(fixed + batch_size * math.ceil(sample * voxel_ratio) for fixed, sample in self.moments)

    def largest_batch(self, memory_bytes: int, voxel_ratio: float = 1.0) -> int:
        """The largest batch size that fits into so many bytes; 0 where none does. Arguments as for `memory_bytes`."""
        if memory_bytes < max(fixed for fixed, _ in self.moments):
            return 0
        room = [(memory_bytes - fixed) // math.ceil(sample * voxel_ratio) for fixed, sample in self.moments if sample]
        return min(room)


def training_cost(
    network: NetworkPlan,
    patch_size: Sequence[int],
    *,
    num_channels: int,
    labels: LabelSchema,
    batch_dice: bool,
    half_precision: bool = False,
    loss: str = "dice_ce",
    num_optimizer_states: int = 2,
    partially_annotated: bool = False,
) -> TrainingCost:
    """Measure a training step with deep supervision, as the trainer makes it.

    Deviations: a convolution may work with more memory than the copies counted. cuDNN's fastest algorithms do on a GPU;
    on a CPU oneDNN does for each of its threads, in bfloat16, and in 3D where a feature map is narrower than the
    kernel. The optimiser's update is taken to work in place, as the fused ones do. Memory that the device's driver and
    its allocator keep to themselves is not counted.

    Args:
        network: Its plan.
        patch_size: What it sees at once, `(z, y, x)` or `(y, x)`.
        num_channels: Image channels.
        labels: What the label values mean.
        batch_dice: Whether the Dice loss pools over the batch.
        half_precision: Whether the network runs in bfloat16 or float16 by autocast; weights and their gradients stay in
            float32, and there are half-precision copies of the weights until they were used for the last time.
        loss: As `autounet.losses.options.build_loss` takes it.
        num_optimizer_states: Numbers kept for each weight besides the weight and its gradient: one for momentum, two
            for Adam, one more for averaged weights.
        partially_annotated: Whether the loss is told which classes were annotated in which sample; to leave some out
            takes memory.

    Returns:
        The cost; measured once for the same arguments.

    Raises:
        RequestError: There is no such network or loss.
    """
    return _measured(
        network,
        tuple(patch_size),
        num_channels,
        labels,
        batch_dice,
        half_precision,
        loss,
        num_optimizer_states,
        partially_annotated,
    )


@functools.lru_cache(maxsize=1024)
def _measured(
    plan: NetworkPlan,
    patch_size: tuple[int, ...],
    num_channels: int,
    labels: LabelSchema,
    batch_dice: bool,
    half_precision: bool,
    loss: str,
    num_optimizer_states: int,
    partially_annotated: bool,
) -> TrainingCost:
    recorder = StepRecorder()
    with recorder, torch.enable_grad():
        with torch.device("meta"):
            network = NETWORKS.find(plan.name)(plan, num_channels, labels.num_outputs)
        assert plan.takes(patch_size), f"patch {patch_size} does not fit {plan.name}"
        network.deep_supervision = True
        criterion = DeepSupervision(
            build_loss(loss, labels, batch_dice=batch_dice), network.output_strides, network.output_weights
        )
        num_told = labels.num_classes if partially_annotated else None
        value = _forward(network, criterion, patch_size, num_channels, half_precision, num_told)
        _, kept_per_sample = recorder.in_use
        value.backward()
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    parameter_bytes = sum(parameter.nbytes for parameter in network.parameters())
    optimizer_bytes = num_optimizer_states * parameter_bytes
    return TrainingCost(
        num_parameters=num_parameters,
        parameter_bytes=parameter_bytes,
        optimizer_bytes=optimizer_bytes,
        activation_bytes_per_sample=kept_per_sample,
        moments=upper_hull((fixed + optimizer_bytes, sample) for fixed, sample in recorder.moments),
        flops_per_sample=recorder.flops_per_sample,
    )


def _forward(
    network: SegmentationNetwork,
    criterion: DeepSupervision,
    patch_size: tuple[int, ...],
    num_channels: int,
    half_precision: bool,
    num_told: int | None,
) -> Tensor:
    """The loss of a batch. Its tensors live as long as in the trainer: to the end of this function, or of their use.

    `num_told` classes are told apart by whether they were annotated; `None` where all were.
    """
    image = torch.empty(PRIME_BATCH, num_channels, *patch_size, device="meta")
    label_size = [size - 2 * halo for size, halo in zip(patch_size, network.halo, strict=True)]
    label = torch.empty(PRIME_BATCH, *label_size, dtype=torch.int16, device="meta")
    made = criterion.loss.label_maps((1.0,) * len(patch_size))
    maps = None if made is None else torch.empty(PRIME_BATCH, made.num_maps, *label_size, device="meta")
    with HalfPrecision() if half_precision else nullcontext():
        outputs = network(image)
    told = None if num_told is None else torch.empty(PRIME_BATCH, num_told, dtype=torch.bool, device="meta")
    value: Tensor = criterion(outputs, label, told, maps)
    return value


def upper_hull(lines: Iterable[Moment]) -> tuple[Moment, ...]:
    """The lines `fixed + slope x` that are the highest somewhere at `x >= 0`, in the order in which they are."""
    hull: list[Moment] = []
    for fixed, slope in sorted(lines, key=lambda line: (line[1], line[0])):
        # Steeper than all before, a line ends up above them; those go that it passes before they rise above the rest.
        while hull and (fixed >= hull[-1][0] or _is_hidden(hull, fixed, slope)):
            hull.pop()
        hull.append((fixed, slope))
    return tuple(hull)


def _is_hidden(hull: Sequence[Moment], fixed: int, slope: int) -> bool:
    """Whether the last line is nowhere above both the one before it and a steeper one."""
    if len(hull) < 2:
        return False
    (first_fixed, first_slope), (last_fixed, last_slope) = hull[-2:]
    passes_first = (first_fixed - fixed) * (last_slope - first_slope)
    return passes_first <= (first_fixed - last_fixed) * (slope - first_slope)
