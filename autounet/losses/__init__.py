"""Losses by name: each is built from the labels and compares logits with a label map."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from autounet.registry import Registry

if TYPE_CHECKING:
    from autounet.losses.segmentation import SegmentationLoss

LOSSES: Registry["Callable[..., SegmentationLoss]"] = Registry(
    "autounet.losses",
    "loss",
    {
        "boundary": "autounet.losses.boundary:Boundary",
        "cldice": "autounet.losses.overlap:CentrelineDice",
        "cross_entropy": "autounet.losses.cross_entropy:CrossEntropy",
        "dice": "autounet.losses.overlap:Dice",
        "dice_ce": "autounet.losses.cross_entropy:DiceCrossEntropy",
        "dice_topk": "autounet.losses.cross_entropy:DiceTopK",
        "focal": "autounet.losses.cross_entropy:Focal",
        "focal_tversky": "autounet.losses.overlap:FocalTversky",
        "generalized_dice": "autounet.losses.overlap:GeneralizedDice",
        "topk": "autounet.losses.cross_entropy:TopK",
        "tversky": "autounet.losses.overlap:Tversky",
        "unet2015": "autounet.losses.cross_entropy:UNet2015",
    },
)
