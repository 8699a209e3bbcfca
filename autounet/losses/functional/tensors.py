"""What the losses share: precision, indicators, sums over voxels, means over what counts."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_single(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def one_hot(target: Tensor, num_classes: int) -> Tensor:
    """`(B, *spatial)` indices to `(B, num_classes, *spatial)` float32; indices out of range give all zeros."""
    classes = torch.arange(num_classes, device=target.device).view(1, -1, *(1,) * (target.ndim - 1))
    return (target.unsqueeze(1) == classes).float()


def over_voxels(pairs: Tensor, like: Tensor) -> Tensor:
    """`(B, K)` as `(B, K, 1, ...)`, with as many axes as `like`."""
    return pairs.view(*pairs.shape, *(1,) * (like.ndim - 2))


def class_sums(values: Tensor, annotated: Tensor | None, *, pool_batch: bool) -> Tensor:
    """Sums of `(B, K, *spatial)` over voxels, `(B, K)`; with `pool_batch` over annotated samples too, `(K,)`."""
    if annotated is not None and pool_batch:
        values = values * over_voxels(annotated, values)
    return values.sum((0, *range(2, values.ndim)) if pool_batch else tuple(range(2, values.ndim)))


def class_mean(losses: Tensor, annotated: Tensor | None, *, pool_batch: bool) -> Tensor:
    """Mean of the losses of each class, `(B, K)` or with `pool_batch` `(K,)`; see `soft_dice_loss` on `annotated`."""
    if annotated is None:
        return losses.mean()
    counts = annotated.any(0) if pool_batch else annotated
    return (losses * counts).sum() / counts.sum().clamp_min(1)


def mean_over(values: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of the values with these weights, zero where there are none.

    Args:
        values: Of any shape.
        weights: The same shape; bool for what counts, `None` for all alike.
    """
    if weights is None:
        return values.mean()
    return (values * weights).sum() / weights.sum().clamp_min(1e-8)
