"""Normalisations of a few voxels, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from autounet.errors import RequestError
from autounet.plans import ChannelPlan, IntensityStatistics, NormalizationName
from autounet.preprocessing.normalize import normalize

STATISTICS = IntensityStatistics(
    mean=10, std=4, minimum=-90, maximum=300, percentile_00_5=2, median=9, percentile_99_5=26
)


def normalized(
    values: Sequence[float], scheme: NormalizationName, body: list[bool] | None = None, **changes: Any
) -> list[float]:
    plan = ChannelPlan(name="R", normalization=scheme, use_mask=body is not None, statistics=STATISTICS)
    channel = np.array(values).reshape(1, 1, -1)
    untouched = channel.copy()
    mask = np.ones(channel.shape, dtype=bool) if body is None else np.array(body).reshape(channel.shape)
    result = normalize(channel, plan.model_copy(update=changes), mask)
    assert (result.dtype.name, result.shape) == ("float32", channel.shape)
    np.testing.assert_array_equal(channel, untouched)
    return [float(value) for value in result.ravel()]


def test_ct_clips_to_the_percentiles_and_uses_the_statistics_of_the_dataset() -> None:
    # -90 is clipped to 2, 300 to 26; then (value - 10) / 4.
    assert normalized([-90, 2, 10, 16, 26, 300], "ct") == [-2, -2, 0, 1.5, 4, 4]


def test_zscore_uses_the_statistics_of_the_case() -> None:
    # Mean 5, standard deviation 2 of the population.
    values = [2, 4, 4, 4, 5, 5, 7, 9]
    assert normalized(values, "zscore") == [-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2]


def test_zscore_with_a_mask_leaves_everything_outside_as_it_is() -> None:
    values = [0, 0, 2, 4, 4, 4, 5, 5, 7, 9, 0]
    body = [False, False, *[True] * 8, False]
    assert normalized(values, "zscore", body) == [0, 0, -1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2, 0]


def test_a_mask_counts_only_where_the_plan_asks_for_it() -> None:
    plan = ChannelPlan(name="R", normalization="zscore", use_mask=False, statistics=STATISTICS)
    result = normalize(np.array([[[1.0, 3.0]]]), plan, np.array([[[True, False]]]))
    assert result.tolist() == [[[-1, 1]]]


def test_zscore_of_large_values_loses_no_digits() -> None:
    values = np.full((1, 300, 300), 60_000, dtype=np.float32)
    values[0, ::2] += 8
    plan = ChannelPlan(name="R", normalization="zscore", use_mask=False, statistics=STATISTICS)
    result = normalize(values, plan, None)
    np.testing.assert_allclose(np.unique(result), [-1, 1], rtol=1e-3)


@pytest.mark.parametrize("scheme", ["zscore", "rescale_to_0_1"])
def test_a_constant_image_becomes_zero(scheme: NormalizationName) -> None:
    assert normalized([7, 7, 7], scheme) == [0, 0, 0]


def test_a_dataset_without_spread_gives_finite_numbers() -> None:
    flat = STATISTICS.model_copy(update={"std": 0.0, "mean": 2.0})
    assert normalized([2, 2], "ct", statistics=flat) == [0, 0]


def test_an_image_without_a_body_stays_as_it_is() -> None:
    assert normalized([0, 0, 0], "zscore", [False] * 3) == [0, 0, 0]


def test_nonorm_changes_only_the_type() -> None:
    assert normalized([-3, 0, 1000.5], "nonorm") == [-3, 0, 1000.5]


def test_rescaling_goes_from_zero_to_one() -> None:
    assert normalized([-10, 0, 30], "rescale_to_0_1") == [0, 0.25, 1]


def test_colours_are_divided_by_255() -> None:
    assert normalized([0, 51, 255], "rgb_to_0_1") == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("values", [[-1, 0, 255], [0, 256]])
def test_values_that_are_no_colours_are_refused(values: list[float]) -> None:
    with pytest.raises(RequestError, match=f"channel 'R' .* run from {min(values)} to {max(values)}.*zscore"):
        normalized(values, "rgb_to_0_1")
