"""Network architectures, one file each, by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from autounet.registry import Registry

if TYPE_CHECKING:
    from autounet.networks.blocks import SegmentationNetwork

NETWORKS: Registry["Callable[..., SegmentationNetwork]"] = Registry(
    "autounet.networks", "network", {"plain": "autounet.networks.plain:PlainUNet"}
)
