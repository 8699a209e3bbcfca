"""What an image looks like, without its label, in so few numbers that every case of a dataset can keep them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autounet.data.io import Image
from autounet.geometry import Shape3, Triple, axis_codes, nonzero_box
from autounet.records import Record

PERCENTILES = (5, 25, 50, 75, 95)
_MAX_SAMPLES = 50_000

Channel = npt.NDArray[np.float32]


class ChannelFigures(Record):
    """Intensities of one channel, of all voxels or of a sample of them.

    Attributes:
        percentiles: The `PERCENTILES` of the voxels above the minimum.
        mean: Of all voxels; likewise the others.
        grain: Mean difference of neighbours along x, in standard deviations: small where an image is smooth.
    """

    percentiles: tuple[float, float, float, float, float]
    mean: float
    std: float
    minimum: float
    maximum: float
    grain: float


class Appearance(Record):
    """What was measured in an image.

    Attributes:
        spacing_mm: Voxel size `(z, y, x)`; `None` where the file tells none.
        shape: Voxels `(z, y, x)` of the box outside of which all channels are zero.
        axes: Where the voxel axes x, y and z run to, such as `RAS`.
        channels: Of each channel.
    """

    spacing_mm: Triple | None
    shape: Shape3
    axes: str
    channels: tuple[ChannelFigures, ...]


def appearance_of(image: Image) -> Appearance:
    """Measure an image; voxels that are no finite numbers do not count."""
    z, y, x = nonzero_box(image.array).shape
    return Appearance(
        spacing_mm=image.geometry.spacing_mm if image.geometry.tells_spacing else None,
        shape=(z, y, x),
        axes=axis_codes(image.geometry),
        channels=tuple(map(_figures, image.array)),
    )


def percentiles_above_minimum(channel: Channel) -> npt.NDArray[np.float64]:
    """The `PERCENTILES` of a channel `(Z, Y, X)`."""
    return _percentiles(_samples(channel)[:, 0])


def _figures(channel: Channel) -> ChannelFigures:
    pairs = _samples(channel)
    sample = pairs[:, 0]
    std = float(sample.std(dtype=np.float64))
    p05, p25, p50, p75, p95 = _percentiles(sample).tolist()
    return ChannelFigures(
        percentiles=(p05, p25, p50, p75, p95),
        mean=float(sample.mean(dtype=np.float64)),
        std=std,
        minimum=float(sample.min()),
        maximum=float(sample.max()),
        grain=float(np.abs(pairs[:, 1] - sample).mean(dtype=np.float64)) / (std or 1.0),
    )


def _samples(channel: Channel) -> Channel:
    """Finite voxels, evenly drawn, each with the next one `(num_samples, 2)`; zeros where there is none."""
    flat = channel.reshape(-1)
    step = max(1, flat.size // _MAX_SAMPLES)
    places = np.arange(0, flat.size, step)
    pairs = np.stack([flat[places], flat[np.minimum(places + 1, flat.size - 1)]], axis=1)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    return pairs if len(pairs) else np.zeros((1, 2), np.float32)


def _percentiles(sample: Channel) -> npt.NDArray[np.float64]:
    # The minimum is mostly padding or air, and its share says more about the field of view than about the image.
    above = sample[sample > sample.min()]
    return np.percentile((above if above.size else sample).astype(np.float64), PERCENTILES)
