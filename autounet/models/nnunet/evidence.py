"""What nnU-Net noted of a training beside the weights: scores and fingerprint. Either may be missing."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from autounet.data.usual import UsualImages
from autounet.errors import RequestError
from autounet.geometry import Triple
from autounet.labels import LabelSchema
from autounet.models.nnunet.plans import statistics_of
from autounet.models.nnunet.schema import Foreign, Intensities
from autounet.models.training_data import Spread, TrainingData
from autounet.records import read_json


class _Scores(Foreign):
    dice: float | None = Field(None, alias="Dice")


class _Summary(Foreign):
    foreground_mean: _Scores = _Scores()
    mean: dict[str, _Scores] = Field(default_factory=dict)


class _Fingerprint(Foreign):
    spacings: list[Triple] = Field(min_length=1)
    shapes_after_crop: list[Triple] = Field(min_length=1)
    foreground_intensity_properties_per_channel: dict[str, Intensities]


def known_scores(fold: Path, labels: LabelSchema) -> tuple[float | None, dict[str, float | None]]:
    """Mean foreground Dice of the fold's validation, and that of each class, as far as nnU-Net noted them."""
    path = fold / "validation" / "summary.json"
    if not path.is_file():
        return None, {}
    summary = _Summary.parse(read_json(path), str(path))
    # Keys are label values, or tuples of them for regions.
    keys = {
        entry.name: str(entry.values[0]) if len(entry.values) == 1 else str(entry.values) for entry in labels.classes
    }
    classes = {name: _known(summary.mean[key].dice) for name, key in keys.items() if key in summary.mean}
    return _known(summary.foreground_mean.dice), classes


def known_training_data(folder: Path) -> TrainingData | None:
    """Of `dataset_fingerprint.json`; `None` where it is missing or not as nnU-Net writes it now."""
    path = folder / "dataset_fingerprint.json"
    if not path.is_file():
        return None
    try:
        found = _Fingerprint.parse(read_json(path), str(path))
    except RequestError:
        return None  # prediction does without
    channels = found.foreground_intensity_properties_per_channel
    return TrainingData(
        num_cases=len(found.spacings),
        spacing_mm=Spread.of(found.spacings),
        shape=Spread.of(found.shapes_after_crop),
        intensities=tuple(statistics_of(channels[key]) for key in sorted(channels, key=int)),
        usual=UsualImages.of_sizes(found.spacings, found.shapes_after_crop),
    )


def _known(score: float | None) -> float | None:
    """NaN stands for no score."""
    return None if score is None or score != score else score
