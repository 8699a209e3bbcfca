"""Noise laid on and taken off: published values, inverses, and a Gaussian, of which everything is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from autounet.diffusion.process import (
    Estimate,
    Prediction,
    ddim_sigma,
    ddim_step,
    estimate,
    guided,
    noisy,
    target,
    within,
)
from autounet.diffusion.schedule import NoiseSchedule, ddim_times

STABLE = NoiseSchedule.of("scaled_linear", 1000).alpha_bars


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_a_step_of_ddim_has_its_values() -> None:
    found = estimate(number(0.5), number(1.0), STABLE[981], "noise")
    assert found.image.item() == pytest.approx(6.5982588, abs=1e-7)
    assert ddim_step(found, STABLE[981], STABLE[961]).item() == pytest.approx(1.0612257, abs=1e-7)
    assert ddim_sigma(STABLE[981], STABLE[961], 1.0).item() == pytest.approx(0.4544633, abs=1e-7)


def test_the_last_step_of_ddim_has_its_values() -> None:
    found = estimate(number(0.5), number(1.0), STABLE[1], "noise")
    assert found.image.item() == pytest.approx(0.9801959, abs=1e-7)
    assert ddim_step(found, STABLE[1], STABLE[0]).item() == pytest.approx(0.9943566, abs=1e-7)


@pytest.mark.parametrize("prediction", ["noise", "v"])
@pytest.mark.parametrize("time", [0, 300, 999])
def test_the_target_tells_image_and_noise_exactly(prediction: Prediction, time: int) -> None:
    torch.manual_seed(0)
    image, noise = torch.randn(2, 1, 4, 4, dtype=torch.float64), torch.randn(2, 1, 4, 4, dtype=torch.float64)
    share = STABLE[time]
    found = estimate(target(image, noise, share, prediction), noisy(image, noise, share), share, prediction)
    torch.testing.assert_close(found.image, image)
    torch.testing.assert_close(found.noise, noise)


def test_v_has_its_closed_form() -> None:
    assert target(number(3.0), number(2.0), number(0.36), "v").item() == pytest.approx(0.6 * 2 - 0.8 * 3)


def test_noise_of_unit_variance_keeps_that_of_images_of_unit_variance() -> None:
    torch.manual_seed(0)
    mixed = noisy(torch.randn(200_000), torch.randn(200_000), torch.tensor(0.3))
    assert mixed.var().item() == pytest.approx(1, abs=0.02)


def sampled(num_steps: int, mean: float, std: float, start: Tensor, eta: float, prediction: Prediction) -> Tensor:
    """Samples of a Gaussian whose best prediction is known in closed form, from noise `start`."""
    schedule = NoiseSchedule.of("cosine", 1000)
    times = ddim_times(num_steps, 1000)
    x = start
    for time, after in zip(times, (*times[1:], 0), strict=True):
        share, next_share = schedule.alpha_bars[time], schedule.alpha_bars[after]
        # The posterior mean of the noise, given the sum of it and the image.
        noise = (1 - share).sqrt() * (x - share.sqrt() * mean) / (share * std**2 + 1 - share)
        image = (x - (1 - share).sqrt() * noise) / share.sqrt()
        found = estimate(target(image, noise, share, prediction), x, share, prediction)
        fresh = torch.randn(x.shape, dtype=x.dtype) if eta else None
        x = ddim_step(found, share, next_share, eta, fresh)
    return x


@pytest.mark.parametrize("prediction", ["noise", "v"])
def test_ddim_gives_a_gaussian_its_mean_and_standard_deviation(prediction: Prediction) -> None:
    """Without fresh noise a sample moves along a line, so two starts tell the mean and the deviation without chance."""
    low, high = sampled(500, 2.0, 0.5, torch.tensor([-1.0, 1.0], dtype=torch.float64), 0.0, prediction).tolist()
    assert (low + high) / 2 == pytest.approx(2.0, abs=0.03)
    assert (high - low) / 2 == pytest.approx(0.5, rel=0.03)


def test_ddim_is_exact_for_a_single_image_in_any_number_of_steps() -> None:
    start = torch.tensor([0.3, -2.0], dtype=torch.float64)
    schedule = NoiseSchedule.of("cosine", 1000)
    for steps in (1, 7):
        x = sampled(steps, 2.0, 0.0, start, 0.0, "noise")
        share = schedule.alpha_bars[0]
        first = schedule.alpha_bars[ddim_times(steps, 1000)[0]]
        noise = (start - first.sqrt() * 2.0) / (1 - first).sqrt()
        torch.testing.assert_close(x, noisy(torch.full_like(start, 2.0), noise, share))


def test_with_fresh_noise_a_gaussian_keeps_its_mean_and_standard_deviation() -> None:
    torch.manual_seed(0)
    drawn = sampled(200, 2.0, 0.5, torch.randn(20_000, dtype=torch.float64), 1.0, "noise")
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.03)
    assert drawn.std().item() == pytest.approx(0.5, rel=0.05)


def test_what_lies_beyond_the_bounds_counts_as_noise() -> None:
    share, noised = number(0.25), number(1.0)
    found = within(Estimate(number(5.0), number(-1.7)), noised, share, number(-1.0), number(1.0))
    assert found.image.item() == 1.0
    assert noisy(found.image, found.noise, share).item() == pytest.approx(1.0)
    inside = Estimate(number(0.5), (noised - 0.5 * 0.5) / math.sqrt(0.75))
    kept = within(inside, noised, share, number(-1.0), number(1.0))
    torch.testing.assert_close((kept.image, kept.noise), (inside.image, inside.noise))


def test_guidance_goes_beyond_the_condition() -> None:
    without, conditioned = number(1.0), number(3.0)
    assert [guided(without, conditioned, scale).item() for scale in (0.0, 1.0, 7.5)] == [1.0, 3.0, 16.0]
