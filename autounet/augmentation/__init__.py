"""Augmentation: policies by name, as data; their parameters drawn apart from applied; two backends that apply them."""

from typing import TYPE_CHECKING

from autounet.registry import Registry

if TYPE_CHECKING:
    from autounet.augmentation.policies import Policy

POLICIES: Registry["Policy"] = Registry(
    "autounet.augmentation",
    "augmentation policy",
    {
        "nnunet": "autounet.augmentation.policies:NNUNET",
        "da5": "autounet.augmentation.policies:DA5",
        "light": "autounet.augmentation.policies:LIGHT",
        "unet2015": "autounet.augmentation.policies:UNET2015",
        "unet3d2016": "autounet.augmentation.policies:UNET3D2016",
        "mirror": "autounet.augmentation.policies:MIRROR",
        "none": "autounet.augmentation.policies:NONE",
    },
)
