"""What the images of a dataset usually look like, and how far an image lies outside of that.

A figure of an image, say its voxel size along z, is compared with the range that it has over the training cases. What
it lies outside is counted in spreads of the cases, which have a floor so that equal or few cases do not make every
other image unlike. Figures that mean the same thing are judged together, as an `Aspect`: its distance is that of the
worst figure, its limit is found by leaving out each training case in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from autounet.data.appearance import Appearance, ChannelFigures
from autounet.data.channel_order import UsualChannels
from autounet.geometry import Triple
from autounet.plans import NormalizationName
from autounet.records import Record

# Outside the range by so many spreads is unlike, where there are many cases; of n cases, more by the factor 1 + 4 / n,
# because the range and the spread of few are too small: by 15 spreads of one case, 4 of 12.
_LIMIT, _CASES_TO_DOUBLE = 3.0, 4.0
# Where the training cases themselves lie farther out when they are left out, the limit is this times as far.
_MARGIN = 1.5
# Of the cases at each end of the range; one odd case of a hundred does not make it wider.
_TRIMMED = 0.01
# Among so many, one case moves neither the trimmed range nor the spread.
_MANY_CASES = 300
# Least spreads: of voxel sizes, extents and grain as logarithms; of intensities in standard deviations of the image, or
# in the distance of the outer percentiles.
_SPACING_FLOOR, _SIZE_FLOOR, _GRAIN_FLOOR = 0.1, 0.15, 0.1
_RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 0.1, 0.05
# Added to a grain, so that an image without any has a logarithm.
_LEAST_GRAIN = 1e-3
# The share of the quartiles' distance in a normal distribution's standard deviation.
_QUARTILES = 1.349
# Schemes that take intensities as they are, or change them by the dataset's statistics; the others by the image's own,
# so that gain is lost.
_ABSOLUTE: frozenset[NormalizationName] = frozenset({"ct", "nonorm", "rgb_to_0_1"})

Array = npt.NDArray[np.float64]
Figures = Sequence[float] | Array


class Range(Record):
    """One figure over the training cases; `spread` is never below its floor."""

    low: float
    median: float
    high: float
    spread: float

    @classmethod
    def of(cls, values: Array, floor: float) -> Range:
        """Of one value a case."""
        low, first, median, third, high = np.quantile(values, (_TRIMMED, 0.25, 0.5, 0.75, 1 - _TRIMMED)).tolist()
        return cls(low=low, median=median, high=high, spread=max((third - first) / _QUARTILES, floor))

    def distance(self, value: float) -> float:
        """How many spreads outside the range."""
        return max(0.0, self.low - value, value - self.high) / self.spread


class Aspect(Record):
    """Figures that are judged together.

    Attributes:
        figures: Over the training cases.
        limit: The distance at which an image is unlike.
    """

    figures: tuple[Range, ...]
    limit: float

    @classmethod
    def of(cls, values: Array, floor: float) -> Aspect:
        """Of figures `(num_cases, num_figures)`."""
        figures = _ranges(values, floor)
        limit = _LIMIT * (1 + _CASES_TO_DOUBLE / len(values))
        if len(values) > _CASES_TO_DOUBLE:
            limit = max(limit, _MARGIN * float(np.quantile(_left_out_distances(values, floor), 1 - _TRIMMED)))
        return cls(figures=figures, limit=limit)

    def score(self, values: Figures) -> float:
        """0 within the ranges, 1 at the limit."""
        return _distance(self.figures, values) / self.limit


class UsualImages(Record):
    """What the images of a dataset usually look like.

    Attributes:
        num_cases: That were measured.
        spacing: Logarithms of the voxel sizes `(z, y, x)` in mm; `None` where the files tell none.
        size: Logarithms of the extents `(z, y, x)` of what is not zero, in mm; `None` likewise.
        shape: Logarithms of the same in voxels.
        intensities: Of each channel, as `intensity_values` has them; empty where only sizes are known.
        textures: Of each channel, the logarithm of its grain; empty likewise.
        channels: Medians over the cases, for people.
        order: By which channels are told apart; `None` of a single one.
        axes: Where the voxel axes of the cases run to; empty where nobody knows.
    """

    num_cases: int
    spacing: Aspect | None
    size: Aspect | None
    shape: Aspect
    intensities: tuple[Aspect, ...] = ()
    textures: tuple[Aspect, ...] = ()
    channels: tuple[ChannelFigures, ...] = ()
    order: UsualChannels | None = None
    axes: tuple[str, ...] = ()

    @classmethod
    def of(cls, images: Sequence[Appearance], normalizations: Sequence[NormalizationName]) -> UsualImages:
        """Of measured images; how a channel is normalised says which of its intensities matter."""
        spacings = [image.spacing_mm for image in images if image.spacing_mm is not None]
        tells_spacing = len(spacings) == len(images)
        sizes = cls.of_sizes(spacings if tells_spacing else None, [image.shape for image in images])
        channels = [[image.channels[index] for image in images] for index in range(len(normalizations))]
        percentiles = np.array([[entry.percentiles for entry in image.channels] for image in images])
        return sizes.model_copy(
            update={
                "intensities": tuple(map(_intensity_aspect, channels, normalizations)),
                "textures": tuple(map(_texture_aspect, channels)),
                "channels": tuple(map(_median_figures, channels)),
                "order": UsualChannels.of(percentiles) if len(channels) > 1 else None,
                "axes": tuple(sorted({image.axes for image in images})),
            }
        )

    @classmethod
    def of_sizes(cls, spacings_mm: Sequence[Triple] | None, shapes: Sequence[Sequence[float]]) -> UsualImages:
        """Of cases of which nothing but voxel sizes and shapes `(z, y, x)` is known."""
        shape = np.log(np.asarray(shapes, dtype=np.float64))
        spacing = None if spacings_mm is None else np.log(np.asarray(spacings_mm, dtype=np.float64))
        return cls(
            num_cases=len(shapes),
            spacing=None if spacing is None else Aspect.of(spacing, _SPACING_FLOOR),
            size=None if spacing is None else Aspect.of(shape + spacing, _SIZE_FLOOR),
            shape=Aspect.of(shape, _SIZE_FLOOR),
        )


def keeps_gain(normalization: NormalizationName) -> bool:
    """Whether intensities come to the network in a unit that all images share."""
    return normalization in _ABSOLUTE


def intensity_values(figures: ChannelFigures, normalization: NormalizationName, unit: float) -> list[float]:
    """The figures by which a channel is compared.

    Where the scheme keeps the gain, the percentiles in a unit. Where it does not, the percentiles as z-scores, as a
    network sees them, and the mean in standard deviations, which tells where zero was; as `arcsinh`, because an offset
    that is large anyway matters less.

    Args:
        figures: Of the channel.
        normalization: Its scheme.
        unit: Usual distance of the outer percentiles; only used for the first kind.
    """
    values = np.asarray(figures.percentiles)
    if keeps_gain(normalization):
        return [float(value) for value in values / unit]
    std = figures.std or 1.0
    return [*(float(value) for value in (values - figures.mean) / std), float(np.arcsinh(figures.mean / std))]


def texture_values(figures: ChannelFigures) -> list[float]:
    """The figure by which the texture of a channel is compared."""
    return [float(np.log(figures.grain + _LEAST_GRAIN))]


def intensity_unit(usual: ChannelFigures) -> float:
    """The unit of `intensity_values`, of the medians over the cases."""
    return (usual.percentiles[-1] - usual.percentiles[0]) or 1.0


def _intensity_aspect(cases: Sequence[ChannelFigures], normalization: NormalizationName) -> Aspect:
    unit = intensity_unit(_median_figures(cases))
    floor = _ABSOLUTE_FLOOR if keeps_gain(normalization) else _RELATIVE_FLOOR
    return Aspect.of(np.array([intensity_values(case, normalization, unit) for case in cases]), floor)


def _texture_aspect(cases: Sequence[ChannelFigures]) -> Aspect:
    return Aspect.of(np.array([texture_values(case) for case in cases]), _GRAIN_FLOOR)


def _median_figures(cases: Sequence[ChannelFigures]) -> ChannelFigures:
    def median(of: Callable[[ChannelFigures], float]) -> float:
        return float(np.median([of(case) for case in cases]))

    p05, p25, p50, p75, p95 = np.median([case.percentiles for case in cases], axis=0).tolist()
    return ChannelFigures(
        percentiles=(p05, p25, p50, p75, p95),
        mean=median(lambda case: case.mean),
        std=median(lambda case: case.std),
        minimum=median(lambda case: case.minimum),
        maximum=median(lambda case: case.maximum),
        grain=median(lambda case: case.grain),
    )


def _ranges(values: Array, floor: float) -> tuple[Range, ...]:
    return tuple(Range.of(column, floor) for column in values.T)


def _left_out_distances(values: Array, floor: float) -> list[float]:
    """Of each case `(num_cases, num_figures)` from the ranges of the others."""
    if len(values) > _MANY_CASES:
        ranges = _ranges(values, floor)
        return [_distance(ranges, own) for own in values]
    return [_distance(_ranges(np.delete(values, index, axis=0), floor), own) for index, own in enumerate(values)]


def _distance(figures: Sequence[Range], values: Figures) -> float:
    """Of the figure that lies farthest outside."""
    return max(figure.distance(float(value)) for figure, value in zip(figures, values, strict=True))
