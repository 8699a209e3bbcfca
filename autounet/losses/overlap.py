"""Losses of overlap: Dice, Tversky, generalised Dice, clDice."""

from __future__ import annotations

from torch import Tensor

from autounet.labels import LabelSchema
from autounet.losses.functional.centreline import centreline_dice_loss
from autounet.losses.functional.overlap import DICE_SMOOTH, generalized_dice_loss, soft_dice_loss, tversky_loss
from autounet.losses.segmentation import SegmentationLoss, require
from autounet.losses.targets import Targets


class Dice(SegmentationLoss):
    """Soft Dice of the foreground (`soft_dice_loss`).

    Args:
        labels: What the values mean.
        batch_dice: Pool over the batch.
        smooth: Decides the value where a class is absent from both.
        squared: Whether probabilities are squared in the denominator, as in V-Net's paper.
    """

    def __init__(
        self, labels: LabelSchema, *, batch_dice: bool, smooth: float = DICE_SMOOTH, squared: bool = False
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice)
        require(smooth >= 0, "smooth", smooth, "0 or more")
        self.smooth, self.squared = smooth, squared

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        return soft_dice_loss(*given.foreground, pool_batch=given.pool_batch, smooth=self.smooth, squared=self.squared)


class Tversky(SegmentationLoss):
    """Tversky index of the foreground (`tversky_loss`): Dice in which false negatives weigh more than false positives.

    Args:
        labels: What the values mean.
        batch_dice: Pool over the batch.
        alpha: Weight of false positives; 0.3 was best in Salehi et al. 2017.
        beta: Weight of false negatives.
        smooth: As for Dice.
    """

    gamma = 1.0

    def __init__(
        self,
        labels: LabelSchema,
        *,
        batch_dice: bool,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = DICE_SMOOTH,
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice)
        require(alpha >= 0 and beta >= 0 and alpha + beta > 0, "alpha and beta", (alpha, beta), "0 or more, not both 0")
        require(smooth >= 0, "smooth", smooth, "0 or more")
        self.alpha, self.beta, self.smooth = alpha, beta, smooth

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        return tversky_loss(
            *given.foreground,
            pool_batch=given.pool_batch,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            smooth=self.smooth,
        )


class FocalTversky(Tversky):
    """Tversky loss of each class to the power of `1 / gamma`, which stresses the classes that are found worst.

    Args:
        labels: What the values mean.
        batch_dice: Pool over the batch.
        alpha: Weight of false positives.
        beta: Weight of false negatives; Abraham and Khan 2018 call it alpha, and it is 0.7 there too.
        gamma: 4/3 was best in Abraham and Khan 2018.
        smooth: As for Dice.
    """

    def __init__(
        self,
        labels: LabelSchema,
        *,
        batch_dice: bool,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 4 / 3,
        smooth: float = DICE_SMOOTH,
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice, alpha=alpha, beta=beta, smooth=smooth)
        require(gamma > 0, "gamma", gamma, "more than 0")
        self.gamma = gamma


class GeneralizedDice(SegmentationLoss):
    """Generalised Dice of all classes, background too (`generalized_dice_loss`); with regions, of the regions.

    Args:
        labels: What the values mean.
        batch_dice: Pool over the batch.
        smooth: As for Dice.
    """

    def __init__(self, labels: LabelSchema, *, batch_dice: bool, smooth: float = DICE_SMOOTH) -> None:
        super().__init__(labels, batch_dice=batch_dice)
        require(smooth >= 0, "smooth", smooth, "0 or more")
        self.smooth = smooth

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        return generalized_dice_loss(*given.all_outputs, pool_batch=given.pool_batch, smooth=self.smooth)


class CentrelineDice(Dice):
    """Dice and clDice (`centreline_dice_loss`), `(1 - alpha)` and `alpha` of them, as Shit et al. 2021, algorithm 2.

    Args:
        labels: What the values mean.
        batch_dice: Pool over the batch.
        alpha: Share of clDice; the paper tries up to 0.5, and its code has that.
        num_iterations: Of the skeleton: the largest radius of a vessel, in voxels. The paper asks for that, and its
            code has 3; memory and time grow with it.
        centreline_smooth: Of clDice; 1 in the paper's code.
        smooth: Of Dice.
    """

    def __init__(
        self,
        labels: LabelSchema,
        *,
        batch_dice: bool,
        alpha: float = 0.5,
        num_iterations: int = 5,
        centreline_smooth: float = 1.0,
        smooth: float = DICE_SMOOTH,
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice, smooth=smooth)
        require(0 <= alpha <= 1, "alpha", alpha, "between 0 and 1")
        require(num_iterations >= 1, "num_iterations", num_iterations, "1 or more")
        require(centreline_smooth >= 0, "centreline_smooth", centreline_smooth, "0 or more")
        self.alpha, self.num_iterations, self.centreline_smooth = alpha, num_iterations, centreline_smooth

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        centreline = centreline_dice_loss(
            *given.foreground,
            pool_batch=given.pool_batch,
            num_iterations=self.num_iterations,
            smooth=self.centreline_smooth,
        )
        return (1 - self.alpha) * super().compare(given) + self.alpha * centreline
