"""Losses by name: each is built from the labels and compares logits with a label map."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from autounet.registry import Registry

if TYPE_CHECKING:
    from autounet.losses.compound import SegmentationLoss

LOSSES: Registry["Callable[..., SegmentationLoss]"] = Registry(
    "autounet.losses", "loss", {"dice_ce": "autounet.losses.compound:DiceCrossEntropy"}
)
