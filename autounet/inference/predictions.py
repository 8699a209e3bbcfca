"""What a folder of predictions says of itself: `predictions.json`, beside the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from autounet import __version__
from autounet.errors import RequestError
from autounet.inference.unlike import Likeness
from autounet.records import SCHEMA_VERSION, Record

PREDICTIONS = "predictions.json"


class Predictions(Record):
    """What was predicted with, and how the cases compare with its training data.

    Attributes:
        autounet_version: What wrote it.
        models: Folders of the models of the last run.
        is_coarse: The first model knows little of its training images, so only voxel size, extent and the range of
            intensities were compared.
        cases: By name, those of earlier runs into the folder included.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    autounet_version: str = __version__
    models: tuple[str, ...]
    is_coarse: bool = False
    cases: dict[str, Likeness]


def write_predictions(output: Path, models: Sequence[Path], found: Mapping[str, Likeness], *, is_coarse: bool) -> None:
    """Write the record of a run into its folder; cases of earlier runs stay in it."""
    path = output / PREDICTIONS
    try:
        earlier = Predictions.read(path).cases
    except RequestError:  # there is none yet, or it is not one of ours
        earlier = {}
    cases = dict(sorted({**earlier, **found}.items()))
    Predictions(models=tuple(map(str, models)), is_coarse=is_coarse, cases=cases).write(path)
