"""Augmentation policies: which random changes, how often, how strong; as data.

What each is for, where its figures come from and where it deviates: `docs/explanation/augmentation.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

from autounet.augmentation.elastic import Elastic
from autounet.augmentation.intensity import (
    Brightness,
    BrightnessShift,
    Contrast,
    Gamma,
    GaussianNoise,
    IntensityTransform,
    OneOf,
)
from autounet.augmentation.local import (
    BlankRectangles,
    BrightnessGradient,
    GaussianBlur,
    LocalGamma,
    LowResolution,
    MedianFilter,
    Sharpening,
)
from autounet.augmentation.previous import PreviousChanges
from autounet.augmentation.spatial import Spatial

STILL = Spatial()
# nnU-Net v2's (`nnUNetTrainer.get_training_transforms`).
CASCADE = PreviousChanges(p_morphology=0.4, p_removal=0.2)


@dataclass(frozen=True)
class Policy:
    """Random changes of a patch, in this order.

    Mirrors are carried out together with `spatial`. Every change of value treats both directions of an axis alike, so
    that it is the same whether an image is mirrored before or after.

    Attributes:
        spatial: Changes of place, image and label together.
        intensity: Changes of value, image alone.
        mirrors: Whether each axis is mirrored with probability 1/2.
        previous: Changes of what an earlier stage found, in the second stage of a cascade.
    """

    spatial: Spatial = STILL
    intensity: tuple[IntensityTransform, ...] = ()
    mirrors: bool = True
    previous: PreviousChanges = CASCADE


_GAMMA = (0.7, 1.5)

# nnU-Net v2's default (`nnUNetTrainer.get_training_transforms`).
NNUNET = Policy(
    spatial=Spatial(p_rotation=0.2, p_scaling=0.2, scale=(0.7, 1.4)),
    intensity=(
        GaussianNoise(p=0.1, sigma=(0, 0.1)),
        GaussianBlur(p=0.2, sigma=(0.5, 1.0), p_channel=0.5),
        Brightness(p=0.15, factor=(0.75, 1.25)),
        Contrast(p=0.15, factor=(0.75, 1.25)),
        LowResolution(p=0.25, zoom=(0.5, 1), p_channel=0.5),
        Gamma(p=0.1, exponent=_GAMMA, inverted=True),
        Gamma(p=0.3, exponent=_GAMMA),
    ),
)

# nnU-Net v2's stronger variant (`nnUNetTrainerDA5`).
DA5 = Policy(
    spatial=Spatial(
        p_rotation=0.4,
        p_rotation_axis=0.5,
        p_scaling=0.2,
        scale=(0.7, 1.43),
        scale_axes="each",
        p_quarter_turn=0.5,
        p_transpose=0.5,
        margin=0.7,
    ),
    intensity=(
        OneOf((MedianFilter(p=0.2, size=(2, 7), p_channel=0.5), GaussianBlur(p=0.2, sigma=(0.3, 1.5), p_channel=0.5))),
        GaussianNoise(p=0.1, sigma=(0, 0.1)),
        BrightnessShift(p=0.1, sigma=0.5, p_channel=0.5),
        OneOf(
            (
                Contrast(p=0.2, factor=(0.5, 2), p_channel=0.5),
                Contrast(p=0.2, factor=(0.5, 2), p_channel=0.5, keep_range=False),
            )
        ),
        LowResolution(p=0.15, zoom=(0.25, 1), p_channel=0.5),
        Gamma(p=0.1, exponent=_GAMMA, inverted=True),
        Gamma(p=0.1, exponent=_GAMMA, inverted=True),
        BlankRectangles(p=0.4, count=(1, 4), size=(1 / 10, 1 / 3), p_channel=0.5),
        BrightnessGradient(p=0.3, strength=(1, 5), p_channel=0.5),
        LocalGamma(p=0.3, below=(0.01, 0.8), above=(1.5, 4), p_channel=0.5),
        Sharpening(p=0.2, strength=(0.1, 1), p_channel=0.5),
    ),
    previous=PreviousChanges(p_morphology=0.4, p_morphology_label=1.0, p_removal=0.2, p_removal_label=1.0),
)

# For short runs on few cores: the cheap changes of nnU-Net's list; blur and low resolution left out.
LIGHT = Policy(
    spatial=Spatial(p_rotation=0.2, p_scaling=0.2, scale=(0.7, 1.4), scale_law="about_one"),
    intensity=(
        GaussianNoise(p=0.1, sigma=(0, 0.1)),
        Brightness(p=0.15, factor=(0.75, 1.25)),
        Contrast(p=0.15, factor=(0.75, 1.25)),
        Gamma(p=0.3, exponent=_GAMMA),
    ),
)

# U-Net (Ronneberger et al., 2015), section 3.1. Figures are given there for the deformation alone; the rest is ours.
UNET2015 = Policy(
    spatial=Spatial(p_rotation=1.0, shift=0.1, elastic=Elastic(p=1.0, num_nodes=3, sigma=10.0), margin=1.0),
    intensity=(Brightness(p=1.0, factor=(0.75, 1.25)), BrightnessShift(p=1.0, sigma=0.1)),
    mirrors=False,
)

# 3D U-Net (Çiçek et al., 2016), section 3: displacements of 4 voxels on a grid of spacing 32, here of 4 nodes an axis
# as in its patch; turned by up to 30 degrees, as in the network that was released; grey values as above.
UNET3D2016 = Policy(
    spatial=Spatial(p_rotation=1.0, p_scaling=1.0, elastic=Elastic(p=1.0, num_nodes=4, sigma=4.0), margin=1.0),
    intensity=(Brightness(p=1.0, factor=(0.75, 1.25)), BrightnessShift(p=1.0, sigma=0.1)),
    mirrors=False,
)

# For images to be learned as they are: nothing but mirrors.
MIRROR = Policy(previous=PreviousChanges())

NONE = Policy(mirrors=False, previous=PreviousChanges())
