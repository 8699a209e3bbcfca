"""Augmentation policies by name: each makes a transform of whole batches for a patch size."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from autounet.registry import Registry

if TYPE_CHECKING:
    from autounet.augmentation.policies import Augmentation

POLICIES: Registry["Callable[..., Augmentation]"] = Registry(
    "autounet.augmentation",
    "augmentation policy",
    {
        "nnunet": "autounet.augmentation.policies:nnunet_policy",
        "light": "autounet.augmentation.policies:light_policy",
        "none": "autounet.augmentation.policies:no_policy",
    },
)
