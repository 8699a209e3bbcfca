"""What evaluate and compare print, write, and refuse."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from autounet import cli
from autounet.data.io import write_label
from autounet.geometry import Geometry


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`labels`, the better prediction `new` and the worse one `old`, of twelve cases."""
    generator = np.random.default_rng(0)
    for index in range(12):
        label = np.zeros((6, 12, 12), np.uint8)
        label[1:5, 3:9, 3:9] = 1
        for folder, share in (("labels", 0.0), ("new", 0.05), ("old", 0.2)):
            (tmp_path / folder).mkdir(exist_ok=True)
            wrong = generator.random(label.shape) < share * generator.uniform(0.5, 1.5)
            write_label(
                tmp_path / folder / f"case_{index:02d}.nii.gz",
                np.where(wrong, 1 - label, label),
                Geometry.from_spacing((2, 1, 1)),
            )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["autounet", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert isinstance(exited.value.code, int)
    return exited.value.code


def test_evaluate_measures_everything_and_tells_the_next_step(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "evaluate", "labels", "new") == 0
    said = capsys.readouterr().out
    for expected in (
        "HD95 (mm)",
        "surface Dice",
        "lesion F1",
        "case_",
        "autounet compare new OTHER --reference labels",
    ):
        assert expected in said
    with (folders / "new" / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert float(rows[0]["assd_mm"]) > 0
    assert (folders / "new" / "scores_summary.csv").is_file()


def test_several_metrics_may_follow(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "evaluate", "labels", "new", "--metrics", "volume", "hd95_mm", "-o", "out.json") == 0
    content = json.loads((folders / "out.json").read_text(encoding="utf-8"))
    assert list(content["cases"][0]["classes"]["class 1"]["metrics"]) == [
        "volume_error_ml",
        "volume_error_relative",
        "hd95_mm",
    ]


def test_regions_come_on_top_of_what_was_asked_for(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    between = ("--regions-between", "class 1")
    assert run(monkeypatch, "evaluate", "labels", "new", "--metrics", "dice", *between, "-o", "new.json") == 0
    assert "V Rand, mergers" in capsys.readouterr().out
    content = json.loads((folders / "new.json").read_text(encoding="utf-8"))
    assert len(content["cases"][0]["classes"]["class 1"]["metrics"]) == 6
    assert run(monkeypatch, "evaluate", "labels", "old", "--metrics", "v_rand", *between, "-o", "old.json") == 0
    content = json.loads((folders / "old.json").read_text(encoding="utf-8"))
    assert list(content["cases"][0]["classes"]["class 1"]["metrics"]) == ["v_rand"]
    assert run(monkeypatch, "compare", "old.json", "new.json") == 0
    assert "V Rand" in capsys.readouterr().out
    assert run(monkeypatch, "compare", "old", "new", "-r", "labels", *between) == 0
    said = capsys.readouterr().out
    assert "V info" in said
    assert "--regions-between 'class 1' -o comparison.json" in " ".join(said.split())


@pytest.mark.parametrize("scored_before", [False, True])
def test_compare_says_which_is_better(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scored_before: bool
) -> None:
    if scored_before:
        for name in ("old", "new"):
            assert run(monkeypatch, "evaluate", "labels", name, "--metrics", "surface") == 0
    reference = () if scored_before else ("--reference", "labels")
    assert run(monkeypatch, "compare", "old", "new", *reference, "-o", "comparison.json") == 0
    said = capsys.readouterr().out
    assert "class 1, Dice: B is better" in said
    assert "A and B differ by more than chance" in said
    content = json.loads((folders / "comparison.json").read_text(encoding="utf-8"))
    assert content["rows"][0]["metric"] == "dice"
    # Every one of the 4096 combinations of signs is tried; all twelve differences have the same sign.
    assert content["rows"][0]["difference"]["p_value"] == 2 / 4096


def test_the_same_predictions_have_the_same_scores(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "compare", "old", "old", "-r", "labels") == 0
    assert "A and B have the same scores." in capsys.readouterr().out


def test_what_cannot_be_done_is_refused_with_the_way_out(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "new" / "case_03.nii.gz").unlink()
    (folders / "old" / "case_04.nii.gz").unlink()
    for arguments, expected in (
        (("evaluate", "labels", "new"), "case_03"),
        (("evaluate", "labels", "new", "--metrics", "hd95"), "Did you mean 'hd95_mm'?"),
        (("evaluate", "labels", "new", "--lesion-iou", "0"), "lesion_iou"),
        (("evaluate", "labels", "new", "--metrics", "v_info"), "--regions-between CLASS"),
        (("evaluate", "labels", "new", "--regions-between", "wall", "--instances"), "exclude each other"),
        (("compare", "old", "new"), "--reference FOLDER"),
        (("compare", "elsewhere", "old"), "elsewhere"),
        (("compare", "old", "new", "-r", "labels"), "case_04"),
        (("compare", "old", "new", "-r", "labels", "-o", "x.csv"), ".json"),
    ):
        assert run(monkeypatch, *arguments) == 2, arguments
        assert expected in capsys.readouterr().err, arguments
    assert run(monkeypatch, "evaluate", "labels", "new", "--missing", "ignore") == 0
    assert "Left out for want of a partner (1): labels/case_03.nii.gz" in capsys.readouterr().out
    assert run(monkeypatch, "compare", "old", "new", "-r", "labels", "--missing", "ignore") == 0
    assert "Left out, in one of them only (2): case_03, case_04" in capsys.readouterr().out
