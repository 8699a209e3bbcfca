"""Changes of value that depend on the place or on neighbours, as a policy names them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autounet.augmentation.intensity import Generator, Range, either, struck
from autounet.augmentation.parameters import (
    BatchShape,
    BlurParameters,
    ChannelParameters,
    GradientParameters,
    LocalGammaParameters,
    LowResolutionParameters,
    MedianParameters,
    RectangleParameters,
    SharpenParameters,
    Values,
)


@dataclass(frozen=True)
class GaussianBlur:
    """Blur, another one along every axis.

    Attributes:
        p: Probability per sample.
        sigma: Range of the standard deviation in voxels, drawn evenly per channel and axis.
        p_channel: Probability per channel.
    """

    p: float
    sigma: Range
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Standard deviations."""
        rows = struck(generator, shape, self.p, self.p_channel)
        return (BlurParameters(rows, generator.uniform(*self.sigma, (len(rows), len(shape.patch_size)))),)


@dataclass(frozen=True)
class LowResolution:
    """Fewer voxels (nearest) and back (linear), by one factor on all axes; slices of a coarse axis stay.

    Attributes:
        p: Probability per sample.
        zoom: Range of the factor on the number of voxels along an axis, drawn evenly per channel.
        p_channel: Probability per channel.
    """

    p: float
    zoom: Range
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Factors."""
        rows = struck(generator, shape, self.p, self.p_channel)
        zoom = np.repeat(generator.uniform(*self.zoom, (len(rows), 1)), len(shape.patch_size), axis=1)
        if shape.slice_wise:
            zoom[:, 0] = 1
        return (LowResolutionParameters(rows, zoom),)


@dataclass(frozen=True)
class MedianFilter:
    """The median of a window.

    Attributes:
        p: Probability per sample.
        size: Least and greatest edge of the window in voxels, drawn evenly per channel.
        p_channel: Probability per channel.
    """

    p: float
    size: tuple[int, int]
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Edges."""
        rows = struck(generator, shape, self.p, self.p_channel)
        return (MedianParameters(rows, generator.integers(*self.size, len(rows), dtype=np.intp, endpoint=True)),)


@dataclass(frozen=True)
class Sharpening:
    """Part of the Laplacian subtracted, cut to the values that there were.

    Attributes:
        p: Probability per sample.
        strength: Range, drawn evenly per channel.
        p_channel: Probability per channel.
    """

    p: float
    strength: Range
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Strengths."""
        rows = struck(generator, shape, self.p, self.p_channel)
        return (SharpenParameters(rows, generator.uniform(*self.strength, len(rows))),)


@dataclass(frozen=True)
class BlankRectangles:
    """Boxes filled with the channel's mean.

    Attributes:
        p: Probability per sample.
        count: Least and greatest number.
        size: Least and greatest edge, as a share of the patch's edge, drawn evenly per axis.
        p_channel: Probability per channel.
    """

    p: float
    count: tuple[int, int]
    size: Range
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Boxes inside the patch."""
        rows = struck(generator, shape, self.p, self.p_channel)
        patch = np.array(shape.patch_size)
        boxes = (len(rows), self.count[1], len(patch))
        least, greatest = (np.maximum(1, (share * patch).astype(np.intp)) for share in self.size)
        size = generator.integers(least, greatest, boxes, endpoint=True)
        start = generator.integers(0, patch - size, boxes, endpoint=True)
        number = generator.integers(*self.count, len(rows), endpoint=True)
        size[np.arange(self.count[1]) >= number[:, None]] = 0
        return (RectangleParameters(rows, start, start + size),)


@dataclass(frozen=True)
class BrightnessGradient:
    """A broad hill or hollow of brightness.

    Attributes:
        p: Probability per sample.
        strength: Range of its height; the sign is drawn with the same probability.
        p_channel: Probability per channel.
    """

    p: float
    strength: Range
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Places, widths and heights."""
        rows = struck(generator, shape, self.p, self.p_channel)
        sign = generator.choice((-1.0, 1.0), len(rows))
        strength = sign * generator.uniform(*self.strength, len(rows))
        return (GradientParameters(rows, *_hills(generator, shape, len(rows)), strength),)


@dataclass(frozen=True)
class LocalGamma:
    """Gamma in one part of the patch.

    Attributes:
        p: Probability per sample.
        below: Range of exponents below 1.
        above: Range of exponents above 1; one of the two ranges is drawn with the same probability.
        p_channel: Probability per channel.
    """

    p: float
    below: Range
    above: Range
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Places, widths and exponents."""
        rows = struck(generator, shape, self.p, self.p_channel)
        exponent = either(generator, self.below, self.above, len(rows))
        return (LocalGammaParameters(rows, *_hills(generator, shape, len(rows)), exponent),)


def _hills(generator: Generator, shape: BatchShape, size: int) -> tuple[Values, Values]:
    """Centres within half a patch's edge about the patch, and widths from a sixth of its edge to the whole, by ratio.

    The facts at hand give no law for these; it is ours.
    """
    patch = np.array(shape.patch_size, dtype=np.float64)
    centre = generator.uniform(-0.5, 1.5, (size, len(patch))) * patch
    width = np.exp(generator.uniform(np.log(1 / 6), 0, (size, len(patch)))) * patch
    return centre, width
