"""Thresholds at export: the same label map on every way that leads to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from autounet.evaluation.thresholds import Thresholds
from autounet.geometry import Box, Geometry
from autounet.inference.ensemble import average_label, open_members
from autounet.inference.export import CaseLogits, export_case, label_of_probabilities
from autounet.inference.probabilities import SUFFIX, ProbabilityRecord, probability_sink
from autounet.inference.raw_frame import RawFrame
from autounet.labels import LabelClass, LabelSchema
from autounet.models.folder import ModelRecord
from autounet.preprocessing.case import CaseProperties

MakeRecord = Callable[..., ModelRecord]
CLASSES = LabelSchema(classes=tuple(LabelClass(name=f"class {value}", values=(value,)) for value in range(1, 4)))
REGIONS = LabelSchema(
    classes=(LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,))), region_order=(1, 2)
)
CHOSEN = Thresholds(values={"class 1": 0.2, "class 3": 0.7, "whole": 0.3, "core": 0.8})
SHAPE, RAW = (9, 8, 7), (13, 12, 15)
BOTH = pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions"])


def logits_of(labels: LabelSchema, record: MakeRecord, seed: int = 0) -> CaseLogits:
    values = np.random.default_rng(seed).normal(size=(labels.num_outputs, *SHAPE)).astype(np.float32)
    properties = CaseProperties(
        spacing_mm=(1, 1, 1),
        target_spacing_mm=(1.4, 1.5, 2.1),
        shape_before_crop=RAW,
        crop=Box.whole(RAW),
        shape=SHAPE,
    )
    return CaseLogits(values, properties, record(labels=labels).plan)


def resampled(case: CaseLogits) -> npt.NDArray[np.float32]:
    frame, whole = RawFrame.of(case.logits, case.properties, case.plan), Box.whole(RAW)
    return frame.interpolated(frame.samples(whole), whole)


@BOTH
def test_one_model_is_decided_by_its_thresholds(record: MakeRecord, labels: LabelSchema) -> None:
    """By the definition of a threshold: of a region against its probability, of classes by their odds."""
    case = logits_of(labels, record)
    found = export_case([case], offsets=CHOSEN.offsets(labels))
    logits = resampled(case).astype(np.float64)
    if labels.has_regions:
        probabilities = 1 / (1 + np.exp(-logits))
        expected: npt.NDArray[Any] = np.where(probabilities[1] > 0.8, 2, np.where(probabilities[0] > 0.3, 1, 0))
    else:
        thresholds = np.array([CHOSEN.values.get(name, 0.5) for name in labels.output_names])
        odds = (1 - thresholds) / thresholds
        expected = (np.exp(logits) * odds[:, None, None, None]).argmax(axis=0)
    assert (found == expected).mean() > 0.999
    assert (found != export_case([case])).mean() > 0.1


@BOTH
@pytest.mark.parametrize(("above", "is_there"), [(0.001, True), (-0.001, False)])
def test_a_class_is_there_from_its_threshold_on(labels: LabelSchema, above: float, is_there: bool) -> None:
    """Two outputs share all probability."""
    name = "core" if labels.has_regions else "class 1"
    scores = np.zeros((labels.num_outputs, 1, 1, 1), dtype=np.float32)
    scores[1] = 0.3 + above
    if not labels.has_regions:
        scores[0] = 1 - scores[1]
    label = label_of_probabilities(scores, labels, Thresholds(values={name: 0.3}).offsets(labels))
    assert bool(label.any()) is is_there


@BOTH
def test_several_models_and_their_stored_probabilities_agree(
    record: MakeRecord, labels: LabelSchema, tmp_path: Path
) -> None:
    cases = [logits_of(labels, record, seed) for seed in range(2)]
    offsets = CHOSEN.offsets(labels)
    stored = ProbabilityRecord(
        case="a",
        geometry=Geometry.from_spacing((1, 1, 1)),
        shape=RAW,
        labels=labels,
        file_ending=".nii.gz",
        channel_names=("x",),
        scale=65535,
    )
    for number, case in enumerate(cases):
        with probability_sink(tmp_path / str(number), stored) as sink:
            with_sink = export_case([case], sink, offsets=offsets)
        assert np.array_equal(with_sink, export_case([case], offsets=offsets)), "storing changes nothing"
    members = open_members([tmp_path / str(number) / f"a{SUFFIX}.json" for number in range(2)])
    assert (average_label(members, offsets=offsets) == export_case(cases, offsets=offsets)).mean() > 0.999
    assert (average_label(members) == export_case(cases)).mean() > 0.999, "what is stored knows of no threshold"
