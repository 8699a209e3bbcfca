"""Means over cases, and what is written."""

import csv
import json
from pathlib import Path

import pytest

from autounet.errors import RequestError
from autounet.evaluation import CaseScores, ClassScore, Counts, Summary, summarize, write_summary


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
        "num_reference": "2", "num_predicted": "2",
    }  # fmt: skip
    assert rows[4]["class"] == "cyst"
    assert (rows[4]["dice"], rows[4]["tn"]) == ("", "100")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "scores.json"]


def test_scores_go_to_a_json_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"scores\.json"):
        write_summary(summarize(CASES), tmp_path / "scores.csv")
