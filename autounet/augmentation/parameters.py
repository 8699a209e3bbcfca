"""What is drawn for the channels of a batch: the parameters of each change of value.

A channel of a batch is counted as `sample * num_channels + channel`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BatchShape:
    """What is drawn for.

    Attributes:
        num_samples: Patches of the batch.
        num_channels: Of each.
        patch_size: Spatial size of what comes out.
        slice_wise: Whether the first axis is left alone by changes that would mix its coarse slices.
    """

    num_samples: int
    num_channels: int
    patch_size: tuple[int, ...]
    slice_wise: bool = False


@dataclass(frozen=True)
class ChannelParameters:
    """Parameters of one transform for the channels that it strikes.

    Attributes:
        rows: `(N,)` ascending; which channels of the batch. Every other array has the same length.
    """

    rows: Rows


@dataclass(frozen=True)
class NoiseParameters(ChannelParameters):
    """Noise of standard deviation `sigma` `(N,)`. The backends make different noise of one seed, alike in law."""

    sigma: Values
    seed: int


@dataclass(frozen=True)
class LinearParameters(ChannelParameters):
    """`factor * value + offset`, each `(N,)`."""

    factor: Values
    offset: Values


@dataclass(frozen=True)
class ContrastParameters(ChannelParameters):
    """Distances from the channel's mean times `factor` `(N,)`, cut to the values there were where `keep_range`."""

    factor: Values
    keep_range: bool


@dataclass(frozen=True)
class GammaParameters(ChannelParameters):
    """Exponents `(N,)` on values scaled to [0, 1]; of the negative image where `inverted`."""

    exponent: Values
    inverted: bool


@dataclass(frozen=True)
class BlurParameters(ChannelParameters):
    """Standard deviations in voxels, `(N, D)`."""

    sigma: Values


@dataclass(frozen=True)
class LowResolutionParameters(ChannelParameters):
    """Factors on the number of voxels of each axis, `(N, D)`."""

    zoom: Values


@dataclass(frozen=True)
class MedianParameters(ChannelParameters):
    """Edges of the window in voxels, `(N,)`."""

    size: Rows


@dataclass(frozen=True)
class SharpenParameters(ChannelParameters):
    """How much of the Laplacian is subtracted, `(N,)`."""

    strength: Values


@dataclass(frozen=True)
class RectangleParameters(ChannelParameters):
    """Boxes set to the channel's mean: first and behind the last voxel, `(N, R, D)`; empty ones are not there."""

    start: Rows
    stop: Rows


@dataclass(frozen=True)
class BumpParameters(ChannelParameters):
    """Gaussian hills over the patch, 1 at their highest voxel: `centre` and `width` `(N, D)` in voxels."""

    centre: Values
    width: Values


@dataclass(frozen=True)
class GradientParameters(BumpParameters):
    """The hill times `strength` `(N,)` is added."""

    strength: Values


@dataclass(frozen=True)
class LocalGammaParameters(BumpParameters):
    """Values with gamma `exponent` `(N,)` where the hill is 1, as they were where it is 0, mixed between."""

    exponent: Values
