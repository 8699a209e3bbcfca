"""The base of the losses: what goes into one, and what it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.losses.label_maps import LabelMaps
from autounet.losses.targets import Targets, prepare


class SegmentationLoss(nn.Module):
    """Logits `(B, N, *spatial)` and a label map `(B, *spatial)` to a scalar.

    A loss says what it is by `compare`; labels and regions, the ignore label and classes that were not annotated are
    taken care of before (`prepare`). Its hyperparameters are keyword arguments with defaults, which are set as
    `--loss NAME,key=value`.

    Args:
        labels: What the values mean.
        batch_dice: Whether losses that divide sums (Dice and its kin) pool them over the batch; the plan decides.
    """

    def __init__(self, labels: LabelSchema, *, batch_dice: bool) -> None:
        super().__init__()
        self.labels = labels
        self.batch_dice = batch_dice

    def forward(
        self, logits: Tensor, label: Tensor, annotated: Tensor | None = None, maps: Tensor | None = None
    ) -> Tensor:
        """The loss; `label` holds the dataset's values, -1 outside the body (background to a loss).

        Args:
            logits: `(B, N, *spatial)`, in any precision.
            label: `(B, *spatial)`.
            annotated: `(B, num_classes)` bool, which classes, in the order of the label schema, were annotated in which
                sample; `None` where all were. A class that was not annotated adds nothing: where it may be, the label
                says background, and the loss is the same whichever of the two the network finds there.
            maps: `(B, M, *spatial)`, what `label_maps` makes of the label map; `None` where it makes nothing.
        """
        return self.compare(prepare(self.labels, logits, label, annotated, maps, pool_batch=self.batch_dice))

    def compare(self, given: Targets) -> Tensor:
        """The loss of what was prepared."""
        raise NotImplementedError

    def label_maps(self, spacing_mm: Sequence[float]) -> LabelMaps | None:
        """What has to be computed from the label maps of a batch for this loss, and is then given as `maps`.

        Args:
            spacing_mm: Of the voxels, for as many axes as the label map has.
        """
        return None


def require(condition: bool, name: str, value: object, rule: str) -> None:
    """Refuse a hyperparameter.

    Raises:
        RequestError: The condition does not hold.
    """
    if not condition:
        raise RequestError(f"the loss's {name} is {value}; it must be {rule}")
