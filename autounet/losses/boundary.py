"""Losses of the distance to the reference's boundary."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from autounet.labels import LabelSchema
from autounet.losses.functional.boundary import boundary_loss
from autounet.losses.functional.cross_entropy import counted
from autounet.losses.functional.overlap import DICE_SMOOTH
from autounet.losses.label_maps import LabelMaps, SignedDistances
from autounet.losses.overlap import Dice
from autounet.losses.segmentation import require
from autounet.losses.targets import Targets


class Boundary(Dice):
    """Soft Dice plus the boundary loss (`boundary_loss`), which alone would be content with nothing.

    Distances are in voxels of the finest axis.

    Args:
        labels: What the values mean.
        batch_dice: Pool Dice over the batch.
        boundary_weight: Of the boundary loss, constant over the run; 0.01 is where the schedules of Kervadec et al.
            2021 ("Boundary loss for highly unbalanced segmentation", Medical Image Analysis 67) begin.
        smooth: Of Dice.
    """

    def __init__(
        self, labels: LabelSchema, *, batch_dice: bool, boundary_weight: float = 0.01, smooth: float = DICE_SMOOTH
    ) -> None:
        super().__init__(labels, batch_dice=batch_dice, smooth=smooth)
        require(boundary_weight >= 0, "boundary_weight", boundary_weight, "0 or more")
        self.boundary_weight = boundary_weight

    def label_maps(self, spacing_mm: Sequence[float]) -> LabelMaps:
        """Signed distances of each class."""
        return SignedDistances.of(self.labels, spacing_mm)

    def compare(self, given: Targets) -> Tensor:
        """See the class."""
        assert given.maps is not None
        probabilities, target, mask, annotated = given.foreground
        boundary = boundary_loss(probabilities, target, given.maps, counted(target, mask, annotated))
        return super().compare(given) + self.boundary_weight * boundary
