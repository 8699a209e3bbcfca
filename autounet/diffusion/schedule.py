"""How much of an image is left at each time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from autounet.errors import RequestError

ScheduleName = Literal["scaled_linear", "linear", "cosine"]
# Betas of the first and the last time, of a thousand.
_SCALED_LINEAR = (0.00085, 0.012)
_LINEAR = (1e-4, 0.02)
_COSINE_OFFSET = 0.008
_MAX_BETA = 0.999
_NUM_TIMES_OF_BETAS = 1000


@dataclass(frozen=True)
class NoiseSchedule:
    """Variances of image and noise over time.

    Attributes:
        alpha_bars: `(T,)` float64, the share of the image in the variance at each time; the rest is noise.
    """

    alpha_bars: Tensor

    @classmethod
    def of(cls, name: ScheduleName, num_times: int) -> NoiseSchedule:
        """A schedule by name, in so many times."""
        return cls(torch.cumprod(1 - SCHEDULES[name](num_times), dim=0))

    @property
    def num_times(self) -> int:
        """Times, 0 the least noisy."""
        return len(self.alpha_bars)

    def at(self, times: Tensor, num_dims: int) -> Tensor:
        """Shares of the image at times `(B,)`, float32, with as many axes as what they are multiplied with."""
        shares = self.alpha_bars.to(times.device)[times].float()
        return shares.reshape(-1, *(1,) * (num_dims - 1))


def scaled_linear_betas(num_times: int) -> Tensor:
    """Stable Diffusion's: square roots rise linearly, from 0.00085 to 0.012."""
    first, last = (math.sqrt(_rescaled(beta, num_times)) for beta in _SCALED_LINEAR)
    return torch.linspace(first, last, num_times, dtype=torch.float64) ** 2


def linear_betas(num_times: int) -> Tensor:
    """From 0.0001 to 0.02 (Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS 2020, section 4)."""
    first, last = (_rescaled(beta, num_times) for beta in _LINEAR)
    return torch.linspace(first, last, num_times, dtype=torch.float64)


def cosine_betas(num_times: int) -> Tensor:
    """The image's share falls as a squared cosine (Nichol and Dhariwal, ICML 2021, equation 17)."""
    shares = torch.arange(num_times + 1, dtype=torch.float64) / num_times
    left = torch.cos((shares + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * math.pi / 2) ** 2
    return (1 - left[1:] / left[:-1]).clamp(max=_MAX_BETA)


SCHEDULES: dict[ScheduleName, Callable[[int], Tensor]] = {
    "scaled_linear": scaled_linear_betas,
    "linear": linear_betas,
    "cosine": cosine_betas,
}


def ddim_times(num_steps: int, num_times: int) -> list[int]:
    """The times that sampling passes through, the noisiest first: evenly spread, the last is 1.

    Raises:
        RequestError: There are not so many.
    """
    if not 1 <= num_steps <= num_times // 2:
        raise RequestError(f"--steps {num_steps}: give 1 to {num_times // 2}; 50 are usual")
    stride = num_times // num_steps
    return [1 + stride * index for index in reversed(range(num_steps))]


def _rescaled(beta: float, num_times: int) -> float:
    """A beta that was told for a thousand times, so that fewer of them add as much noise."""
    return min(beta * _NUM_TIMES_OF_BETAS / num_times, _MAX_BETA)
