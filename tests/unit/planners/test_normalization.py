"""Channel names pick schemes; sentences cite the numbers."""

from __future__ import annotations

import pytest

from autounet.planners.normalization import normalization, use_mask
from autounet.plans import IntensityStatistics, NormalizationName

STATISTICS = IntensityStatistics(
    mean=104.5, std=52, minimum=-300, maximum=900, percentile_00_5=-17, median=100, percentile_99_5=201
)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("CT", "ct"),
        ("ct", "ct"),
        ("MRI", "zscore"),
        ("T1w", "zscore"),
        ("CT scan", "zscore"),
        ("noNorm", "nonorm"),
        ("ZScore", "zscore"),
        ("rescale_to_0_1", "rescale_to_0_1"),
        ("RGB_to_0_1", "rgb_to_0_1"),
    ],
)
def test_the_name_of_a_channel_picks_its_scheme(name: str, scheme: str) -> None:
    assert normalization(name, STATISTICS).value == scheme


def test_the_reason_for_ct_names_its_window() -> None:
    reason = normalization("CT", STATISTICS).reason
    assert "(-17 to 201), less its mean 104.5, over its standard deviation 52" in reason


@pytest.mark.parametrize(
    ("scheme", "kept", "masked"),
    [("zscore", 0.74, True), ("zscore", 0.75, False), ("ct", 0.3, False), ("rescale_to_0_1", 0.3, False)],
)
def test_the_mask_is_for_zscores_of_images_with_much_outside(
    scheme: NormalizationName, kept: float, masked: bool
) -> None:
    decided = use_mask(scheme, kept)
    assert decided.value is masked
    assert f"keeps {100 * kept:.0f} % of the voxels" in decided.reason
