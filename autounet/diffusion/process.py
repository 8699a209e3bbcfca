"""Noise laid over images, and taken off again.

Notation: an image `x`, noise `e` of the normal distribution, the image's share `a` (alpha-bar) at a time. Shares
broadcast to the images' shape `(B, C, *spatial)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Prediction = Literal["noise", "v"]


@dataclass(frozen=True)
class Estimate:
    """What a noisy image is taken to be made of.

    Attributes:
        image: `(B, C, *spatial)`.
        noise: The same.
    """

    image: Tensor
    noise: Tensor


def noisy(image: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """`sqrt(a) x + sqrt(1 - a) e` (Ho et al., NeurIPS 2020, equation 4)."""
    return share.sqrt() * image + (1 - share).sqrt() * noise


def target(image: Tensor, noise: Tensor, share: Tensor, prediction: Prediction) -> Tensor:
    """What a network has to predict: the noise, or `v = sqrt(a) e - sqrt(1 - a) x`.

    `v`: Salimans and Ho, "Progressive Distillation" (ICLR 2022), section 4; it stays of use where all is noise.
    """
    return noise if prediction == "noise" else share.sqrt() * noise - (1 - share).sqrt() * image


def estimate(predicted: Tensor, noised: Tensor, share: Tensor, prediction: Prediction) -> Estimate:
    """Image and noise of a noisy image, from what a network predicted."""
    kept, lost = share.sqrt(), (1 - share).sqrt()
    if prediction == "noise":
        return Estimate((noised - lost * predicted) / kept, predicted)
    return Estimate(kept * noised - lost * predicted, lost * noised + kept * predicted)


def within(found: Estimate, noised: Tensor, share: Tensor, low: Tensor, high: Tensor) -> Estimate:
    """An estimate whose image lies between bounds; what is cut off it counts as noise."""
    image = found.image.clamp(low, high)
    return Estimate(image, (noised - share.sqrt() * image) / (1 - share).sqrt())


def ddim_step(
    found: Estimate, share: Tensor, next_share: Tensor, eta: float = 0.0, fresh: Tensor | None = None
) -> Tensor:
    """The noisy image of the next, less noisy time.

    Song et al., "Denoising Diffusion Implicit Models" (ICLR 2021), equations 12 and 16.

    Args:
        found: Of the noisy image at this time.
        share: The image's at this time.
        next_share: At the next.
        eta: How much of the noise is drawn anew: 0 for none, 1 as in DDPM.
        fresh: Such noise.
    """
    sigma = ddim_sigma(share, next_share, eta)
    moved = next_share.sqrt() * found.image + (1 - next_share - sigma**2).sqrt() * found.noise
    return moved if fresh is None else moved + sigma * fresh


def ddim_sigma(share: Tensor, next_share: Tensor, eta: float) -> Tensor:
    """Standard deviation of the noise that a step draws anew."""
    return eta * ((1 - next_share) / (1 - share)).sqrt() * (1 - share / next_share).sqrt()


def guided(without: Tensor, conditioned: Tensor, scale: float) -> Tensor:
    """Beyond what a condition changes: Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), scaled as in LDM.

    A scale of 1 gives the conditioned prediction, 0 the other.
    """
    return without + scale * (conditioned - without)
