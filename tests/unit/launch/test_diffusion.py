"""What training to draw has to know beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from autounet.launch.diffusion import line_of
from autounet.plans import ChannelPlan, IntensityStatistics, NormalizationName
from autounet.preprocessing.normalize import normalize

STATISTICS = IntensityStatistics(
    mean=40, std=20, minimum=-90, maximum=300, percentile_00_5=-50, median=9, percentile_99_5=200
)


@pytest.mark.parametrize("scheme", ["ct", "zscore", "nonorm", "rescale_to_0_1", "rgb_to_0_1"])
def test_every_normalisation_is_undone(scheme: NormalizationName) -> None:
    values = np.random.default_rng(0).uniform(0, 200, (1, 5, 6)).astype(np.float32)
    plan = ChannelPlan(name="x", normalization=scheme, use_mask=False, statistics=STATISTICS)
    line = line_of(values, plan)
    prepared = normalize(values.copy(), plan, None)
    np.testing.assert_allclose(line.offset + line.scale * prepared, values, rtol=1e-4, atol=1e-3)


def test_a_constant_image_is_drawn_as_it_was() -> None:
    plan = ChannelPlan(name="x", normalization="zscore", use_mask=False, statistics=STATISTICS)
    line = line_of(np.full((1, 3, 3), 7, dtype=np.float32), plan)
    assert (line.offset, line.scale) == (7, 0)
