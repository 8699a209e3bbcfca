"""Losses of tubes by their centrelines: vessels, nerves, roads."""

from __future__ import annotations

import functools
from typing import Any

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
    return -functools.reduce(torch.maximum, (_largest_of_three(negative, axis) for axis in range(2, values.ndim)))


def _dilated(values: Tensor, mask: Tensor | None) -> Tensor:
    """The largest of each voxel and all its neighbours."""
    values = values if mask is None else values.masked_fill(~mask, 0.0)
    return functools.reduce(_largest_of_three, range(2, values.ndim), values)


def _largest_of_three(values: Tensor, axis: int) -> Tensor:
    """Of each voxel and its two neighbours along an axis."""
    if values.shape[axis] == 1:
        return values
    result: Tensor = _LargestOfThree.apply(values, axis)  # type: ignore[no-untyped-call]
    return result


class _LargestOfThree(torch.autograd.Function):
    """Max pooling in a window of three; twice as fast on a CPU as PyTorch's, and without its indices."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, axis: int) -> Tensor:
        """Contiguous, so that what follows is too."""
        last = values.shape[axis] - 1
        result = values.clone(memory_format=torch.contiguous_format)
        for place, neighbour in ((1, 0), (0, 1)):
            so_far = result.narrow(axis, place, last)
            so_far.copy_(torch.maximum(so_far, values.narrow(axis, neighbour, last)))
        ctx.save_for_backward(values, result)
        ctx.axis, ctx.last = axis, last
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """To the voxel itself if it is the largest, else to the neighbour that is."""
        (values, result), axis, last = ctx.saved_tensors, ctx.axis, ctx.last
        left = gradient * (values != result)
        total = gradient - left
        for place, neighbour in ((1, 0), (0, 1)):
            from_here = left.narrow(axis, place, last)
            is_source = values.narrow(axis, neighbour, last) == result.narrow(axis, place, last)
            given = from_here * is_source
            total.narrow(axis, neighbour, last).add_(given)
            from_here.sub_(given)
        return total, None
