"""Network architectures, one file each, by name."""

from typing import TYPE_CHECKING

from autounet.registry import Registry

if TYPE_CHECKING:
    from autounet.networks.base import SegmentationNetwork

NETWORKS: Registry["type[SegmentationNetwork]"] = Registry(
    "autounet.networks",
    "network",
    {
        "attention_unet": "autounet.networks.attention_unet:AttentionUNet",
        "diffusion_unet": "autounet.networks.diffusion_unet:DiffusionUNet",
        "mednext": "autounet.networks.mednext:MedNeXt",
        "plain": "autounet.networks.plain:PlainUNet",
        "resenc": "autounet.networks.residual:ResidualEncoderUNet",
        "swin_unet": "autounet.networks.swin_unet:SwinUNet",
        "swin_unetr": "autounet.networks.swin_unetr:SwinUNETR",
        "unet2015": "autounet.networks.unet2015:UNet2015",
        "unet3d2016": "autounet.networks.unet3d2016:UNet3D2016",
        "unetpp": "autounet.networks.unetpp:UNetPlusPlus",
        "vnet": "autounet.networks.vnet:VNet",
    },
)
