"""Changes of value that treat every voxel alike, as a policy names them; those that do not are in `local`.

A transform is frozen data: how often, and from which range. `draw` turns it into parameters for the channels that it
strikes; `workers` and `device` apply those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from autounet.augmentation.parameters import (
    BatchShape,
    ChannelParameters,
    ContrastParameters,
    GammaParameters,
    LinearParameters,
    NoiseParameters,
    Rows,
    Values,
)

Range = tuple[float, float]
Generator = np.random.Generator

_MAX_SEED = 2**63


class IntensityTransform(Protocol):
    """A change of value, as a policy names it."""

    @property
    def p(self) -> float:
        """Probability that a sample is struck."""

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Parameters for a batch."""


@dataclass(frozen=True)
class GaussianNoise:
    """Noise of one strength in all channels of a sample.

    Attributes:
        p: Probability per sample.
        sigma: Range of the standard deviation, drawn evenly.
    """

    p: float
    sigma: Range

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Standard deviations, and a seed for the noise itself."""
        rows = struck(generator, shape, self.p)
        per_sample = generator.uniform(*self.sigma, shape.num_samples)
        return (NoiseParameters(rows, per_sample[rows // shape.num_channels], int(generator.integers(_MAX_SEED))),)


@dataclass(frozen=True)
class Brightness:
    """Values times a factor.

    Attributes:
        p: Probability per sample.
        factor: Range, drawn below or above 1 with the same probability, per channel.
        p_channel: Probability per channel.
    """

    p: float
    factor: Range
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Factors."""
        rows = struck(generator, shape, self.p, self.p_channel)
        return (LinearParameters(rows, about_one(generator, self.factor, len(rows)), np.zeros(len(rows))),)


@dataclass(frozen=True)
class BrightnessShift:
    """A normally distributed number added to a channel.

    Attributes:
        p: Probability per sample.
        sigma: Its standard deviation.
        p_channel: Probability per channel.
    """

    p: float
    sigma: float
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Offsets."""
        rows = struck(generator, shape, self.p, self.p_channel)
        return (LinearParameters(rows, np.ones(len(rows)), generator.normal(0, self.sigma, len(rows))),)


@dataclass(frozen=True)
class Contrast:
    """Distances from the channel's mean times a factor.

    Attributes:
        p: Probability per sample.
        factor: Range, drawn below or above 1 with the same probability, per channel.
        p_channel: Probability per channel.
        keep_range: Cut to the least and the greatest value that there were.
    """

    p: float
    factor: Range
    p_channel: float = 1.0
    keep_range: bool = True

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Factors."""
        rows = struck(generator, shape, self.p, self.p_channel)
        return (ContrastParameters(rows, about_one(generator, self.factor, len(rows)), self.keep_range),)


@dataclass(frozen=True)
class Gamma:
    """A power of the values, scaled to [0, 1] by their range; mean and standard deviation are given back.

    Attributes:
        p: Probability per sample.
        exponent: Range, drawn below or above 1 with the same probability, per channel.
        inverted: Of the negative image, so that bright values are spread instead of dark ones.
        p_channel: Probability per channel.
    """

    p: float
    exponent: Range
    inverted: bool = False
    p_channel: float = 1.0

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Exponents."""
        rows = struck(generator, shape, self.p, self.p_channel)
        return (GammaParameters(rows, about_one(generator, self.exponent, len(rows)), self.inverted),)


@dataclass(frozen=True)
class OneOf:
    """One of several, drawn per sample, and then struck or not with its own probability.

    Attributes:
        members: To choose from.
    """

    members: tuple[IntensityTransform, ...]
    p: float = field(init=False, default=1.0)

    def draw(self, generator: Generator, shape: BatchShape) -> tuple[ChannelParameters, ...]:
        """Parameters of every member, for the samples whose choice it is."""
        choice = generator.integers(len(self.members), size=shape.num_samples)
        drawn: list[ChannelParameters] = []
        for index, member in enumerate(self.members):
            for parameters in member.draw(generator, shape):
                drawn.append(_only(parameters, choice[parameters.rows // shape.num_channels] == index))
        return tuple(drawn)


def draw_intensity(
    transforms: Sequence[IntensityTransform], generator: Generator, shape: BatchShape
) -> tuple[ChannelParameters, ...]:
    """Parameters of all transforms in their order; those that strike nothing are left out."""
    drawn = [parameters for transform in transforms for parameters in transform.draw(generator, shape)]
    return tuple(parameters for parameters in drawn if len(parameters.rows))


def about_one(generator: Generator, limits: Range, size: int) -> Values:
    """Factors drawn evenly below 1 or evenly above 1, with the same probability (nnU-Net's `BGContrast`).

    Raises:
        ValueError: The limits do not lie on both sides of 1.
    """
    if not limits[0] <= 1 <= limits[1]:
        raise ValueError(f"a range of factors about 1 is needed, got {limits}")
    return either(generator, (limits[0], 1.0), (1.0, limits[1]), size)


def either(generator: Generator, first: Range, second: Range, size: int) -> Values:
    """Numbers drawn evenly from one of two ranges, each with the same probability."""
    is_first = generator.random(size) < 0.5
    return np.where(is_first, generator.uniform(*first, size), generator.uniform(*second, size))


def struck(generator: Generator, shape: BatchShape, p: float, p_channel: float = 1.0) -> Rows:
    """Channels of the batch that are struck: a sample with probability `p`, then each channel with `p_channel`."""
    samples = generator.random((shape.num_samples, 1)) < p
    channels = generator.random((shape.num_samples, shape.num_channels)) < p_channel
    return np.flatnonzero(samples & channels)


P = TypeVar("P", bound=ChannelParameters)


def _only(parameters: P, keep: npt.NDArray[np.bool_]) -> P:
    """The parameters of some of the rows."""
    values = {entry.name: getattr(parameters, entry.name) for entry in fields(parameters)}
    kept: dict[str, Any] = {name: value[keep] for name, value in values.items() if isinstance(value, np.ndarray)}
    return replace(parameters, **kept)
