"""Intensity normalisation, one channel at a time.

Schemes and constants are nnU-Net's (`default_normalization_schemes.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from autounet.errors import RequestError
from autounet.geometry import Array
from autounet.plans import ChannelPlan, NormalizationName

# Keeps a constant image from dividing by zero.
EPSILON = 1e-8

Channel = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def normalize(channel: Array, plan: ChannelPlan, body: Mask | None) -> Channel:
    """Normalise one channel `(Z, Y, X)`, float32.

    Args:
        channel: Raw intensities.
        plan: The scheme and the dataset's statistics.
        body: Where the body is; only used where the plan asks for masking, then voxels outside stay as they are.

    Raises:
        RequestError: The intensities do not fit the scheme (RGB outside 0..255).
    """
    values = channel.astype(np.float32)
    return SCHEMES[plan.normalization](values, plan, body if plan.use_mask else None)


def _ct(values: Channel, plan: ChannelPlan, body: Mask | None) -> Channel:
    statistics = plan.statistics
    np.clip(values, statistics.percentile_00_5, statistics.percentile_99_5, out=values)
    values -= statistics.mean
    values /= max(statistics.std, EPSILON)
    return values


def _zscore(values: Channel, plan: ChannelPlan, body: Mask | None) -> Channel:
    # Statistics in float64: float32 sums over many large values lose digits.
    if body is None:
        mean, std = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        values -= np.float32(mean)
        values /= np.float32(max(std, EPSILON))
        return values
    inside = values[body]
    if not inside.size:  # an empty image has no body
        return values
    mean, std = inside.mean(dtype=np.float64), inside.std(dtype=np.float64)
    values[body] = (inside - np.float32(mean)) / np.float32(max(std, EPSILON))
    return values


def _nonorm(values: Channel, plan: ChannelPlan, body: Mask | None) -> Channel:
    return values


def _rescale_to_0_1(values: Channel, plan: ChannelPlan, body: Mask | None) -> Channel:
    values -= values.min()
    values /= max(values.max(), EPSILON)
    return values


def _rgb_to_0_1(values: Channel, plan: ChannelPlan, body: Mask | None) -> Channel:
    low, high = values.min(), values.max()
    if low < 0 or high > 255:
        raise RequestError(
            f"channel '{plan.name}' is declared rgb_to_0_1, but its values run from {low:g} to {high:g}, "
            "not from 0 to 255. Give the channel another name in dataset.json, for example 'zscore'."
        )
    values /= 255.0
    return values


SCHEMES: dict[NormalizationName, Callable[[Channel, ChannelPlan, Mask | None], Channel]] = {
    "ct": _ct,
    "zscore": _zscore,
    "nonorm": _nonorm,
    "rescale_to_0_1": _rescale_to_0_1,
    "rgb_to_0_1": _rgb_to_0_1,
}
