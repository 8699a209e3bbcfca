"""Losses as pure functions on tensors.

Shapes: `B` batch, `K` classes or regions, then the spatial axes. Masks are `(B, 1, *spatial)`, true where a voxel
counts. All sums run in float32, whatever the network computed in.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# nnU-Net's smoothing (`MemoryEfficientSoftDiceLoss`): decides the value only where a class is absent from both.
DICE_SMOOTH = 1e-5


def soft_dice_loss(
    probabilities: Tensor, target: Tensor, mask: Tensor | None = None, *, pool_batch: bool, smooth: float = DICE_SMOOTH
) -> Tensor:
    """One minus the mean soft Dice, in [0, 1].

    Dice of a class is `(2 sum(p g) + s) / (sum(p) + sum(g) + s)`: Milletari et al. 2016 without squares, as nnU-Net.

    Args:
        probabilities: `(B, K, *spatial)`, background left out by the caller.
        target: The same shape, 0 or 1.
        mask: `(B, 1, *spatial)`; voxels outside add nothing.
        pool_batch: Sum over the batch before dividing ("batch Dice"), else average over samples.
        smooth: `s` above.
    """
    probabilities, target = probabilities.float(), target.float()
    if mask is not None:
        probabilities, target = probabilities * mask, target * mask
    axes = (0, *range(2, probabilities.ndim)) if pool_batch else tuple(range(2, probabilities.ndim))
    intersection = (probabilities * target).sum(axes)
    total = probabilities.sum(axes) + target.sum(axes)
    return 1 - ((2 * intersection + smooth) / (total + smooth).clamp_min(1e-8)).mean()


def cross_entropy_loss(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Mean softmax cross-entropy over the voxels that count; zero where none does.

    Args:
        logits: `(B, K, *spatial)`.
        target: `(B, *spatial)` int64 class indices, `ignore_index` where a voxel does not count.
        ignore_index: The value to leave out.
    """
    total = F.cross_entropy(logits.float(), target, ignore_index=ignore_index, reduction="sum")
    return total / (target != ignore_index).sum().clamp_min(1)


def binary_cross_entropy_loss(logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean sigmoid cross-entropy over regions and the voxels that count.

    Args:
        logits: `(B, K, *spatial)`.
        target: The same shape, 0 or 1.
        mask: `(B, 1, *spatial)`; voxels outside add nothing.
    """
    if mask is None:
        return F.binary_cross_entropy_with_logits(logits.float(), target.float())
    losses = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none") * mask
    return losses.sum() / (mask.sum() * logits.shape[1]).clamp_min(1)


def one_hot(target: Tensor, num_classes: int) -> Tensor:
    """`(B, *spatial)` indices to `(B, num_classes, *spatial)` float32; indices out of range give all zeros."""
    classes = torch.arange(num_classes, device=target.device).view(1, -1, *(1,) * (target.ndim - 1))
    return (target.unsqueeze(1) == classes).float()
