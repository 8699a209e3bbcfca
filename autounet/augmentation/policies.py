"""Augmentation policies: which random changes, how often, how strong; carried out by batchgenerators.

Every policy is a function from the patch and the channels to an `Augmentation`. Probabilities and ranges of the
`nnunet` policy are nnU-Net v2's (`nnUNetTrainer.get_training_transforms`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from batchgenerators.transforms.color_transforms import (
    BrightnessMultiplicativeTransform,
    ContrastAugmentationTransform,
    GammaTransform,
)
from batchgenerators.transforms.noise_transforms import GaussianBlurTransform, GaussianNoiseTransform
from batchgenerators.transforms.resample_transforms import SimulateLowResolutionTransform
from batchgenerators.transforms.spatial_transforms import SpatialTransform

from autounet.augmentation.mirrors import draw_mirrors, mirrored
from autounet.geometry import Array
from autounet.labels import OUTSIDE
from autounet.laterality import Mirroring

# A patch this many times longer than its first axis is augmented slice by slice: turning it about the other axes
# would mix voxels of very different sizes.
ANISOTROPIC_PATCH = 3.0
_ELONGATED_2D_PATCH = 1.5
_ROTATION_3D = np.deg2rad(30)
_ROTATION_ELONGATED_2D = np.deg2rad(15)
_SCALE = (0.7, 1.4)
_NO_ROTATION = (0.0, 0.0)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a batch.

    batchgenerators draws from the global generators of NumPy and of Python; the caller seeds both for every batch.

    Attributes:
        patch_size: Size of the patches that come out.
        initial_patch_size: Size of the patches that go in, large enough that turning them leaves no empty corners.
        mirroring: Which spatial axes are mirrored, and which labels change places then.
        spatial: Changes of place, image and label together; the identity crops the centre.
        intensity: Changes of value.
        slice_wise: Whether `spatial` works on slices, all of a patch alike.
        masked_channels: Channels that stay zero outside the body.
    """

    patch_size: tuple[int, ...]
    initial_patch_size: tuple[int, ...]
    mirroring: Mirroring
    spatial: SpatialTransform
    intensity: tuple[Any, ...]
    slice_wise: bool
    masked_channels: tuple[int, ...]

    def __call__(self, image: Array, label: Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
        """Change a batch.

        Args:
            image: `(B, C, *initial_patch_size)` float32.
            label: `(B, 1, *initial_patch_size)`, -1 outside the body.

        Returns:
            The image `(B, C, *patch_size)` float32 and the label `(B, *patch_size)` int16, never negative.
        """
        depth = image.shape[2]
        if self.slice_wise:
            image, label = _slices_to_channels(image), _slices_to_channels(label)
        batch = self.spatial(data=image, seg=label.astype(np.float32))
        if self.slice_wise:
            batch = {key: _channels_to_slices(array, depth) for key, array in batch.items()}
        for transform in self.intensity:
            batch = transform(**batch)
        image, label = batch["data"], batch["seg"][:, 0].astype(np.int16)
        image, label = mirrored(image, label, draw_mirrors(len(image), self.mirroring.axes), self.mirroring)
        for channel in self.masked_channels:
            image[:, channel][label == OUTSIDE] = 0
        return np.ascontiguousarray(image, dtype=np.float32), np.maximum(label, 0)

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Spatial axes that are mirrored; mirroring at prediction may use the same."""
        return self.mirroring.axes

    def with_mirroring(self, mirroring: Mirroring) -> Augmentation:
        """The same changes with these mirrors.

        Where left and right are to be told apart, patches are not turned about in their plane: half a turn together
        with a flip of the other axis is a flip of left and right, with the labels left as they were.
        """
        spatial, plane = self.spatial, range(1 if self.slice_wise else 0, len(self.patch_size))
        if mirroring.side_axis in plane:
            spatial = copy(spatial)
            for name in ("angle_x", "angle_y", "angle_z"):
                low, high = getattr(spatial, name)
                setattr(spatial, name, (max(low, -_ROTATION_3D), min(high, _ROTATION_3D)))
        return replace(self, spatial=spatial, mirroring=mirroring)


def nnunet_policy(patch_size: Sequence[int], masked_channels: Sequence[int]) -> Augmentation:
    """nnU-Net v2's default: rotation, scaling, noise, blur, brightness, contrast, low resolution, gamma, mirrors.

    Deviation: labels are interpolated to the nearest voxel, not by the largest of their interpolated indicators,
    which costs one interpolation a class.
    """
    ignore_axes = (0,) if _is_slice_wise(patch_size) else None
    intensity = (
        GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_sample=0.1),
        GaussianBlurTransform((0.5, 1.0), different_sigma_per_channel=True, p_per_sample=0.2, p_per_channel=0.5),
        BrightnessMultiplicativeTransform(multiplier_range=(0.75, 1.25), p_per_sample=0.15),
        ContrastAugmentationTransform(p_per_sample=0.15),
        SimulateLowResolutionTransform(
            zoom_range=(0.5, 1),
            per_channel=True,
            p_per_channel=0.5,
            order_downsample=0,
            order_upsample=1,
            p_per_sample=0.25,
            ignore_axes=ignore_axes,
        ),
        GammaTransform((0.7, 1.5), True, True, retain_stats=True, p_per_sample=0.1),
        GammaTransform((0.7, 1.5), False, True, retain_stats=True, p_per_sample=0.3),
    )
    return _augmentation(patch_size, masked_channels, intensity, spatial_probability=0.2)


def light_policy(patch_size: Sequence[int], masked_channels: Sequence[int]) -> Augmentation:
    """For short runs on few cores: the cheap changes of nnU-Net's list; blur and low resolution left out."""
    intensity = (
        GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_sample=0.1),
        BrightnessMultiplicativeTransform(multiplier_range=(0.75, 1.25), p_per_sample=0.15),
        ContrastAugmentationTransform(p_per_sample=0.15),
        GammaTransform((0.7, 1.5), False, True, retain_stats=True, p_per_sample=0.3),
    )
    return _augmentation(patch_size, masked_channels, intensity, spatial_probability=0.2)


def no_policy(patch_size: Sequence[int], masked_channels: Sequence[int]) -> Augmentation:
    """No change at all; no mirrors either."""
    size = tuple(patch_size)
    return Augmentation(
        size, size, Mirroring(axes=()), _spatial(size, _NO_ROTATION, 0.0), (), False, tuple(masked_channels)
    )


def initial_patch_size(patch_size: Sequence[int], rotations: Sequence[float]) -> tuple[int, ...]:
    """Size of the region to cut so that a turned and shrunk patch is still filled.

    nnU-Net's `get_patch_size`: the largest extent over turns about each single axis, divided by 0.85, truncated.

    Args:
        patch_size: `(Z, Y, X)` or `(Y, X)`.
        rotations: Largest angle about each axis in radians; one number for 2D.
    """
    size = np.array(patch_size, dtype=float)
    largest = size.copy()
    for axis, angle in enumerate(rotations):
        turn = _rotation_matrix(len(size), axis, min(angle, np.pi / 2))
        largest = np.maximum(largest, np.abs(turn @ size))
    return tuple(int(edge) for edge in largest / 0.85)


def _rotation_matrix(num_dims: int, axis: int, angle: float) -> npt.NDArray[np.float64]:
    # Cyclic in 3D, so that each axis is the one that grows in one of the three turns.
    first, second = (0, 1) if num_dims == 2 else ((axis + 1) % 3, (axis + 2) % 3)
    matrix = np.eye(num_dims)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[[first, first, second, second], [first, second, first, second]] = [cosine, sine, -sine, cosine]
    return matrix


def _is_slice_wise(patch_size: Sequence[int]) -> bool:
    return len(patch_size) == 3 and max(patch_size) / patch_size[0] > ANISOTROPIC_PATCH


def _augmentation(
    patch_size: Sequence[int],
    masked_channels: Sequence[int],
    intensity: tuple[Any, ...],
    spatial_probability: float,
) -> Augmentation:
    size = tuple(patch_size)
    slice_wise = _is_slice_wise(size)
    plane = size[1:] if slice_wise else size
    if len(plane) == 3:
        angle = _ROTATION_3D
        initial = initial_patch_size(plane, [angle] * 3)
    else:
        elongated = not slice_wise and max(plane) / min(plane) > _ELONGATED_2D_PATCH
        angle = _ROTATION_ELONGATED_2D if elongated else np.pi
        initial = initial_patch_size(plane, [angle])
    return Augmentation(
        patch_size=size,
        initial_patch_size=(size[0], *initial) if slice_wise else initial,
        mirroring=Mirroring(axes=tuple(range(len(size)))),
        spatial=_spatial(plane, (-angle, angle), spatial_probability),
        intensity=intensity,
        slice_wise=slice_wise,
        masked_channels=tuple(masked_channels),
    )


def _spatial(size: tuple[int, ...], angles: tuple[float, float], probability: float) -> SpatialTransform:
    return SpatialTransform(
        size,
        patch_center_dist_from_border=None,
        do_elastic_deform=False,
        do_rotation=probability > 0,
        angle_x=angles,
        angle_y=angles,
        angle_z=angles,
        p_rot_per_sample=probability,
        do_scale=probability > 0,
        scale=_SCALE,
        p_scale_per_sample=probability,
        border_mode_data="constant",
        border_cval_data=0,
        order_data=1,
        border_mode_seg="constant",
        border_cval_seg=OUTSIDE,
        order_seg=0,
        random_crop=False,
    )


def _slices_to_channels(array: Array) -> Array:
    batch, channels, depth, height, width = array.shape
    return array.reshape(batch, channels * depth, height, width)


def _channels_to_slices(array: Array, depth: int) -> Array:
    batch, channels, height, width = array.shape
    return array.reshape(batch, channels // depth, depth, height, width)
