"""Means over cases, and what is written."""

import csv
import json
from pathlib import Path

import pytest

from autounet.errors import RequestError
from autounet.evaluation import CaseScores, ClassScore, Counts, Summary, summarize, write_summary
from autounet.evaluation.bootstrap import mean_interval


def case(name: str, **counts: tuple[int, int, int]) -> CaseScores:
    classes = {
        organ: ClassScore.of(Counts(tp=tp, fp=fp, fn=fn, tn=100 - tp - fp - fn))
        for organ, (tp, fp, fn) in counts.items()
    }
    return CaseScores(case=name, reference=f"ref/{name}.nii.gz", prediction=f"pred/{name}.nii.gz", classes=classes)


CASES = [
    case("b", liver=(1, 1, 1), cyst=(0, 0, 0), ghost=(0, 0, 0)),  # Dice 0.5
    case("a", liver=(2, 0, 0), cyst=(0, 0, 4), ghost=(0, 0, 0)),  # Dice 1, missed
    case("c", liver=(0, 3, 0), cyst=(3, 2, 0), ghost=(0, 0, 0)),  # spurious, Dice 0.75
]


def test_means_leave_out_what_is_empty() -> None:
    summary = summarize(CASES)
    liver, cyst, ghost = summary.class_means.values()
    assert liver.dice == pytest.approx((0.5 + 1 + 0) / 3)
    assert liver.iou == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert (liver.num_scored, liver.num_empty, liver.num_missed, liver.num_spurious) == (3, 0, 0, 1)
    assert liver.worst_case == "c"
    assert cyst.dice == pytest.approx((0 + 0.75) / 2)
    assert (cyst.num_scored, cyst.num_empty, cyst.num_missed, cyst.num_spurious) == (2, 1, 1, 0)
    assert (ghost.dice, ghost.iou, ghost.num_scored, ghost.num_empty, ghost.worst_case) == (None, None, 0, 3, None)
    # A mean of class means, not of cases; the class without a value is left out.
    assert summary.foreground_dice == pytest.approx((0.5 + 0.375) / 2)
    assert summary.num_cases == 3


def test_cases_are_in_the_order_of_their_names() -> None:
    assert [entry.case for entry in summarize(CASES).cases] == ["a", "b", "c"]
    assert summarize(CASES) == summarize(reversed(CASES))


def test_nothing_to_average() -> None:
    summary = summarize([])
    assert (summary.num_cases, summary.foreground_dice, summary.class_means) == (0, None, {})


def test_json_comes_back_and_absent_scores_are_null(tmp_path: Path) -> None:
    summary = summarize(CASES)
    path = tmp_path / "new" / "scores.json"
    write_summary(summary, path)
    assert Summary.read(path) == summary
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["schema_version"] == 1
    assert content["class_means"]["ghost"]["dice"] is None
    assert content["cases"][1]["classes"]["cyst"]["iou"] is None


def test_csv_has_one_row_a_case_and_class(tmp_path: Path) -> None:
    csv_path = write_summary(summarize(CASES), tmp_path / "scores.json")
    assert csv_path == tmp_path / "scores.csv"
    with csv_path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert rows[0] == {
        "case": "a", "class": "liver", "dice": "1.0", "iou": "1.0", "tp": "2", "fp": "0", "fn": "0", "tn": "98",
        "num_reference": "2", "num_predicted": "2", "precision": "1.0", "recall": "1.0",
    }  # fmt: skip
    assert rows[4]["class"] == "cyst"
    assert (rows[4]["dice"], rows[4]["tn"]) == ("", "100")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "scores.json", "scores_summary.csv"]


def with_metrics(name: str, **values: float | None) -> CaseScores:
    score = ClassScore.of(Counts(tp=1, fp=1, fn=1, tn=0)).model_copy(update={"metrics": values})
    return CaseScores(case=name, reference="", prediction="", classes={"liver": score, "cyst": score})


def test_means_and_intervals_of_every_metric() -> None:
    distances = [1.0, 2.0, None, 6.0]
    summary = summarize(with_metrics(str(index), hd95_mm=value) for index, value in enumerate(distances))
    found = summary.class_means["liver"].metrics["hd95_mm"]
    assert (found.mean, found.median, found.num_cases) == (3.0, 2.0, 3)
    interval = mean_interval(distances)
    assert interval is not None
    assert (found.low, found.high) == (interval.low, interval.high)
    assert summary.class_means["liver"].metrics["dice"].mean == summary.class_means["liver"].dice
    # The two classes are the same in every case, so that both together say no more than one.
    assert summary.foreground["hd95_mm"].model_dump() == {**found.model_dump(), "median": None}
    alone = summarize([with_metrics("a", hd95_mm=2.0)]).foreground["hd95_mm"]
    assert (alone.mean, alone.low, alone.high) == (2.0, None, None)


def test_the_table_of_classes_has_one_row_a_class_and_metric(tmp_path: Path) -> None:
    cases = [with_metrics("a", hd95_mm=None), with_metrics("b", hd95_mm=None)]
    write_summary(summarize(cases), tmp_path / "scores.json")
    with (tmp_path / "scores_summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = ["dice", "iou", "precision", "recall", "hd95_mm"]
    assert [(row["class"], row["metric"]) for row in rows] == [
        (name, metric) for name in ("liver", "cyst", "(all classes)") for metric in metrics
    ]
    assert (rows[0]["mean"], rows[0]["num_cases"], rows[0]["num_empty"]) == ("0.5", "2", "0")
    # What exists in no case is empty, not NaN.
    assert (rows[4]["mean"], rows[4]["low"], rows[4]["num_cases"]) == ("", "", "0")
    assert "NaN" not in (tmp_path / "scores.json").read_text(encoding="utf-8")


def test_scores_of_earlier_versions_can_be_read(tmp_path: Path) -> None:
    content = summarize(CASES).model_dump(mode="json")
    for key in ("foreground", "choice", "left_out"):
        del content[key]
    for score in [score for case in content["cases"] for score in case["classes"].values()]:
        for key in ("precision", "recall", "metrics"):
            del score[key]
    for mean in content["class_means"].values():
        del mean["metrics"]
    (tmp_path / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    assert Summary.read(tmp_path / "scores.json").foreground_dice == summarize(CASES).foreground_dice


def test_scores_go_to_a_json_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"scores\.json"):
        write_summary(summarize(CASES), tmp_path / "scores.csv")
