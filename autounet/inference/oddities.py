"""What is unlike the training data about an image, one question at a time, each answered in a sentence."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from autounet.data.appearance import Appearance, ChannelFigures
from autounet.data.usual import (
    Array,
    Aspect,
    Figures,
    UsualImages,
    intensity_unit,
    intensity_values,
    keeps_gain,
    texture_values,
)
from autounet.plans import ChannelPlan, IntensityStatistics
from autounet.records import Record

Subject = Literal["spacing", "size", "orientation", "intensities", "texture", "normalisation", "channel order"]

# Of what cannot be counted in spreads, such as an orientation that no training image has.
_NEVER_SEEN = 2.0
# A voxel size that is wrong by a unit or a forgotten factor is so by a power of ten.
_FACTORS = (10, 100, 1000, 10_000, 1_000_000)
# Z-scored over all voxels or over the body alone: mean and deviation of what came out. Raw images hardly have these.
_ZSCORED_MEAN, _ZSCORED_STD = 0.25, (0.4, 1.6)
# Where values that span hundreds come within some units, somebody has normalised them.
_RAW_WIDTH, _NORMALISED_WIDTH = 100.0, 20.0
# An image must reach over this share of the foreground's intensities, where nothing else is known.
_LEAST_OVERLAP = 0.25
_UNTOUCHED = "give the images as they came from the scanner: the model normalises them itself"


class Oddity(Record):
    """One thing that is unlike the training data.

    Attributes:
        about: What it is about.
        channel: The channel's name, where it is about one.
        score: 1 at the limit; the more, the more unlike.
        value: The image's.
        training: What the training data had.
        remedy: What to do.
    """

    about: Subject
    channel: str | None = None
    score: float
    value: str
    training: str
    remedy: str

    def __str__(self) -> str:
        """`spacing 10 x 10 x 10 mm, in training 1 x 1 x 1 mm`."""
        of = "" if self.channel is None else f" of {self.channel}"
        return f"{self.about}{of}: {self.value}; in training {self.training}"


def size_oddities(image: Appearance, usual: UsualImages) -> tuple[float, list[Oddity]]:
    """Whether voxel size and extent are unlike: the score, and what is to be told."""
    voxels = np.log(image.shape)
    shape = usual.shape.score(voxels)
    if image.spacing_mm is None or usual.spacing is None or usual.size is None:
        told = [_size(shape, usual.shape, voxels, "voxels")] if shape >= 1 else []
        return shape, told
    spacing_mm = np.log(image.spacing_mm)
    extent = voxels + spacing_mm
    spacing, size = usual.spacing.score(spacing_mm), usual.size.score(extent)
    oddities = []
    if spacing >= 1:
        oddities.append(_spacing(spacing, usual.spacing, spacing_mm, as_many_voxels=shape < 1))
    # With as many voxels as usual, the extent is odd only because the voxel size is.
    if size >= 1 and not (spacing >= 1 and shape < 1):
        oddities.append(_size(size, usual.size, extent, "mm"))
    return max(spacing, size), oddities


def axes_oddity(image: Appearance, usual: UsualImages) -> Oddity | None:
    """Whether the voxel axes run where no training image's do."""
    if not usual.axes or image.axes in usual.axes:
        return None
    return Oddity(
        about="orientation",
        score=_NEVER_SEEN,
        value=f"its axes run {image.axes}",
        training=" or ".join(usual.axes),
        remedy=f"turn the images until their axes run {usual.axes[0]}, mask and all",
    )


def order_oddity(image: Appearance, usual: UsualImages, channels: Sequence[ChannelPlan]) -> Oddity | None:
    """Whether the channels would fit much better in another order."""
    if usual.order is None:
        return None
    other = usual.order.better_order(np.array([entry.percentiles for entry in image.channels]))
    if other is None:
        return None
    names = [channel.name for channel in channels]
    return Oddity(
        about="channel order",
        score=other.misfit / other.misfit_then if other.misfit_then else other.misfit,
        value=f"by their intensities the files are {', '.join(names[place] for place in np.argsort(other.order))}",
        training=", ".join(names),
        remedy="rename the files so that the channels come in the order of training (_0000, _0001, ...)",
    )


def intensity_oddity(found: ChannelFigures, channel: ChannelPlan, aspect: Aspect, usual: ChannelFigures) -> Oddity:
    """How unlike the intensities of one channel are; told only from a score of 1 on."""
    score = aspect.score(intensity_values(found, channel.normalization, intensity_unit(usual)))
    form = _normalised_form(found, usual.mean, usual.std, usual.maximum - usual.minimum)
    if form is not None and (score >= 1 or form.startswith("z-scored")):
        return _normalised(max(score, _NEVER_SEEN), channel.name, found, form, _levels(usual))
    return Oddity(
        about="intensities",
        channel=channel.name,
        score=score,
        value=_levels(found),
        training=_levels(usual),
        remedy="see whether it is the same modality, unit and part of the body",
    )


def texture_oddity(found: ChannelFigures, channel: ChannelPlan, aspect: Aspect, usual: ChannelFigures) -> Oddity:
    """How unlike the texture of one channel is; told only from a score of 1 on."""
    return Oddity(
        about="texture",
        channel=channel.name,
        score=aspect.score(texture_values(found)),
        value=f"neighbouring voxels differ by {found.grain:.2g} standard deviations",
        training=f"by {usual.grain:.2g}",
        remedy="see whether it was smoothed, enlarged or made noisy, or shows another part of the body",
    )


def foreground_oddity(found: ChannelFigures, channel: ChannelPlan) -> Oddity:
    """The same by nothing but the intensities of the foreground, as in models that know no more."""
    usual = channel.statistics
    low, high = usual.percentile_00_5, usual.percentile_99_5
    training = f"{low:.3g} to {high:.3g} in the foreground"
    form = _normalised_form(found, usual.mean, usual.std, high - low)
    has_unit = keeps_gain(channel.normalization)
    score = _LEAST_OVERLAP / max(_overlap(found, usual), 1e-3) if has_unit else 0.0
    if form is not None and (score >= 1 or form.startswith("z-scored")):
        return _normalised(max(score, _NEVER_SEEN), channel.name, found, form, training)
    return Oddity(
        about="intensities",
        channel=channel.name,
        # As far as nothing is odd, an overlap says little.
        score=score if score >= 1 else 0.0,
        value=f"{found.minimum:.3g} to {found.maximum:.3g}",
        training=training,
        remedy="see whether it is the same modality, unit and part of the body",
    )


def _overlap(found: ChannelFigures, foreground: IntensityStatistics) -> float:
    """The share of the foreground's range that the image's values reach over."""
    low, high = foreground.percentile_00_5, foreground.percentile_99_5
    shared = min(found.maximum, high) - max(found.minimum, low)
    return max(0.0, shared) / ((high - low) or 1.0)


def _spacing(score: float, aspect: Aspect, spacing_mm: Figures, *, as_many_voxels: bool) -> Oddity:
    guess = _likely_mistake(aspect, np.asarray(spacing_mm))
    if guess:
        remedy = f"correct the header: {guess}"
    elif as_many_voxels:
        remedy = "it has as many voxels as the training images, so see whether the header tells the truth"
    else:
        remedy = "see whether the header tells the truth; if so, results at this resolution are uncertain"
    return Oddity(
        about="spacing",
        score=score,
        value=f"{_product(spacing_mm)} mm (z y x)",
        training=f"{_range(aspect)} mm",
        remedy=remedy,
    )


def _likely_mistake(aspect: Aspect, spacing_mm: Array) -> str:
    """What would make the voxel sizes usual ones: another order or another unit; empty where neither does."""
    for order in itertools.permutations(range(3)):
        if aspect.score(spacing_mm[list(order)]) < 1:
            return "in another order of the axes the voxel sizes would be usual ones"
    for factor in _FACTORS:
        for sign, word in ((1, "large"), (-1, "small")):
            if aspect.score(spacing_mm - sign * np.log(factor)) < 1:
                return f"the voxel sizes look {factor} times too {word}, as from a wrong unit"
    return ""


def _size(score: float, aspect: Aspect, extent: Figures, unit: str) -> Oddity:
    return Oddity(
        about="size",
        score=score,
        value=f"{_product(extent)} {unit} (z y x)",
        training=f"{_range(aspect)} {unit}",
        remedy="see whether it shows the same part of the body, cropped as the training images were",
    )


def _normalised_form(found: ChannelFigures, mean: float, std: float, width: float) -> str | None:
    """How the values look normalised where those of training, told by three figures, were not."""
    if _is_zscored(found.mean, found.std) and found.minimum < 0 and not _is_zscored(mean, std):
        return f"z-scored (mean {found.mean:.2g}, standard deviation {found.std:.2g})"
    if width > _RAW_WIDTH and found.maximum - found.minimum < _NORMALISED_WIDTH:
        return f"normalised (from {found.minimum:.2g} to {found.maximum:.2g})"
    return None


def _is_zscored(mean: float, std: float) -> bool:
    return abs(mean) < _ZSCORED_MEAN and _ZSCORED_STD[0] < std < _ZSCORED_STD[1]


def _normalised(score: float, channel: str, found: ChannelFigures, form: str, training: str) -> Oddity:
    return Oddity(
        about="normalisation",
        channel=channel,
        score=score,
        value=f"its values look {form} already",
        training=training,
        remedy=_UNTOUCHED,
    )


def _levels(figures: ChannelFigures) -> str:
    p05, _, p50, _, p95 = figures.percentiles
    return f"{p05:.3g} / {p50:.3g} / {p95:.3g} (5th, 50th, 95th percentile)"


def _range(aspect: Aspect) -> str:
    low, high = ([getattr(figure, end) for figure in aspect.figures] for end in ("low", "high"))
    return _product(low) if np.allclose(low, high) else f"{_product(low)} to {_product(high)}"


def _product(logarithms: Figures) -> str:
    return " x ".join(f"{value:.4g}" for value in np.exp(logarithms))
