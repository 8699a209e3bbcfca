"""Network architectures, one file each, by name."""

from typing import TYPE_CHECKING

from autounet.registry import Registry

if TYPE_CHECKING:
    from autounet.networks.base import SegmentationNetwork

NETWORKS: Registry["type[SegmentationNetwork]"] = Registry(
    "autounet.networks",
    "network",
    {
        "plain": "autounet.networks.plain:PlainUNet",
        "resenc": "autounet.networks.residual:ResidualEncoderUNet",
    },
)
