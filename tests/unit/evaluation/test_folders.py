"""Pairing, reading and scoring of whole folders, and everything that can be wrong with them."""

import json
from pathlib import Path

import numpy as np
import pytest

from autounet import parallel
from autounet.data.io import write_label
from autounet.errors import DataError, RequestError
from autounet.evaluation import evaluate_folders
from autounet.evaluation.metrics import OF_INSTANCES, OF_REGIONS, MetricChoice, metric_names
from autounet.geometry import Geometry, Triple
from autounet.labels import LabelClass, LabelSchema

GEOMETRY = Geometry.from_spacing((2.0, 1.0, 1.0))


def write(path: Path, values: list[int], spacing_mm: Triple | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    geometry = GEOMETRY if spacing_mm is None else Geometry.from_spacing(spacing_mm)
    write_label(path, np.array(values, dtype=np.uint8).reshape(2, 2, -1), geometry)


def describe(folder: Path, labels: dict[str, int | list[int]], **more: object) -> None:
    content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz", **more}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two cases: `a` with Dice 0.5 of organ 1, `b` without foreground on either side."""
    references, predictions = tmp_path / "data" / "labelsTr", tmp_path / "out"
    write(references / "a.nii.gz", [1, 1, 0, 0])
    write(predictions / "a.nii.gz", [1, 0, 1, 0])
    write(references / "b.nii.gz", [0, 0, 0, 0])
    write(predictions / "b.nii.gz", [0, 0, 0, 0])
    return references, predictions


def problems(error: DataError) -> list[tuple[str, str]]:
    return [(problem.case, problem.what) for problem in error.problems]


@pytest.mark.parametrize("place", ["inside", "above", "predictions"])
def test_classes_come_from_the_dataset_json(pair: tuple[Path, Path], place: str) -> None:
    references, predictions = pair
    folder = {"inside": references, "above": references.parent, "predictions": predictions}[place]
    describe(folder, {"background": 0, "liver": 1, "cyst": 2})
    summary = evaluate_folders(references, predictions)
    assert [entry.case for entry in summary.cases] == ["a", "b"]
    assert summary.cases[0].reference == str(references / "a.nii.gz")
    assert summary.cases[0].prediction == str(predictions / "a.nii.gz")
    liver, cyst = summary.class_means["liver"], summary.class_means["cyst"]
    assert (liver.dice, liver.num_scored, liver.num_empty) == (0.5, 1, 1)
    assert (cyst.dice, cyst.num_empty) == (None, 2)
    assert summary.foreground_dice == 0.5


def test_without_a_description_every_value_is_a_class(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    write(predictions / "b.nii.gz", [0, 0, 0, 3])
    summary = evaluate_folders(references, predictions)
    assert list(summary.class_means) == ["class 1", "class 3"]
    assert summary.class_means["class 3"].num_spurious == 1


def test_given_labels_go_before_the_description(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    describe(references.parent, {"background": 0, "liver": 1})
    labels = LabelSchema(classes=(LabelClass(name="organ", values=(1,)),))
    assert list(evaluate_folders(references, predictions, labels).class_means) == ["organ"]


def test_regions_and_ignore_from_the_description(tmp_path: Path) -> None:
    references, predictions = tmp_path / "labelsTr", tmp_path / "out"
    describe(tmp_path, {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}, regions_class_order=[1, 2])
    write(references / "a.nii.gz", [1, 2, 3, 0])
    write(predictions / "a.nii.gz", [2, 2, 2, 0])
    whole, core = evaluate_folders(references, predictions).cases[0].classes.values()
    assert (whole.tp, whole.fp, whole.fn, whole.tn) == (2, 0, 0, 1)
    assert (core.tp, core.fp, core.fn, core.tn) == (1, 1, 0, 1)


def test_flat_images(tmp_path: Path) -> None:
    geometry = Geometry.from_spacing((1.0, 1.0, 1.0), num_spatial_dims=2)
    for folder in ("labelsTr", "out"):
        (tmp_path / folder).mkdir()
        write_label(tmp_path / folder / "a.png", np.array([[[0, 1], [1, 0]]], dtype=np.uint8), geometry)
    assert evaluate_folders(tmp_path / "labelsTr", tmp_path / "out").foreground_dice == 1.0


def test_all_problems_come_at_once(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    describe(references.parent, {"background": 0, "liver": 1})
    write(references / "lonely.nii.gz", [0, 0, 0, 0])
    write(predictions / "orphan.nii.gz", [0, 0, 0, 0])
    write(references / "larger.nii.gz", [0, 0, 0, 0])
    write(predictions / "larger.nii.gz", [0] * 8)
    write(references / "moved.nii.gz", [0, 0, 0, 0])
    write(predictions / "moved.nii.gz", [0, 0, 0, 0], spacing_mm=(5.0, 1.0, 1.0))
    write(references / "broken.nii.gz", [0, 0, 0, 0])
    (predictions / "broken.nii.gz").write_bytes(b"\x1f\x8bno")
    write(references / "grey.nii.gz", [0, 1, 0, 0])
    write(predictions / "grey.nii.gz", [0, 255, 0, 0])
    with pytest.raises(DataError) as caught:
        evaluate_folders(references, predictions)
    assert caught.value.exit_code == 2
    found = dict(problems(caught.value))
    assert sorted(found) == ["broken", "grey", "larger", "lonely", "moved", "orphan"]
    assert "no prediction for this reference" in found["lonely"]
    assert "no reference for this prediction" in found["orphan"]
    assert "shape (2, 2, 2)" in found["larger"]
    assert "(2, 2, 1)" in found["larger"]
    assert "2, 1, 1" in found["moved"]
    assert "5, 1, 1" in found["moved"]
    assert found["grey"] == "holds undeclared values 255"
    files = {problem.case: problem.file for problem in caught.value.problems}
    assert files["lonely"] == str(references / "lonely.nii.gz")
    assert files["broken"] == str(predictions / "broken.nii.gz")
    assert files["grey"] == str(predictions / "grey.nii.gz")


def test_files_without_a_partner_can_be_left_out(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    write(references / "lonely.nii.gz", [0, 0, 0, 0])
    write(predictions / "orphan.nii.gz", [0, 0, 0, 0])
    with pytest.raises(DataError, match="--missing ignore"):
        evaluate_folders(references, predictions)
    summary = evaluate_folders(references, predictions, missing="ignore")
    assert summary.num_cases == 2
    assert sorted(summary.left_out) == sorted([str(references / "lonely.nii.gz"), str(predictions / "orphan.nii.gz")])


def test_nothing_in_common_is_an_error_in_any_case(tmp_path: Path) -> None:
    write(tmp_path / "labelsTr" / "a.nii.gz", [1, 1, 0, 0])
    write(tmp_path / "out" / "b.nii.gz", [1, 1, 0, 0])
    with pytest.raises(DataError, match="no prediction for this reference"):
        evaluate_folders(tmp_path / "labelsTr", tmp_path / "out", missing="ignore")


@pytest.mark.parametrize("described", [False, True])
def test_every_metric_reaches_the_summary(pair: tuple[Path, Path], described: bool) -> None:
    references, predictions = pair
    if described:
        describe(references.parent, {"background": 0, "liver": 1})
    choice = MetricChoice(names=metric_names(None))
    summary = evaluate_folders(references, predictions, choice=choice)
    (scores,) = summary.cases[0].classes.values()
    assert tuple(name for name in choice.names if name in scores.values) == choice.names
    # Both have two voxels, one of which is common; of 2 x 1 x 1 mm each.
    assert (scores.metrics["volume_error_ml"], scores.metrics["lesion_f1"]) == (0, 1)
    assert scores.metrics["hd95_mm"] == 2
    assert summary.foreground["hd95_mm"].num_cases == 1
    assert summary.cases[1].classes[next(iter(summary.class_means))].metrics["hd95_mm"] is None
    assert summary.choice == choice


@pytest.mark.parametrize(("described", "name"), [(True, "wall"), (False, "class 1")])
def test_regions_between_a_class(pair: tuple[Path, Path], described: bool, name: str) -> None:
    references, predictions = pair
    if described:
        describe(references.parent, {"background": 0, "wall": 1})
    choice = MetricChoice(names=metric_names(["regions"], OF_REGIONS), regions_between=name)
    summary = evaluate_folders(references, predictions, choice=choice)
    # The region beside the wall is half wall in the prediction, and grows back; in `b` there is one region.
    assert summary.class_means[name].metrics["v_rand"].mean == pytest.approx(1)
    wrong = choice.model_copy(update={"regions_between": "walls"})
    with pytest.raises(RequestError, match=f"--regions-between walls: no such class.*background, {name}"):
        evaluate_folders(references, predictions, choice=wrong)


def test_numbered_objects(tmp_path: Path) -> None:
    # The labels of the same dataset say nothing of the objects' numbers.
    describe(tmp_path, {"background": 0, "nucleus": 1})
    write(tmp_path / "instancesTr" / "a.nii.gz", [1, 1, 2, 0])
    write(tmp_path / "out" / "a.nii.gz", [7, 7, 0, 3])
    references, predictions = tmp_path / "instancesTr", tmp_path / "out"
    with pytest.raises(DataError, match="--instances"):
        evaluate_folders(references, predictions)
    choice = MetricChoice(names=metric_names(None, OF_INSTANCES))
    summary = evaluate_folders(references, predictions, choice=choice, objects=True)
    objects = summary.cases[0].classes["objects"]
    assert (objects.num_reference, objects.num_predicted) == (3, 3)
    # One of two objects on either side.
    assert objects.metrics["ap_50"] == pytest.approx(1 / 3)
    assert objects.metrics["objects_predicted"] == 2


def test_an_unreadable_reference_is_named(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    (references / "a.nii.gz").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        evaluate_folders(references, predictions)
    assert [problem.file for problem in caught.value.problems] == [str(references / "a.nii.gz")]


def test_empty_folders(pair: tuple[Path, Path], tmp_path: Path) -> None:
    references, predictions = pair
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RequestError, match="no label file"):
        evaluate_folders(empty, predictions)
    with pytest.raises(DataError, match="it is empty") as caught:
        evaluate_folders(references, empty)
    assert len(caught.value.problems) == 1
    (empty / "a.nrrd").touch()
    with pytest.raises(DataError, match=r"it holds \.nrrd"):
        evaluate_folders(references, empty)


def test_missing_folder(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nowhere"):
        evaluate_folders(pair[0], tmp_path / "nowhere")


def test_several_endings_need_a_description(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    (references / "notes.txt").touch()
    (references / ".hidden.png").touch()
    assert evaluate_folders(references, predictions).num_cases == 2
    write(references / "c.nrrd", [0, 0, 0, 0])
    with pytest.raises(RequestError, match=r"\.nii\.gz, \.nrrd"):
        evaluate_folders(references, predictions)
    describe(references.parent, {"background": 0, "liver": 1})
    assert evaluate_folders(references, predictions).num_cases == 2


def test_no_class_anywhere(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    for folder in pair:
        write(folder / "a.nii.gz", [0, 0, 0, 0])
    with pytest.raises(RequestError, match="no class to score"):
        evaluate_folders(references, predictions)


def test_workers_give_the_same(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = evaluate_folders(*pair, jobs=1)
    write(pair[0] / "c.nii.gz", [1, 1, 1, 0])
    write(pair[1] / "c.nii.gz", [1, 1, 1, 0])
    monkeypatch.setattr(parallel, "_BYTES_WORTH_A_WORKER", 1)
    together = evaluate_folders(*pair, jobs=2)
    assert together.cases[:2] == alone.cases
    assert together.cases[2].classes["class 1"].dice == 1.0


@pytest.mark.parametrize("table", [False, True])
def test_classes_that_were_not_annotated_have_no_score(tmp_path: Path, table: bool) -> None:
    references, predictions = tmp_path / "labelsTr", tmp_path / "out"
    annotated: object = {"a": ["cyst"], "b": ["liver", "cyst"]}
    if table:
        (tmp_path / "annotated.csv").write_text("case,liver,cyst\na,0,1\nb,1,1\n")
        annotated = "annotated.csv"
    describe(tmp_path, {"background": 0, "liver": 1, "cyst": 2}, annotated=annotated)
    for name, reference, prediction in (("a", [2, 2, 0, 0], [2, 1, 1, 1]), ("b", [1, 1, 0, 0], [1, 0, 0, 0])):
        write(references / f"{name}.nii.gz", reference)
        write(predictions / f"{name}.nii.gz", prediction)
    summary = evaluate_folders(references, predictions)
    assert list(summary.cases[0].classes) == ["cyst"]
    assert summary.cases[0].not_annotated == ("liver",)
    assert list(summary.cases[1].classes) == ["liver", "cyst"]
    assert summary.cases[1].not_annotated == ()
    liver, cyst = summary.class_means["liver"], summary.class_means["cyst"]
    assert list(summary.class_means) == ["liver", "cyst"]
    # Without the annotation, the liver found in case a would be spurious, at a Dice of 0.
    assert liver.dice == cyst.dice == pytest.approx(2 / 3)
    assert (liver.num_scored, liver.num_spurious, liver.num_not_annotated) == (1, 0, 1)
    assert (cyst.num_scored, cyst.num_empty, cyst.num_not_annotated) == (1, 1, 0)
    assert summary.foreground_dice == pytest.approx(2 / 3)


def test_a_class_annotated_in_no_case_is_counted_and_has_no_mean(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    describe(references, {"background": 0, "liver": 1, "cyst": 2}, annotated={"a": ["liver"], "b": ["liver"]})
    summary = evaluate_folders(references, predictions)
    cyst = summary.class_means["cyst"]
    assert (cyst.dice, cyst.num_scored, cyst.num_empty, cyst.num_not_annotated) == (None, 0, 0, 2)
    assert summary.foreground_dice == 0.5


def test_under_labels_of_another_name_every_class_is_scored(pair: tuple[Path, Path]) -> None:
    references, predictions = pair
    describe(references.parent, {"background": 0, "liver": 1, "cyst": 2}, annotated={"a": ["cyst"]})
    labels = LabelSchema(classes=(LabelClass(name="organ", values=(1,)),))
    assert evaluate_folders(references, predictions, labels).class_means["organ"].dice == 0.5
