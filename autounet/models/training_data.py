"""What a model was trained on, in so few numbers that it travels with the model: enough to notice unlike input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autounet.data.appearance import Appearance
from autounet.data.usual import UsualImages
from autounet.geometry import Triple, permuted
from autounet.plans import IntensityStatistics, Plan
from autounet.preprocessing.case import CaseProperties
from autounet.records import Record


class Spread(Record):
    """A triple `(z, y, x)` over the cases, axis by axis."""

    minimum: Triple
    median: Triple
    maximum: Triple

    @classmethod
    def of(cls, triples: Sequence[Sequence[float]]) -> Spread:
        """Of one triple a case."""
        values = np.asarray(triples, dtype=np.float64)
        low, middle, high = (tuple(row.tolist()) for row in np.percentile(values, (0, 50, 100), axis=0))
        return cls(minimum=low, median=middle, maximum=high)


class TrainingData(Record):
    """The cases that a fold was trained on; of an imported model, all of its dataset.

    Attributes:
        num_cases: How many they were.
        spacing_mm: Their voxel sizes, in the raw images' axes.
        shape: Their voxels, cropped to where some channel is not zero.
        intensities: Of the foreground, channel by channel.
        usual: What their images look like, to compare others with; `None` where they were not measured.
    """

    num_cases: int
    spacing_mm: Spread
    shape: Spread
    intensities: tuple[IntensityStatistics, ...]
    usual: UsualImages | None = None

    @classmethod
    def of(cls, cases: Sequence[CaseProperties], appearances: Sequence[Appearance | None], plan: Plan) -> TrainingData:
        """Of prepared cases; intensities are those of the plan's whole dataset.

        Args:
            cases: How they were prepared.
            appearances: What their images look like; nothing is made of them where one was not measured.
            plan: The dataset's plan.
        """
        back = plan.transpose_backward
        looks = [entry for entry in appearances if entry is not None]
        schemes = [channel.normalization for channel in plan.channels]
        return cls(
            num_cases=len(cases),
            spacing_mm=Spread.of([permuted(case.spacing_mm, back) for case in cases]),
            shape=Spread.of([permuted(case.crop.shape, back) for case in cases]),
            intensities=tuple(channel.statistics for channel in plan.channels),
            usual=UsualImages.of(looks, schemes) if looks and len(looks) == len(cases) else None,
        )
