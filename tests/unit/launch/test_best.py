"""The whole decision on stored predictions that are made so that the answer is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autounet.data.dataset import RawCase
from autounet.data.io import write_label
from autounet.errors import RequestError
from autounet.evaluation.postprocessing import FOREGROUND
from autounet.geometry import Geometry
from autounet.inference.export import label_of_probabilities
from autounet.inference.probabilities import ProbabilityRecord, probability_sink
from autounet.labels import LabelSchema
from autounet.launch.best import Wishes, decide
from autounet.launch.contenders import Contender, Contest
from autounet.models.best import Best
from autounet.models.folder import fold_folder
from autounet.models.integrity import CHECKSUMS, Checksums, FileState
from autounet.progress import SILENT

CLASSES = LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2}, None, "test")
REGIONS = LabelSchema.from_dataset_json({"background": 0, "organ": [1, 2], "tumour": 2}, [1, 2], "test")
SHAPE, PLACE = (6, 12, 12), Geometry.from_spacing((1, 1, 1))
NUM_CASES = 10
# Of the organ's four quarters, what each model gives to them.
QUARTERS = {"timid": (0.8, 0.8, 0.42, 0.42), "poor": (0.8, 0.2, 0.2, 0.2), "twin": (0.8, 0.8, 0.42, 0.42)}


def organ_at(case: int) -> tuple[slice, slice, slice]:
    return slice(1, 5), slice(case % 5, case % 5 + 4), slice(case % 3, case % 3 + 4)


def predicted(labels: LabelSchema, case: int, quarters: tuple[float, ...]) -> np.ndarray:
    """Probabilities with an island that is surely wrong."""
    organ = np.full(SHAPE, 0.02, dtype=np.float32)
    for slice_, probability in zip(range(1, 5), quarters, strict=True):
        organ[(slice_, *organ_at(case)[1:])] = probability
    organ[0, 11, 10:] = 0.95
    nothing = np.zeros_like(organ)
    return np.stack([organ, nothing] if labels.has_regions else [1 - organ, organ, nothing])


def write_case(
    folder: Path, labels: LabelSchema, case: int, quarters: tuple[float, ...], *, with_probabilities: bool
) -> None:
    record = ProbabilityRecord(
        case=f"case_{case}",
        geometry=PLACE,
        shape=SHAPE,
        labels=labels,
        file_ending=".nii",
        channel_names=("x",),
        scale=65535,
    )
    probabilities = predicted(labels, case, quarters)
    if with_probabilities:
        with probability_sink(folder, record) as sink:
            sink.write(0, np.rint(probabilities * sink.scale).astype(sink.dtype))
    write_label(folder / f"case_{case}.nii", label_of_probabilities(probabilities, labels), PLACE)


def decided(folder: Path, labels: LabelSchema, costs: dict[str, float], wishes: Wishes, num_folds: int = 5) -> Best:
    """Write references and predictions of the models named, and decide."""
    cases = {}
    for case in range(NUM_CASES):
        reference = np.zeros(SHAPE, dtype=np.uint8)
        reference[organ_at(case)] = 1
        path = folder / "labels" / f"case_{case}.nii"
        write_label(path, reference, PLACE)
        cases[f"case_{case}"] = RawCase(name=f"case_{case}", images=(), label=path)
    contenders = []
    for name, cost in costs.items():
        for case in range(NUM_CASES):
            validation = fold_folder(folder / name, case % num_folds) / "validation"
            needed = wishes.need_probabilities(len(costs))
            write_case(validation, labels, case, QUARTERS[name], with_probabilities=needed)
        for fold in range(num_folds):
            state = FileState(num_bytes=0, sha256=f"{name} {fold}")
            Checksums(files={"weights.safetensors": state}).write(fold_folder(folder / name, fold) / CHECKSUMS)
        record: Any = SimpleNamespace(plan=SimpleNamespace(file_ending=".nii"))
        fold_of = {f"case_{case}": case % num_folds for case in range(NUM_CASES)}
        contenders.append(Contender(folder / name, name, dict.fromkeys(range(num_folds), record), fold_of, cost))
    contest = Contest(tuple(contenders), tuple(cases), ())
    return decide("Dataset001_Test", labels, contest, cases, wishes, jobs=1, reporter=SILENT)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions"])
@pytest.mark.parametrize("num_folds", [1, 5])
def test_model_threshold_and_component_follow_from_the_predictions(
    labels: LabelSchema, num_folds: int, tmp_path: Path
) -> None:
    best = decided(tmp_path, labels, {"timid": 3, "poor": 1}, Wishes(), num_folds)
    assert [model.folder for model in best.models] == ["timid"]
    assert best.models[0].folds == {str(fold): f"timid {fold}" for fold in range(num_folds)}
    assert best.choice.standings[0].dice == pytest.approx(2 * 32 / (64 + 32 + 2))
    assert best.finish.thresholds is not None
    assert best.finish.thresholds.values == {"organ": 0.4}, (
        "the mildest that finds all of the organ, .42 of probability"
    )
    assert [step.name for step in best.finish.postprocessing.steps] == [FOREGROUND]
    assert best.step_trials[0].before == pytest.approx(2 * 64 / (64 + 66)), "the island came with it"
    assert best.dice == 1


def test_of_twins_the_cheaper_is_chosen_and_their_ensemble_is_not_worth_its_cost(tmp_path: Path) -> None:
    best = decided(tmp_path, CLASSES, {"timid": 3, "twin": 2}, Wishes(thresholds=False))
    assert best.choice.members == ("twin",)
    assert {standing.name: standing.cost for standing in best.choice.standings} == {
        "twin": 1,
        "timid": 1.5,
        "timid + twin": 2.5,
    }
    assert best.finish.thresholds is None
    assert best.threshold_trials == ()


def test_masks_are_enough_where_nothing_else_is_asked_for(tmp_path: Path) -> None:
    best = decided(tmp_path, CLASSES, {"timid": 3, "poor": 1}, Wishes(ensembles="none", thresholds=False))
    assert not list(tmp_path.rglob("*.b2nd"))
    assert best.choice.members == ("timid",)
    assert len(best.choice.standings) == 2
    assert Wishes(thresholds=False).need_probabilities(2)
    assert not Wishes(thresholds=False).need_probabilities(1)


def test_cases_that_show_nothing_decide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autounet.launch.best.score_members", lambda *_, **__: np.full((1, 2), np.nan))
    with pytest.raises(RequestError, match="nothing to choose by"):
        decided(tmp_path, CLASSES, {"timid": 1}, Wishes(thresholds=False))
