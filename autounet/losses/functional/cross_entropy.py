"""Cross-entropy voxel by voxel, for softmax and for sigmoids, and made of it: focal, hardest voxels, balance."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from autounet.losses.functional.tensors import at_least_single, mean_over, over_voxels

# Below it a power's slope is cut off, which for exponents under one is infinite at zero.
_SMALLEST_BASE = 1e-8
# A tenth of thirty is three, and not four because of the last bit.
_ROUNDING = 1e-6


def cross_entropy_map(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Softmax cross-entropy of each voxel, `(B, 1, *spatial)`; zero, without a gradient, where it does not count.

    Args:
        logits: `(B, K, *spatial)`.
        target: `(B, *spatial)` int64 class indices, `ignore_index` where a voxel does not count.
        ignore_index: The value to leave out.
    """
    losses = F.cross_entropy(at_least_single(logits), target, ignore_index=ignore_index, reduction="none")
    return losses.unsqueeze(1)


def binary_cross_entropy_map(logits: Tensor, target: Tensor) -> Tensor:
    """Sigmoid cross-entropy of each voxel and region, `(B, K, *spatial)`, of logits and targets of that shape."""
    logits = at_least_single(logits)
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")


def counted(losses: Tensor, mask: Tensor | None, annotated: Tensor | None) -> Tensor | None:
    """Which of the losses `(B, K, *spatial)` count, as bool of that shape; `None` where all do.

    Args:
        losses: For their shape.
        mask: `(B, 1, *spatial)`.
        annotated: `(B, K)`.
    """
    if annotated is None:
        return None if mask is None else mask.expand_as(losses)
    pairs = over_voxels(annotated, losses).expand_as(losses)
    return pairs if mask is None else pairs & mask


def cross_entropy_loss(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Mean softmax cross-entropy over the voxels that count; zero where none does. Arguments: `cross_entropy_map`."""
    return mean_over(cross_entropy_map(logits, target, ignore_index), (target != ignore_index).unsqueeze(1))


def binary_cross_entropy_loss(
    logits: Tensor, target: Tensor, mask: Tensor | None = None, annotated: Tensor | None = None
) -> Tensor:
    """Mean sigmoid cross-entropy over regions and the voxels that count.

    Args:
        logits: `(B, K, *spatial)`.
        target: The same shape, 0 or 1.
        mask: `(B, 1, *spatial)`; voxels outside add nothing.
        annotated: `(B, K)` bool; regions that were not annotated in a sample add nothing there.
    """
    losses = binary_cross_entropy_map(logits, target)
    return mean_over(losses, counted(losses, mask, annotated))


def focal_map(losses: Tensor, positive: Tensor, *, gamma: float, alpha: float | None) -> Tensor:
    """Focal loss of each voxel, `-a (1 - p)^gamma log(p)` with `p` the probability of what is right.

    Lin et al. 2017, "Focal loss for dense object detection", eq. 5; with softmax, `p` is the right class's.

    Args:
        losses: Cross-entropy of each voxel, `-log(p)`, of any shape.
        positive: Whether it is foreground; the same shape.
        gamma: Focus: how much voxels that are well classified lose in weight.
        alpha: `a` is it on foreground and `1 - alpha` on background; `None` for no balance.
    """
    wrong = -torch.expm1(-losses)  # 1 - p, exact where p is nearly one
    focal = losses * wrong.clamp_min(_SMALLEST_BASE) ** gamma
    return focal if alpha is None else focal * torch.where(positive, alpha, 1 - alpha)


def hardest_mean(losses: Tensor, counts: Tensor | None, share: float) -> Tensor:
    """Mean of the largest losses, rounded up to at least one: those with which learning is not done yet.

    Wu et al. 2016, "Bridging category-level and instance-level semantic image segmentation", section 3 (online
    bootstrapping). Over the whole batch, as nnU-Net's `TopKLoss`.

    Args:
        losses: `(B, K, *spatial)`.
        counts: Which of them count, as `counted` tells.
        share: Of those that count, in (0, 1].
    """
    # So many for each sample that there are enough whatever the mask.
    num_hardest = losses.shape[0] * _rounded_up(share * math.prod(losses.shape[1:]))
    if counts is None:
        return losses.flatten().topk(num_hardest).values[: _rounded_up(share * losses.numel())].mean()
    hardest = losses.masked_fill(~counts, -1.0).flatten().topk(num_hardest).values
    # How many count is known on the device only, and asking for it would wait for all that was queued there.
    kept = torch.arange(num_hardest, device=losses.device) < torch.ceil(counts.sum() * share - _ROUNDING)
    return mean_over(hardest, kept)


def balanced_weights(numbers: Tensor) -> Tensor:
    """Weights with which all classes that are present weigh alike, and a voxel 1 in the mean; 0 for absent ones.

    `N / (C n)` for `n` of `N` voxels and `C` classes present: scikit-learn's "balanced".

    Args:
        numbers: `(C, ...)`, how many voxels each class has.
    """
    present = numbers > 0
    weights = numbers.sum(0) / (present.sum(0) * numbers).clamp_min(1)
    return torch.where(present, weights, 0.0)


def _rounded_up(number: float) -> int:
    return math.ceil(number - _ROUNDING)
