"""Whole plans, as they lie on disk: a change of one number or one sentence shows in the review of its golden file.

Regenerate with `python -m pytest tests/golden --regenerate`, then read the difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from autounet.data.description import DatasetDescription
from autounet.fingerprint import Fingerprint
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelSchema
from autounet.planners import PLANNERS
from autounet.plans import IntensityStatistics

FOLDER = Path(__file__).parent / "plans"
STATISTICS = IntensityStatistics(
    mean=99.5, std=37.2, minimum=-950.0, maximum=1800.0, percentile_00_5=-17.0, median=101.0, percentile_99_5=201.0
)


@dataclass(frozen=True)
class Example:
    """A dataset whose cases are spread evenly around a median.

    Attributes:
        spacings_mm: Voxel sizes that occur, in turn.
        shapes: Shapes that occur, in turn.
        labels: As in `dataset.json`.
    """

    spacings_mm: tuple[Triple, ...]
    shapes: tuple[Shape3, ...]
    num_cases: int
    labels: dict[str, int | list[int]]
    channels: tuple[str, ...] = ("MRI",)
    file_ending: str = ".nii.gz"
    relative_size_after_crop: float = 1.0


EXAMPLES = {
    "hippocampus": Example(
        spacings_mm=((1, 1, 1),),
        shapes=((34, 48, 33), (36, 50, 35), (38, 52, 37)),
        num_cases=220,
        labels={"background": 0, "anterior": 1, "posterior": 2},
    ),
    "heart_anisotropic": Example(
        spacings_mm=((10, 1.5625, 1.5625), (5, 1.3671875, 1.3671875), (10, 1.6796875, 1.6796875)),
        shapes=((9, 237, 208), (10, 240, 210), (18, 256, 216)),
        num_cases=200,
        labels={"background": 0, "right ventricle": 1, "myocardium": 2, "left ventricle": 3},
    ),
    "brain_regions": Example(
        spacings_mm=((1, 1, 1),),
        shapes=((138, 170, 138),),
        num_cases=484,
        labels={"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3},
        channels=("T1", "T1gd", "T2", "FLAIR"),
        relative_size_after_crop=0.36,
    ),
    "liver_ct": Example(
        spacings_mm=((1, 0.767, 0.767), (0.8, 0.7, 0.7), (1.5, 0.9, 0.9)),
        shapes=((482, 512, 512), (600, 512, 512), (320, 512, 512)),
        num_cases=131,
        labels={"background": 0, "liver": 1, "tumour": 2},
        channels=("CT",),
    ),
    "prostate_turned": Example(
        spacings_mm=((0.62, 0.62, 3.6),),
        shapes=((320, 319, 20),),
        num_cases=32,
        labels={"background": 0, "peripheral": 1, "transition": 2, "ignore": 3},
        channels=("T2", "ADC"),
    ),
    "images": Example(
        spacings_mm=((1, 1, 1),),
        shapes=((1, 520, 696), (1, 256, 320), (1, 360, 360)),
        num_cases=48,
        labels={"background": 0, "nucleus": 1},
        channels=("RGB_to_0_1",) * 3,
        file_ending=".png",
    ),
}


# The other presets differ in numbers only, and are held against nnU-Net's own plans (test_nnunet_oracle.py).
@pytest.mark.parametrize("planner", ["default", "nnunet", "nnunet_resenc_l"])
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_plan_is_as_before(
    name: str, planner: str, regenerate: bool, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    example = EXAMPLES[name]
    fingerprint = make_fingerprint(
        [example.spacings_mm[index % len(example.spacings_mm)] for index in range(example.num_cases)],
        [example.shapes[index % len(example.shapes)] for index in range(example.num_cases)],
        num_channels=len(example.channels),
        relative_size_after_crop=example.relative_size_after_crop,
        dataset_name=f"Dataset001_{name}",
        statistics=STATISTICS,
    )
    description = _description(fingerprint.dataset_name, example)
    plan = PLANNERS.find(planner)(fingerprint, description)
    path = FOLDER / f"{name}_{planner}.json"
    if regenerate:
        plan.write(path)
    assert json.loads(path.read_text(encoding="utf-8")) == plan.model_dump(mode="json")


def _description(name: str, example: Example) -> DatasetDescription:
    has_regions = any(isinstance(value, list) for value in example.labels.values())
    return DatasetDescription(
        name=name,
        channel_names=example.channels,
        labels=LabelSchema.from_dataset_json(example.labels, [1, 2, 3] if has_regions else None, name),
        file_ending=example.file_ending,
    )
