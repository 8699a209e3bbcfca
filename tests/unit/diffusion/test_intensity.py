"""Intensities to the network's range and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autounet.diffusion.intensity import ChannelRange, IntensityRange, Line


def intensities(*, whole_numbers: bool = False) -> IntensityRange:
    channel = ChannelRange(
        mean=1.0, std=2.0, low=-3.0, high=9.0, raw_low=0.0, raw_high=255.0, whole_numbers=whole_numbers
    )
    other = channel.model_copy(update={"mean": 0.0, "std": 1.0, "low": -1.0, "high": 1.0})
    dark = (Line(offset=50.0, scale=10.0), Line(offset=0.0, scale=100.0))
    bright = (Line(offset=100.0, scale=10.25), Line(offset=0.0, scale=100.0))
    return IntensityRange(channels=(channel, other), num_files=2, cases=(dark, bright))


def test_images_are_scaled_channel_by_channel() -> None:
    image = torch.tensor([5.0, 0.5]).reshape(1, 2, 1, 1)
    assert intensities().scaled(image).flatten().tolist() == [2.0, 0.5]
    low, high = intensities().bounds(image)
    assert low.flatten().tolist() == [-2.0, -1.0]
    assert high.flatten().tolist() == [4.0, 1.0]
    assert low.shape == (1, 2, 1, 1)


@pytest.mark.parametrize(("case", "expected"), [(0, 100.0), (1, 151.25)])
def test_the_way_back_is_that_of_a_case(case: int, expected: float) -> None:
    drawn = np.array([2.0, 0.5], dtype=np.float32).reshape(2, 1, 1, 1)
    assert intensities().raw(drawn, case).flatten().tolist() == [expected, 50.0]


def test_raw_intensities_stay_in_their_range_and_whole_where_they_were() -> None:
    drawn = np.array([[2.0, 90.0], [0.504, -3.0]], dtype=np.float32).reshape(2, 1, 1, 2)
    assert intensities(whole_numbers=True).raw(drawn, 1).flatten().tolist() == [151.0, 255.0, 50.0, 0.0]
