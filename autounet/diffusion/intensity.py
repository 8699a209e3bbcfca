"""Intensities of images as diffusion sees them: of mean 0 and variance 1; and the way back to raw ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autounet.records import Record


class Line(Record):
    """`raw = offset + scale * prepared`, of one channel of one case."""

    offset: float
    scale: float


class ChannelRange(Record):
    """Prepared intensities of a channel over the training cases.

    Attributes:
        mean: Of the cases' means.
        std: About it.
        low: The lowest of all.
        high: The highest.
        raw_low: The lowest of all raw intensities.
        raw_high: The highest.
        whole_numbers: Whether raw intensities are such.
    """

    mean: float
    std: float
    low: float
    high: float
    raw_low: float
    raw_high: float
    whole_numbers: bool


class IntensityRange(Record):
    """How intensities come into the network's range and back.

    Attributes:
        channels: Of the images.
        num_files: Of a raw image: one a channel, or one for all.
        cases: The way back of each channel, for each of some training cases: normalisation is often a case's own, so
            that drawn images take that of one of these.
    """

    channels: tuple[ChannelRange, ...]
    num_files: int
    cases: tuple[tuple[Line, ...], ...]

    def scaled(self, image: Tensor) -> Tensor:
        """Prepared images `(B, C, *spatial)` to the network's range."""
        mean, std = self._mean_and_std(image)
        return (image - mean) / std

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and the highest of the network's range, `(1, C, 1, ...)` for images `(B, C, *spatial)`."""
        low, high = ([getattr(entry, name) for entry in self.channels] for name in ("low", "high"))
        return self.scaled(_by_channel(low, like)), self.scaled(_by_channel(high, like))

    def raw(self, drawn: npt.NDArray[np.float32], case: int) -> npt.NDArray[np.float32]:
        """Images `(C, Z, Y, X)` of the network's range as raw ones, as those of one of the cases are."""
        result = np.empty_like(drawn)
        for index, (channel, line) in enumerate(zip(self.channels, self.cases[case], strict=True)):
            prepared = drawn[index] * channel.std + channel.mean
            values = np.clip(line.offset + line.scale * prepared, channel.raw_low, channel.raw_high)
            result[index] = np.rint(values) if channel.whole_numbers else values
        return result

    def _mean_and_std(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = ([getattr(entry, name) for entry in self.channels] for name in ("mean", "std"))
        return _by_channel(mean, like), _by_channel(std, like)


def _by_channel(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device).reshape(1, -1, *(1,) * (like.ndim - 2))
