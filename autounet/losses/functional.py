"""Losses as pure functions on tensors.

Shapes: `B` batch, `K` classes or regions, then the spatial axes. Masks are `(B, 1, *spatial)`, true where a voxel
counts. All sums run in float32, whatever the network computed in (in float64 where that is given).

Where not every class was annotated in every sample, `annotated` is `(B, K)`, true where class and sample go together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# nnU-Net's smoothing (`MemoryEfficientSoftDiceLoss`): decides the value only where a class is absent from both.
DICE_SMOOTH = 1e-5


def soft_dice_loss(
    probabilities: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    annotated: Tensor | None = None,
    *,
    pool_batch: bool,
    smooth: float = DICE_SMOOTH,
) -> Tensor:
    """One minus the mean soft Dice, in [0, 1].

    Dice of a class is `(2 sum(p g) + s) / (sum(p) + sum(g) + s)`: Milletari et al. 2016 without squares, as nnU-Net.

    Args:
        probabilities: `(B, K, *spatial)`, background left out by the caller.
        target: The same shape, 0 or 1.
        mask: `(B, 1, *spatial)`; voxels outside add nothing.
        annotated: `(B, K)` bool; the mean is over annotated pairs of sample and class (with `pool_batch`, over the
            classes annotated in any sample, each summed over its samples), and 0 where there is none.
        pool_batch: Sum over the batch before dividing ("batch Dice"), else average over samples.
        smooth: `s` above.
    """
    probabilities, target = at_least_single(probabilities), at_least_single(target)
    if mask is not None:
        probabilities, target = probabilities * mask, target * mask
    if annotated is not None and pool_batch:
        weights = _over_voxels(annotated, probabilities)
        probabilities, target = probabilities * weights, target * weights
    axes = (0, *range(2, probabilities.ndim)) if pool_batch else tuple(range(2, probabilities.ndim))
    intersection = (probabilities * target).sum(axes)
    total = probabilities.sum(axes) + target.sum(axes)
    dice = (2 * intersection + smooth) / (total + smooth).clamp_min(1e-8)
    if annotated is None:
        return 1 - dice.mean()
    counts = annotated.any(0) if pool_batch else annotated
    return ((1 - dice) * counts).sum() / counts.sum().clamp_min(1)


def cross_entropy_loss(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Mean softmax cross-entropy over the voxels that count; zero where none does.

    Args:
        logits: `(B, K, *spatial)`.
        target: `(B, *spatial)` int64 class indices, `ignore_index` where a voxel does not count.
        ignore_index: The value to leave out.
    """
    total = F.cross_entropy(at_least_single(logits), target, ignore_index=ignore_index, reduction="sum")
    return total / (target != ignore_index).sum().clamp_min(1)


def marginal_logits(logits: Tensor, annotated: Tensor) -> Tensor:
    """Logits in which background stands for itself and for every class that was not annotated.

    Where a class was not annotated, its voxels are labelled background: all that the label tells is that one of them
    is right. The probability of that is the sum of theirs (marginal loss of Shi et al. 2021, "Marginal loss and
    exclusion loss for partially supervised multi-organ segmentation"), so background's logit becomes the logarithm
    of the sum of their exponentials, and theirs minus infinity; all other probabilities stay as they are.

    Args:
        logits: `(B, 1 + K, *spatial)`, background first.
        annotated: `(B, K)` bool.
    """
    background, foreground = logits[:, :1], logits[:, 1:]
    known = _over_voxels(annotated, logits)
    merged = torch.cat([background, foreground.masked_fill(known, -torch.inf)], dim=1).logsumexp(1, keepdim=True)
    return torch.cat([merged, foreground.masked_fill(~known, -torch.inf)], dim=1)


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
    logits = at_least_single(logits)
    target = target.to(logits.dtype)
    if mask is None and annotated is None:
        return F.binary_cross_entropy_with_logits(logits, target)
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if annotated is None:
        assert mask is not None
        return (losses * mask).sum() / (mask.sum() * logits.shape[1]).clamp_min(1)
    counts = _over_voxels(annotated, logits) & (torch.ones_like(logits, dtype=torch.bool) if mask is None else mask)
    return (losses * counts).sum() / counts.sum().clamp_min(1)


def one_hot(target: Tensor, num_classes: int) -> Tensor:
    """`(B, *spatial)` indices to `(B, num_classes, *spatial)` float32; indices out of range give all zeros."""
    classes = torch.arange(num_classes, device=target.device).view(1, -1, *(1,) * (target.ndim - 1))
    return (target.unsqueeze(1) == classes).float()


def at_least_single(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _over_voxels(pairs: Tensor, like: Tensor) -> Tensor:
    """`(B, K)` as `(B, K, 1, ...)`, with as many axes as `like`."""
    return pairs.view(*pairs.shape, *(1,) * (like.ndim - 2))
