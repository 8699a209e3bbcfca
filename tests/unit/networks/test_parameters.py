"""Every network has as many parameters as its paper says, or as its authors' code has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from autounet.networks.base import SegmentationNetwork

# Network, axes, channels in and out, parameters.
PUBLISHED = [
    ("plain", 3, 1, 2, 31_195_594),
    ("resenc", 3, 1, 2, 102_349_770),
    ("unet2015", 2, 1, 2, 31_030_658),
    ("unet2015", 2, 3, 3, 31_031_875),
    ("unet3d2016,norm=none", 3, 3, 3, 19_069_955),
    ("unet3d2016", 3, 3, 3, 19_069_955 + 2 * 2336),  # scale and shift of every norm
    ("vnet", 3, 1, 2, 65_183_258),
    ("vnet,variant=released", 3, 1, 2, 61_982_682),
    ("unetpp,heads=last", 2, 1, 1, 9_041_601),
    ("unetpp,heads=last", 2, 3, 1, 9_042_177),
    ("unetpp", 2, 1, 1, 9_041_700),
    ("attention_unet,gates=0", 3, 1, 2, 5_887_466),
    ("attention_unet,gates=0,norm=none", 3, 1, 2, 5_884_522),
    ("attention_unet", 3, 1, 2, 6_213_613),
    ("attention_unet,gates=2", 3, 1, 2, 6_472_784),
    ("attention_unet,gates=2", 3, 1, 4, 6_473_322),
    ("swin_unet", 2, 3, 9, 27_168_900),
    ("swin_unet", 2, 3, 1, 27_168_132),
    ("swin_unet", 2, 3, 14, 27_169_380),
    ("swin_unetr", 3, 1, 14, 62_187_296),
    ("swin_unetr", 3, 4, 3, 62_191_941),
    ("swin_unetr", 3, 1, 2, 62_186_708),
    # The published numbers of MedNeXt count a parameter of one number that nothing uses.
    ("mednext,heads=last", 3, 1, 3, 5_550_948 - 1),
    ("mednext,size=B,heads=last", 3, 1, 3, 10_526_340 - 1),
    ("mednext,size=M,heads=last", 3, 1, 3, 17_548_996 - 1),
    ("mednext,size=L,heads=last", 3, 1, 3, 61_779_300 - 1),
    ("mednext,heads=last,kernel=5", 3, 1, 3, 5_980_580 - 1),
    ("mednext,size=B,heads=last,kernel=5", 3, 1, 3, 10_955_972 - 1),
    ("mednext,size=M,heads=last,kernel=5", 3, 1, 3, 18_260_868 - 1),
    ("mednext,size=L,heads=last,kernel=5", 3, 1, 3, 62_992_932 - 1),
]
# Network, patch, logits.
SIZES = [
    ("unet2015", (572, 572), (388, 388)),
    ("unet2015", (188, 188), (4, 4)),
    ("unet3d2016", (116, 132, 132), (28, 44, 44)),
    ("unet3d2016", (92, 92, 156), (4, 4, 68)),
    ("vnet", (64, 128, 128), (64, 128, 128)),
    ("unetpp", (96, 96), (96, 96)),
    ("attention_unet", (96, 160, 160), (96, 160, 160)),
    ("swin_unet", (224, 224), (224, 224)),
    ("swin_unetr", (96, 96, 96), (96, 96, 96)),
    ("mednext", (128, 128, 128), (128, 128, 128)),
]


@pytest.mark.parametrize(("network", "dims", "in_channels", "num_outputs", "published"), PUBLISHED)
def test_parameters_are_those_that_were_published(
    reference: Callable[..., SegmentationNetwork],
    network: str,
    dims: int,
    in_channels: int,
    num_outputs: int,
    published: int,
) -> None:
    built = reference(network, dims, in_channels, num_outputs)
    assert sum(parameter.numel() for parameter in built.parameters()) == published


@pytest.mark.parametrize(("network", "patch", "logits"), SIZES)
def test_sizes_are_those_of_the_papers_figure(
    reference: Callable[..., SegmentationNetwork], network: str, patch: tuple[int, ...], logits: tuple[int, ...]
) -> None:
    built = reference(network, len(patch), 3, 3)
    (output,) = built(torch.empty(1, 3, *patch, device="meta"))
    assert output.shape == (1, 3, *logits)
    assert built.plan.output_size(patch) == logits
