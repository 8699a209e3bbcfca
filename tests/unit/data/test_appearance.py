"""What is measured in an image, and against what it is compared."""

from __future__ import annotations

import numpy as np
import pytest

from autounet.data.appearance import appearance_of
from autounet.data.io import Image
from autounet.data.usual import Aspect, Range, UsualImages, intensity_values


def test_the_figures_of_a_small_image_are_those_counted_by_hand() -> None:
    array = np.zeros((4, 3, 6), np.float32)
    array[1:3, :, 1:6] = [1, 2, 3, 4, 5]
    found = appearance_of(Image.from_array(array, (5, 1, 2)))
    assert (found.spacing_mm, found.shape) == ((5, 1, 2), (2, 3, 5))
    (channel,) = found.channels
    # Above zero there are the numbers from 1 to 5, six of each.
    assert channel.percentiles == pytest.approx((1, 2, 3, 4, 5))
    assert (channel.minimum, channel.maximum) == (0, 5)
    assert channel.mean == pytest.approx(6 * 15 / 72)
    assert channel.std == pytest.approx(array.std())
    # From voxel to voxel in memory: six rows go 0 1 2 3 4 5, and back to 0 where another row or a border follows.
    assert channel.grain * channel.std == pytest.approx(np.abs(np.diff(array.reshape(-1))).sum() / 72)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_an_image_without_contrast_has_finite_figures(value: float) -> None:
    (channel,) = appearance_of(Image.from_array(np.full((3, 4, 5), value), None)).channels
    figures = [*channel.percentiles, channel.std, channel.grain]
    assert np.isfinite(figures).all()
    assert np.isfinite(intensity_values(channel, "zscore", 1.0)).all()


def test_an_array_without_voxel_sizes_tells_none() -> None:
    assert appearance_of(Image.from_array(np.ones((3, 4, 5)))).spacing_mm is None


def test_a_distance_is_counted_in_spreads_outside_the_range() -> None:
    known = Range(low=2, median=3, high=4, spread=0.5)
    assert [known.distance(value) for value in (1.0, 2.0, 3.3, 4.0, 5.5)] == [2, 0, 0, 0, 3]


def test_few_equal_cases_leave_room_by_the_floor_and_many_leave_less() -> None:
    few, many = (Aspect.of(np.zeros((count, 2)), 0.1) for count in (2, 200))
    # 3 spreads of .1, times 1 + 4 / n.
    assert few.score([0.0, 0.9]) == pytest.approx(1)
    assert many.score([0.306, 0.0]) == pytest.approx(1)


def test_cases_that_lie_far_from_each_other_widen_the_limit() -> None:
    values = np.concatenate([np.zeros(19), [1.0]])[:, None]
    alone = Aspect.of(values, 0.1)
    # Left out, the odd case lies 10 spreads outside of the others; of 20 cases, that is nearly the 99th percentile.
    assert 1.5 * 8 < alone.limit <= 1.5 * 10
    assert alone.limit > Aspect.of(values[:19], 0.1).limit


@pytest.mark.parametrize("seed", range(5))
def test_cases_of_one_distribution_are_rarely_outside(seed: int) -> None:
    generator = np.random.default_rng(seed)
    aspect = Aspect.of(generator.standard_normal((40, 5)), 0.05)
    assert np.mean([aspect.score(case) > 1 for case in generator.standard_normal((400, 5))]) < 0.005
    assert aspect.score([0, 0, 12, 0, 0]) > 1


def test_one_odd_case_of_many_does_not_widen_the_range() -> None:
    values = np.concatenate([np.random.default_rng(0).standard_normal(400), [1000.0]])[:, None]
    assert Aspect.of(values, 0.05).score([500.0]) > 10


def test_gain_matters_only_where_the_scheme_keeps_it() -> None:
    generator = np.random.default_rng(0)
    array = generator.gamma(2, 50, (6, 20, 20))
    images = [appearance_of(Image.from_array(array[index] * 1.0)) for index in range(6)]
    louder = appearance_of(Image.from_array(array[0] * 40)).channels[0]
    for scheme, is_alike in (("zscore", True), ("ct", False)):
        usual = UsualImages.of(images, [scheme])  # type: ignore[list-item]
        unit = usual.channels[0].percentiles[-1] - usual.channels[0].percentiles[0]
        score = usual.intensities[0].score(intensity_values(louder, scheme, unit))  # type: ignore[arg-type]
        assert (score < 1) is is_alike
