"""Schedules against published values, closed forms, and what must hold of any."""

from __future__ import annotations

import math

import pytest
import torch

from autounet.diffusion.schedule import SCHEDULES, NoiseSchedule, ScheduleName, ddim_times, scaled_linear_betas
from autounet.errors import RequestError


def test_stable_diffusions_schedule_has_its_values() -> None:
    shares = NoiseSchedule.of("scaled_linear", 1000).alpha_bars
    known = {
        0: 0.99915,
        1: 0.998296028,
        100: 0.894223478,
        250: 0.673792625,
        500: 0.276332684,
        750: 0.056169848,
        981: 0.005775500,
        999: 0.004660099,
    }
    assert {time: shares[time].item() for time in known} == pytest.approx(known, abs=1e-9)
    betas = scaled_linear_betas(1000)
    assert betas.sum().item() == pytest.approx(5.348992792, abs=1e-9)
    assert betas[500].item() == pytest.approx(
        (math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) * 500 / 999) ** 2, rel=1e-12
    )


def test_ddpms_schedule_ends_almost_without_the_image() -> None:
    assert NoiseSchedule.of("linear", 1000).alpha_bars[-1].item() == pytest.approx(4.0358e-5, rel=1e-4)


@pytest.mark.parametrize("time", [0, 99, 499, 899])
def test_the_cosine_schedule_is_a_squared_cosine(time: int) -> None:
    def cosine(share: float) -> float:
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    shares = NoiseSchedule.of("cosine", 1000).alpha_bars
    assert shares[time].item() == pytest.approx(cosine((time + 1) / 1000) / cosine(0), rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("num_times", [50, 1000])
def test_images_give_way_to_noise_whatever_the_number_of_times(name: ScheduleName, num_times: int) -> None:
    schedule = NoiseSchedule.of(name, num_times)
    shares = schedule.alpha_bars
    assert schedule.num_times == len(shares) == num_times
    assert (shares.diff() < 0).all()
    assert 0.95 < shares[0] < 1
    assert 0 < shares[-1] < 0.005


def test_shares_broadcast_to_images() -> None:
    schedule = NoiseSchedule.of("linear", 1000)
    shares = schedule.at(torch.tensor([0, 999]), 4)
    assert shares.shape == (2, 1, 1, 1)
    assert shares.dtype == torch.float32
    assert shares[1].item() == pytest.approx(4.0358e-5, rel=1e-4)


def test_fifty_steps_pass_through_every_twentieth_time() -> None:
    times = ddim_times(50, 1000)
    assert times[:2] == [981, 961]
    assert times[-1] == 1
    assert len(times) == 50
    assert ddim_times(1, 1000) == [1]


@pytest.mark.parametrize("steps", [0, 501])
def test_more_steps_than_there_are_times_for_are_refused(steps: int) -> None:
    with pytest.raises(RequestError, match="give 1 to 500"):
        ddim_times(steps, 1000)
