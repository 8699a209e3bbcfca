"""Losses of single voxels: cross-entropy, focal, hardest voxels, U-Net's weighted one, and their sums with Dice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autounet.labels import LabelSchema
from autounet.losses.functional.cross_entropy import balanced_weights, focal_map, hardest_mean
from autounet.losses.functional.overlap import DICE_SMOOTH
from autounet.losses.functional.tensors import mean_over
from autounet.losses.label_maps import GapWeights, LabelMaps
from autounet.losses.overlap import Dice
from autounet.losses.segmentation import SegmentationLoss, require
from autounet.losses.targets import Targets

# nnU-Net's `Topk10Loss`.
_HARDEST_PERCENT = 10.0


class CrossEntropy(SegmentationLoss):
    """Mean cross-entropy of the voxels: of the softmax, or binary of each region.

    Args:
        labels: What the values mean.
        batch_dice: Without effect.
        class_weights: One for each foreground class, in the order of `dataset.json`; background weighs 1. With regions,
            of voxels in and outside alike.
    """

    def __init__(
        self, labels: LabelSchema, *, batch_dice: bool, class_weights: tuple[float, ...] | None = None
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice)
        if class_weights is not None:
            rule = f"one number of 0 or more for each of the {labels.num_classes} classes, as 1/2/1"
            fits = len(class_weights) == labels.num_classes and min(class_weights) >= 0
            require(fits, "class_weights", class_weights, rule)
        self.class_weights = class_weights

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        if self.class_weights is None:
            return mean_over(given.cross_entropy, given.counts)
        of_outputs = [self.class_weights[index] for index in self.labels.class_of_output]
        return mean_over(given.cross_entropy, _counted(_class_weights(given, of_outputs), given))


class DiceCrossEntropy(Dice):
    """Soft Dice of the foreground plus cross-entropy, one to one: nnU-Net's loss (its `compound_losses.py`).

    Regions use sigmoids: binary cross-entropy and Dice of every region. Classes that were not annotated are united
    with background (`marginal_logits`); regions that were not are left out.

    Args:
        labels: What the values mean.
        batch_dice: Pool Dice over the batch.
        dice_weight: Of Dice.
        ce_weight: Of cross-entropy.
        smooth: Of Dice.
    """

    def __init__(
        self,
        labels: LabelSchema,
        *,
        batch_dice: bool,
        dice_weight: float = 1.0,
        ce_weight: float = 1.0,
        smooth: float = DICE_SMOOTH,
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice, smooth=smooth)
        require(dice_weight >= 0, "dice_weight", dice_weight, "0 or more")
        require(ce_weight >= 0, "ce_weight", ce_weight, "0 or more")
        self.dice_weight, self.ce_weight = dice_weight, ce_weight

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        return self.dice_weight * super().compare(given) + self.ce_weight * self.voxelwise(given)

    def voxelwise(self, given: Targets) -> Tensor:
        """What is added to Dice."""
        return mean_over(given.cross_entropy, given.counts)


class Focal(SegmentationLoss):
    """Focal loss (`focal_map`): cross-entropy in which voxels that are well classified hardly count.

    Args:
        labels: What the values mean.
        batch_dice: Without effect.
        gamma: Focus; with 2, Lin et al. 2017 found 0.25 the best `alpha`.
        alpha: Weight of foreground, against `1 - alpha` of background; `none` for no balance.
    """

    def __init__(
        self, labels: LabelSchema, *, batch_dice: bool, gamma: float = 2.0, alpha: float | None = 0.25
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice)
        require(gamma >= 0, "gamma", gamma, "0 or more")
        require(alpha is None or 0 < alpha < 1, "alpha", alpha, "between 0 and 1, or none")
        self.gamma, self.alpha = gamma, alpha

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        losses = focal_map(given.cross_entropy, given.positive, gamma=self.gamma, alpha=self.alpha)
        return mean_over(losses, given.counts)


class TopK(SegmentationLoss):
    """Mean cross-entropy of the hardest voxels of a batch (`hardest_mean`).

    Args:
        labels: What the values mean.
        batch_dice: Without effect.
        k: Per cent of the voxels that count; 10 as nnU-Net's variant.
    """

    def __init__(self, labels: LabelSchema, *, batch_dice: bool, k: float = _HARDEST_PERCENT) -> None:
        super().__init__(labels, batch_dice=batch_dice)
        require(0 < k <= 100, "k", k, "a percentage above 0")
        self.k = k

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        return hardest_mean(given.cross_entropy, given.counts, self.k / 100)


class DiceTopK(DiceCrossEntropy):
    """Soft Dice plus the mean cross-entropy of the hardest voxels: nnU-Net's `DiceTopK10Loss`.

    Args:
        labels: What the values mean.
        batch_dice: Pool Dice over the batch.
        k: Per cent of the voxels that count.
        dice_weight: Of Dice.
        ce_weight: Of cross-entropy.
        smooth: Of Dice.
    """

    def __init__(
        self,
        labels: LabelSchema,
        *,
        batch_dice: bool,
        k: float = _HARDEST_PERCENT,
        dice_weight: float = 1.0,
        ce_weight: float = 1.0,
        smooth: float = DICE_SMOOTH,
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice, dice_weight=dice_weight, ce_weight=ce_weight, smooth=smooth)
        require(0 < k <= 100, "k", k, "a percentage above 0")
        self.k = k

    def voxelwise(self, given: Targets) -> Tensor:
        """See the class."""
        return hardest_mean(given.cross_entropy, given.counts, self.k / 100)


class UNet2015(SegmentationLoss):
    """Cross-entropy weighted towards the gaps between objects that nearly touch: U-Net's own loss.

    Ronneberger et al. 2015, eq. 1 and 2: the weight of a voxel is `w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2))`
    (`GapWeights`). `w_c` balances the classes of the batch (`balanced_weights`). The sum is divided by that of the
    weights, so that the usual learning rates hold.

    With several classes, the gaps of all of them count, a voxel by the narrowest; regions have each their own.

    Args:
        labels: What the values mean.
        batch_dice: Without effect.
        w0: 10 in the paper.
        sigma: 5 voxels in the paper.
        balance: Whether `w_c` balances the classes, else it is 1.
    """

    def __init__(
        self, labels: LabelSchema, *, batch_dice: bool, w0: float = 10.0, sigma: float = 5.0, balance: bool = True
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice)
        require(w0 >= 0, "w0", w0, "0 or more")
        require(sigma > 0, "sigma", sigma, "more than 0")
        self.w0, self.sigma, self.balance = w0, sigma, balance

    def label_maps(self, spacing_mm: Sequence[float]) -> LabelMaps:
        """The second term of the weights, of each class."""
        return GapWeights.of(self.labels, spacing_mm, self.w0, self.sigma)

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        assert given.maps is not None
        gaps = given.maps if given.index is None else given.maps.amax(1, keepdim=True)
        weights = gaps + (_balance(given) if self.balance else 1.0)
        return mean_over(given.cross_entropy, _counted(weights, given))


def _counted(weights: Tensor, given: Targets) -> Tensor:
    return weights if given.counts is None else weights * given.counts


def _class_weights(given: Targets, weights: Sequence[float]) -> Tensor:
    """Weights of the foreground outputs as a map that fits `cross_entropy`; background weighs 1."""
    if given.index is None:
        single = torch.tensor(weights, device=given.logits.device)
        return single.view(1, -1, *(1,) * (given.logits.ndim - 2)).expand_as(given.logits)
    single = torch.tensor([1.0, *weights], device=given.logits.device)
    return single[given.index.clamp_min(0)].unsqueeze(1)


def _balance(given: Targets) -> Tensor:
    """Weights as a map that fits `cross_entropy`, by which the classes, or each region and its rest, weigh alike."""
    target = given.target if given.counts is None else given.target * given.counts
    axes = (0, *range(2, target.ndim))
    foreground = target.sum(axes)
    whole = torch.ones_like(given.cross_entropy) if given.counts is None else given.counts
    total = whole.sum(axes)
    if given.index is None:
        weights = balanced_weights(torch.stack([total - foreground, foreground]))
        rest, region = (row.view(1, -1, *(1,) * (target.ndim - 2)) for row in weights)
        return torch.where(given.target > 0, region, rest)
    weights = balanced_weights(torch.cat([total - foreground.sum(0, keepdim=True), foreground]))
    return weights[given.index.clamp_min(0)].unsqueeze(1)
