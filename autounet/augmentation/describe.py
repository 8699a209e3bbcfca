"""What was drawn, in words: for pictures of augmented patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autounet.augmentation.parameters import (
    BlurParameters,
    ChannelParameters,
    ContrastParameters,
    GammaParameters,
    GradientParameters,
    LinearParameters,
    LocalGammaParameters,
    LowResolutionParameters,
    MedianParameters,
    NoiseParameters,
    RectangleParameters,
    SharpenParameters,
)
from autounet.augmentation.patches import BatchParameters
from autounet.augmentation.previous import Morphology, Operation, Removal
from autounet.augmentation.spatial import SpatialParameters

_TINY = 1e-6
# Of the first channel that is struck.
_WORDS: dict[type[ChannelParameters], Callable[[Any, int], str]] = {
    NoiseParameters: lambda drawn, row: f"noise {drawn.sigma[row]:.2f}",
    LinearParameters: lambda drawn, row: _brightness(drawn.factor[row], drawn.offset[row]),
    ContrastParameters: lambda drawn, row: f"contrast x {drawn.factor[row]:.2f}",
    GammaParameters: lambda drawn, row: f"gamma {drawn.exponent[row]:.2f}" + " inverted" * drawn.inverted,
    BlurParameters: lambda drawn, row: f"blur {drawn.sigma[row].mean():.1f}",
    LowResolutionParameters: lambda drawn, row: f"resolution x {drawn.zoom[row].min():.2f}",
    MedianParameters: lambda drawn, row: f"median of {drawn.size[row]}",
    SharpenParameters: lambda drawn, row: f"sharpened {drawn.strength[row]:.2f}",
    RectangleParameters: lambda drawn, row: "blank boxes",
    GradientParameters: lambda drawn, row: f"gradient {drawn.strength[row]:+.1f}",
    LocalGammaParameters: lambda drawn, row: f"local gamma {drawn.exponent[row]:.2f}",
}
_MORPHED: dict[Operation, str] = {"dilate": "grown", "erode": "shrunk", "close": "closed", "open": "opened"}


def _brightness(factor: float, offset: float) -> str:
    changes = [f"x {factor:.2f}"] * int(factor != 1) + [f"{offset:+.2f}"] * int(offset != 0)
    return " ".join(["brightness", *changes])


def described(parameters: BatchParameters, sample: int, num_channels: int) -> tuple[str, ...]:
    """What happens to a sample, in the order in which it does; of changes of value, in its first channel struck."""
    words = _moves(parameters.spatial, sample)
    for drawn in parameters.intensity:
        struck = np.flatnonzero(drawn.rows // num_channels == sample)
        if len(struck):
            say = _WORDS.get(type(drawn))
            words.append(type(drawn).__name__ if say is None else say(drawn, int(struck[0])))
    if parameters.previous is not None:
        words += [_told(change) for change in parameters.previous.changes if change.sample == sample]
    return tuple(words)


def _told(change: Morphology | Removal) -> str:
    """A change of what the first stage of a cascade told."""
    if isinstance(change, Removal):
        return f"told label {change.value} without a small part"
    return f"told label {change.value} {_MORPHED[change.operation]} by {change.radius}"


def _moves(spatial: SpatialParameters, sample: int) -> list[str]:
    matrix = spatial.matrix[sample]
    words = []
    if spatial.interpolated[sample]:
        # Rows are unit vectors times the factor on distances in the case: by 1.2, objects are 1 / 1.2 as large.
        lengths = np.linalg.norm(matrix, axis=1)
        turned = not np.allclose(np.abs(matrix / lengths[:, None]).max(axis=1), 1)
        sizes = [f"{1 / length:.2f}" for length in lengths]
        words += ["mirrored"] * bool(np.linalg.det(matrix) < 0) + ["turned"] * turned
        if not np.allclose(lengths, 1):
            words.append("size x " + " x ".join(sizes[:1] if np.ptp(lengths) < _TINY else sizes))
        if spatial.displacement is not None and spatial.displacement[sample].any():
            words.append("deformed")
    elif not (matrix == np.eye(len(matrix))).all():
        words.append("mirrored" if (np.diag(matrix) != 0).all() else "turned by quarters")
    return words + ["sides exchanged"] * bool(spatial.swapped[sample])
