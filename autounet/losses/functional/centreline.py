"""Losses of tubes by their centrelines: vessels, nerves, roads."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from autounet.losses.functional.tensors import at_least_single, class_mean, class_sums


def centreline_dice_loss(
    probabilities: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    annotated: Tensor | None = None,
    *,
    pool_batch: bool,
    num_iterations: int,
    smooth: float,
) -> Tensor:
    """One minus the mean soft clDice, in [0, 1].

    clDice is the harmonic mean of how much of the prediction's centreline lies in the reference and how much of the
    reference's lies in the prediction: `T = (sum(S_p g) + s) / (sum(S_p) + s)`, and the other way round (Shit et al.
    2021, "clDice - a novel topology-preserving loss function for tubular structure segmentation", eq. 1, 2 and
    algorithm 2).

    Args:
        probabilities: And all that is not listed, as of `soft_dice_loss`.
        target: The same.
        mask: The same.
        annotated: The same.
        pool_batch: The same.
        num_iterations: Of the skeleton: the largest radius of a tube, in voxels.
        smooth: `s` above.
    """
    probabilities, target = at_least_single(probabilities), at_least_single(target)
    skeleton, true_skeleton = (soft_skeleton(values, mask, num_iterations) for values in (probabilities, target))

    def share_inside(line: Tensor, body: Tensor) -> Tensor:
        inside, whole = (class_sums(values, annotated, pool_batch=pool_batch) for values in (line * body, line))
        return (inside + smooth) / (whole + smooth).clamp_min(1e-8)

    precision, sensitivity = share_inside(skeleton, target), share_inside(true_skeleton, probabilities)
    dice = 2 * precision * sensitivity / (precision + sensitivity).clamp_min(1e-8)
    return class_mean(1 - dice, annotated, pool_batch=pool_batch)


def soft_skeleton(values: Tensor, mask: Tensor | None, num_iterations: int) -> Tensor:
    """Centrelines of bodies in `(B, K, *spatial)` of values in [0, 1], themselves in [0, 1].

    Shit et al. 2021, algorithm 1: after each erosion, what an opening would take away is a part of the skeleton.
    Erosion is by the cross of face neighbours, dilation by the whole 3 x 3 (x 3) block, as in the authors' code.

    Args:
        values: Soft indicators.
        mask: `(B, 1, *spatial)`; what lies outside neither erodes nor grows, and is no skeleton.
        num_iterations: Erosions.
    """
    skeleton = torch.zeros_like(values)
    for _ in range(num_iterations + 1):
        # An iteration leaves ten times more for the backward pass than goes into it, and is quickly done again.
        values, skeleton = checkpoint(_peeled, values, skeleton, mask, use_reentrant=False, preserve_rng_state=False)
    return skeleton if mask is None else skeleton * mask


def _peeled(values: Tensor, skeleton: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The eroded values, and the skeleton with what an opening takes away."""
    eroded = _eroded(values, mask)
    taken = F.relu(values - _dilated(eroded, mask))
    return eroded, skeleton + (1 - skeleton) * taken


def _eroded(values: Tensor, mask: Tensor | None) -> Tensor:
    """The least of each voxel and its face neighbours; beyond the edges there is nothing."""
    negative = -(values if mask is None else values.masked_fill(~mask, 1.0))
    num_axes = values.ndim - 2
    windows = [[3 if other == axis else 1 for other in range(num_axes)] for axis in range(num_axes)]
    return -functools.reduce(torch.maximum, (_max_pool(negative, window) for window in windows))


def _dilated(values: Tensor, mask: Tensor | None) -> Tensor:
    values = values if mask is None else values.masked_fill(~mask, 0.0)
    return _max_pool(values, [3] * (values.ndim - 2))


def _max_pool(values: Tensor, window: list[int]) -> Tensor:
    pool = F.max_pool2d if values.ndim == 4 else F.max_pool3d
    return pool(values, window, stride=1, padding=[edge // 2 for edge in window])
