"""What `check` prints: a table that does not drown, a line a class, the next command."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from autounet.data.dataset import RawDataset
from autounet.data.description import DatasetDescription
from autounet.data.doctor.check import Checked
from autounet.data.doctor.checkup import Diagnosis
from autounet.data.doctor.findings import Finding, Repair, write_findings
from autounet.data.doctor.repair import Repaired
from autounet.errors import Problem, Severity
from autounet.labels import LabelSchema
from autounet.report.doctor import check_lines, show_check


def finding(case: str, check: str, severity: Severity, repair: Repair | None = None) -> Finding:
    return Finding(
        Problem(case, f"imagesTr/{case}", f"[b]odd[/b] {check}", "look", severity=severity), check, "1", repair
    )


def checked(*findings: Finding, copy: Path | None = None) -> Checked:
    labels = LabelSchema.from_dataset_json({"background": 0, "a": 1}, None, "test")
    name = "Dataset007_X"
    description = DatasetDescription(name=name, channel_names=("CT",), labels=labels, file_ending=".nii")
    dataset = RawDataset(folder=Path("raw") / name, description=description, cases=())
    repaired = () if copy is None else (Repaired("a", "f", "case left out", "torn"), Repaired("b", "f", "rounded", "x"))
    return Checked(Diagnosis(dataset, findings), Path("problems.csv"), copy, repaired)


def printed(result: Checked) -> str:
    console = Console(width=160, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        show_check(result, console)
    return capture.get()


def test_many_of_a_kind_do_not_hide_the_others() -> None:
    many = [finding(f"c{index}", "intensity", Severity.HARMLESS) for index in range(30)]
    text = printed(checked(finding("torn", "read", Severity.HOPELESS), *many))
    assert "torn" in text
    assert "[b]odd[/b]" in text  # names and values are no markup
    assert "and 25 more (intensity 30 in all)" in " ".join(text.split())
    assert "harmless: 30 in 30 cases" in text


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ([], "Next: autounet plan_and_preprocess -d 7"),
        ([finding("a", "x", Severity.HARMLESS)], "Next: autounet plan_and_preprocess -d 7"),
        ([finding("a", "x", Severity.REPAIRABLE, Repair.FILL)], "Next: autounet check -d 7 --fix (into"),
        ([finding("a", "x", Severity.REPAIRABLE, Repair.SWAP_SIDES)], "Next: autounet check -d 7 --fix --suspected"),
        ([finding("a", "x", Severity.HOPELESS)], "Next: mend the originals"),
    ],
)
def test_the_next_command(found: list[Finding], line: str) -> None:
    result = checked(*found)
    assert check_lines(result)[-1].startswith(line)
    assert result.exit_code == (0 if not found or found[0].severity is Severity.HARMLESS else 2)


def test_a_copy_is_what_to_go_on_with() -> None:
    result = checked(finding("a", "read", Severity.HOPELESS), copy=Path("raw/Dataset008_X_fixed"))
    assert result.exit_code == 0
    lines = check_lines(result)
    assert lines[-1] == "Next: autounet check -d 8"
    assert "2 repairs, 1 case left out" in "\n".join(lines)


def test_the_csv_has_file_value_class_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "problems.csv"
    write_findings(path, [finding("a", "x", Severity.REPAIRABLE, Repair.FILL)])
    assert path.read_text(encoding="utf-8").splitlines() == [
        "case,file,check,value,class,what,remedy",
        "a,imagesTr/a,x,1,repairable,[b]odd[/b] x,look",
    ]
