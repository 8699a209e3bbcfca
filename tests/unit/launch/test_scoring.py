"""Scores of stored predictions, against scoring everything anew, voxel by voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from autounet.data.io import write_label
from autounet.errors import RequestError
from autounet.evaluation.overlap import score_case
from autounet.evaluation.postprocessing import KeepLargest, Postprocessing
from autounet.evaluation.tables import dice_row
from autounet.evaluation.thresholds import GRID, Thresholds
from autounet.geometry import Geometry
from autounet.inference.export import label_of_probabilities
from autounet.inference.probabilities import SUFFIX, ProbabilityRecord, probability_sink
from autounet.labels import LabelSchema
from autounet.launch import scoring
from autounet.launch.scoring import CaseFiles, Finishing, score_finishing, score_members, score_thresholds

CLASSES = LabelSchema.from_dataset_json({"background": 0, "tumour": 7, "organ": 3, "ignore": 9}, None, "test")
REGIONS = LabelSchema.from_dataset_json({"background": 0, "whole": [3, 7], "core": 7, "ignore": 9}, [3, 7], "test")
SHAPE = (7, 12, 11)
PLACE = Geometry.from_spacing((1, 1, 1))
BOTH = pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions"])

Floats = npt.NDArray[np.float32]


def probabilities_of(labels: LabelSchema, seed: int) -> Floats:
    """As they come back from storage."""
    values = np.random.default_rng(seed).gamma(0.4, size=(labels.num_outputs, *SHAPE))
    values /= values.max() if labels.has_regions else values.sum(axis=0)
    return np.asarray(np.rint(values * 65535), dtype=np.float32) / np.float32(65535)


def store(folder: Path, labels: LabelSchema, num_models: int = 2) -> tuple[CaseFiles, list[Floats], npt.NDArray[Any]]:
    """A case that several models have predicted."""
    reference = np.random.default_rng(99).choice([0, 0, 3, 7, 9], size=SHAPE).astype(np.uint8)
    write_label(folder / "a.nii", reference, PLACE)
    record = ProbabilityRecord(
        case="a",
        geometry=PLACE,
        shape=SHAPE,
        labels=labels,
        file_ending=".nii",
        channel_names=("x",),
        scale=65535,
    )
    shares = [probabilities_of(labels, seed) for seed in range(num_models)]
    folders = [folder / str(number) for number in range(num_models)]
    for share, place in zip(shares, folders, strict=True):
        with probability_sink(place, record) as sink:
            sink.write(0, np.rint(share * 65535).astype(np.uint16))
        write_label(place / "a.nii", label_of_probabilities(share, labels), PLACE)
    files = CaseFiles(
        case="a",
        reference=folder / "a.nii",
        annotated=None,
        masks=tuple(place / "a.nii" for place in folders),
        probabilities=tuple(place / f"a{SUFFIX}.json" for place in folders),
    )
    return files, shares, reference


def dice(reference: npt.NDArray[Any], label: npt.NDArray[Any], labels: LabelSchema) -> npt.NDArray[np.float64]:
    return dice_row(score_case(reference, label, labels), labels.class_names)


@BOTH
@pytest.mark.parametrize("slab_bytes", [1, 2**28])
def test_models_and_their_mean(
    labels: LabelSchema, slab_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_SLAB_BYTES", slab_bytes)
    files, shares, reference = store(tmp_path, labels)
    found = score_members(files, labels, [(0,), (1,), (0, 1)])
    mean: Floats = np.mean(shares, axis=0, dtype=np.float32)
    expected = [dice(reference, label_of_probabilities(share, labels), labels) for share in [*shares, mean]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@BOTH
@pytest.mark.parametrize("slab_bytes", [1, 2**28])
def test_every_threshold_of_every_class(
    labels: LabelSchema, slab_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting only voxels that a threshold can change gives what deciding all anew gives."""
    monkeypatch.setattr(scoring, "_SLAB_BYTES", slab_bytes)
    files, shares, reference = store(tmp_path, labels)
    found = score_thresholds(files, labels)
    mean: Floats = np.mean(shares, axis=0, dtype=np.float32)
    names = [name for name in labels.output_names if name != "background"]
    assert found.shape == (2, len(GRID), 2)
    for name, tables in zip(names, found, strict=True):
        for threshold, table in zip(GRID, tables, strict=True):
            label = label_of_probabilities(mean, labels, Thresholds(values={name: threshold}).offsets(labels))
            np.testing.assert_allclose(table, dice(reference, label, labels), rtol=1e-12)
    assert len(np.unique(found[0, :, labels.class_names.index(names[0])])) > 5, "thresholds do change the Dice"


def test_steps_are_tried_on_top_of_thresholds_and_of_steps_that_were_taken(tmp_path: Path) -> None:
    files, shares, reference = store(tmp_path, CLASSES, num_models=1)
    organ, tumour = KeepLargest(name="organ", values=(3,)), KeepLargest(name="tumour", values=(7,))
    thresholds = Thresholds(values={"organ": 0.3, "tumour": 0.9})
    work = Finishing(files, thresholds, Postprocessing(steps=(organ,)), (tumour,))
    before = organ.apply(label_of_probabilities(shares[0], CLASSES, thresholds.offsets(CLASSES)))
    expected = [dice(reference, label, CLASSES) for label in (before, tumour.apply(before))]
    np.testing.assert_allclose(score_finishing(work, CLASSES), expected, rtol=1e-12)
    assert expected[0].tolist() != expected[1].tolist()


def test_classes_that_nobody_annotated_have_no_score(tmp_path: Path) -> None:
    files, _, _ = store(tmp_path, CLASSES, num_models=1)
    partial = CaseFiles(files.case, files.reference, ("organ",), files.masks, files.probabilities)
    (row,) = score_members(partial, CLASSES, [(0,)])
    assert np.isnan(row[0])
    assert np.isfinite(row[1])


def test_a_prediction_of_another_grid_is_named(tmp_path: Path) -> None:
    files, _, reference = store(tmp_path, CLASSES)
    write_label(files.reference, reference[1:], PLACE)
    for candidates in ([(0,)], [(0, 1)]):
        with pytest.raises(RequestError, match=r"0.a.*has \(7, 12, 11\) voxels"):
            score_members(files, CLASSES, candidates)
