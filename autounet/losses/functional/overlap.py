"""Losses that compare how much prediction and reference overlap: Dice, Tversky, generalised Dice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autounet.losses.functional.tensors import at_least_single, class_mean, class_sums

# nnU-Net's smoothing (`MemoryEfficientSoftDiceLoss`): decides the value only where a class is absent from both.
DICE_SMOOTH = 1e-5
# Below it a root's slope is cut off: at zero it is infinite.
_SMALLEST_ROOT = 1e-8


@dataclass(frozen=True)
class Overlap:
    """Sums over the voxels that count: of each class in each sample `(B, K)`, or pooled over the batch `(K,)`.

    Attributes:
        both: Of the products of probability and target: soft true positives.
        prediction: Of the probabilities.
        target: Voxels of the class.
    """

    both: Tensor
    prediction: Tensor
    target: Tensor


def overlap(
    probabilities: Tensor, target: Tensor, mask: Tensor | None, annotated: Tensor | None, *, pool_batch: bool
) -> Overlap:
    """The sums that all losses of this module are made of; arguments as of `soft_dice_loss`."""
    probabilities, target = at_least_single(probabilities), at_least_single(target)
    if mask is not None:
        probabilities, target = probabilities * mask, target * mask
    both, prediction, reference = (
        class_sums(values, annotated, pool_batch=pool_batch)
        for values in (probabilities * target, probabilities, target)
    )
    return Overlap(both, prediction, reference)


def soft_dice_loss(
    probabilities: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    annotated: Tensor | None = None,
    *,
    pool_batch: bool,
    smooth: float = DICE_SMOOTH,
    squared: bool = False,
) -> Tensor:
    """One minus the mean soft Dice, in [0, 1].

    Dice of a class is `(2 sum(p g) + s) / (sum(p) + sum(g) + s)`: Milletari et al. 2016 without squares, as nnU-Net;
    with them, `sum(p^2)` stands below.

    Args:
        probabilities: `(B, K, *spatial)`, background left out by the caller.
        target: The same shape, 0 or 1.
        mask: `(B, 1, *spatial)`; voxels outside add nothing.
        annotated: `(B, K)` bool; the mean is over annotated pairs of sample and class (with `pool_batch`, over the
            classes annotated in any sample, each summed over its samples), and 0 where there is none.
        pool_batch: Sum over the batch before dividing ("batch Dice"), else average over samples.
        smooth: `s` above.
        squared: Whether probabilities are squared below.
    """
    sums = overlap(probabilities, target, mask, annotated, pool_batch=pool_batch)
    predicted = sums.prediction
    if squared:
        predicted = overlap(probabilities.square(), target, mask, annotated, pool_batch=pool_batch).prediction
    dice = (2 * sums.both + smooth) / (predicted + sums.target + smooth).clamp_min(1e-8)
    return class_mean(1 - dice, annotated, pool_batch=pool_batch)


def tversky_loss(
    probabilities: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    annotated: Tensor | None = None,
    *,
    pool_batch: bool,
    alpha: float,
    beta: float,
    gamma: float = 1.0,
    smooth: float = DICE_SMOOTH,
) -> Tensor:
    """Mean over classes of `(1 - T)^(1 / gamma)`, in [0, 1].

    `T = (TP + s) / (TP + alpha FP + beta FN + s)` with soft counts is the Tversky index (Salehi et al. 2017, "Tversky
    loss function for image segmentation using 3D fully convolutional deep networks", eq. 3, with `alpha` on false
    positives); Dice where both are 1/2. Above 1, `gamma` stresses classes with small T (Abraham and Khan 2018, "A novel
    focal Tversky loss function with improved attention U-Net for lesion segmentation", eq. 4).

    Args:
        probabilities: And all that is not listed, as of `soft_dice_loss`.
        target: The same.
        mask: The same.
        annotated: The same.
        pool_batch: The same.
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        gamma: Focus.
        smooth: `s` above.
    """
    sums = overlap(probabilities, target, mask, annotated, pool_batch=pool_batch)
    false_positive, false_negative = sums.prediction - sums.both, sums.target - sums.both
    denominator = sums.both + alpha * false_positive + beta * false_negative + smooth
    losses = 1 - (sums.both + smooth) / denominator.clamp_min(1e-8)
    if gamma != 1:
        losses = losses.clamp_min(_SMALLEST_ROOT) ** (1 / gamma)
    return class_mean(losses, annotated, pool_batch=pool_batch)


def generalized_dice_loss(
    probabilities: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    annotated: Tensor | None = None,
    *,
    pool_batch: bool,
    smooth: float = DICE_SMOOTH,
) -> Tensor:
    """One minus the generalised Dice, in [0, 1]: `1 - 2 sum_k(w_k sum(p g)) / sum_k(w_k (sum(p) + sum(g)))`.

    `w_k = 1 / sum(g)^2`, so that small classes weigh as much as large ones (Sudre et al. 2017, "Generalised Dice
    overlap as a deep learning loss function for highly unbalanced segmentations", section 2.1). A class that is absent
    would weigh infinitely; it gets the largest weight of those present, as in the authors' NiftyNet. Weights are
    divided by the largest, which changes nothing but lets `smooth` mean what it means for Dice.

    Args:
        probabilities: `(B, K, *spatial)`; the paper counts background as a class.
        target: The same shape, 0 or 1.
        mask: `(B, 1, *spatial)`; voxels outside add nothing.
        annotated: `(B, K)` bool; a class not annotated is in neither sum, and a sample without any is left out.
        pool_batch: Sum over the batch before dividing, else average over samples.
        smooth: Added to both sums.
    """
    sums = overlap(probabilities, target, mask, annotated, pool_batch=pool_batch)
    present = sums.target > 0
    smallest = sums.target.masked_fill(~present, torch.inf).amin(-1, keepdim=True)
    weights = torch.where(present, (smallest / sums.target.clamp_min(1e-8)) ** 2, 1.0)
    counts = None if annotated is None else (annotated.any(0) if pool_batch else annotated)
    if counts is not None:
        weights = weights * counts
    both = 2 * (weights * sums.both).sum(-1) + smooth
    losses = 1 - both / ((weights * (sums.prediction + sums.target)).sum(-1) + smooth).clamp_min(1e-8)
    if counts is None:
        return losses.mean()
    known = counts.any(-1)
    return (losses * known).sum() / known.sum().clamp_min(1)
