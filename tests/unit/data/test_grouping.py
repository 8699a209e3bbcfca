"""Cases that belong together: by pattern, by table, by DICOM's patient; and names that look so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from autounet.data.dataset import RawCase
from autounet.data.grouping import groups_of, hint_of_groups
from autounet.errors import RequestError


def cases(*names: str) -> list[RawCase]:
    return [RawCase(name=name, images=(Path(f"{name}_0000.nii"),)) for name in names]


def test_the_first_group_of_a_pattern_or_its_whole_match_is_the_group() -> None:
    named = cases("patient001_frame01", "patient001_frame12", "patient002_frame01")
    expected = {
        "patient001_frame01": "patient001",
        "patient001_frame12": "patient001",
        "patient002_frame01": "patient002",
    }
    assert groups_of(named, r"(patient\d+)_frame") == expected
    assert groups_of(named, r"patient\d+") == expected
    assert set(groups_of(named, ".+").values()) == set(expected)


def test_a_column_of_a_table_is_the_group(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("patient,case,site\nA,x1,Bonn\nA, x2 ,Ulm\nB,x3,Ulm\nC,of no dataset,Ulm\n")
    assert groups_of(cases("x1", "x2", "x3"), f"{table}:patient") == {"x1": "A", "x2": "A", "x3": "B"}
    assert groups_of(cases("x1", "x2", "x3"), f"{table}:site") == {"x1": "Bonn", "x2": "Ulm", "x3": "Ulm"}
    (tmp_path / "t.tsv").write_text("file\twho\nx1\tA\nx2\tB\n")  # no column `case`: the first one
    assert groups_of(cases("x1", "x2"), f"{tmp_path / 't.tsv'}:who") == {"x1": "A", "x2": "B"}


def test_dicom_headers_tell_the_patient(tmp_path: Path) -> None:
    made = []
    for name, patient in (("one", "P7"), ("two", "P9")):
        (tmp_path / name).mkdir()
        slice_ = SimpleITK.GetImageFromArray(np.zeros((4, 4), np.uint16))
        slice_.SetMetaData("0010|0020", patient)
        SimpleITK.WriteImage(slice_, str(tmp_path / name / "a.dcm"))
        made.append(RawCase(name=name, images=(tmp_path / name,)))
    assert groups_of(made, "PatientID") == {"one": "P7", "two": "P9"}
    (tmp_path / "none").mkdir()
    made.append(RawCase(name="none", images=(tmp_path / "none",)))
    with pytest.raises(RequestError, match="1 of 3 cases no group: their files tell no PatientID"):
        groups_of(made, "PatientID")


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("(", "no regular expression"),
        (r"patient(\d+)", r"2 of 3 cases no group: it does not match them \(a, b\)"),
        ("t.csv:sit", "no column 'sit'. Did you mean 'site'"),
        ("t.csv:site", r"1 of 3 cases no group: t.csv has no value for them \(patient1\)"),
        ("t.csv", "name the column too, as t.csv:patient"),
        ("missing.csv:site", "cannot be read"),
        ("twice.csv:site", "names case 'a' twice, with Ulm and Bonn"),
    ],
)
def test_what_does_not_group_every_case_is_refused(
    by: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("case,site\na,Ulm\nb,Ulm\n")
    Path("twice.csv").write_text("case,site\na,Ulm\na,Bonn\n")
    with pytest.raises(RequestError, match=message):
        groups_of(cases("a", "b", "patient1"), by)


@pytest.mark.parametrize(
    ("names", "pattern", "groups"),
    [
        (["patient001_frame01", "patient001_frame12", "patient002_frame01"], r"^(patient\d+)", 2),
        (["sub-01_ses-01", "sub-01_ses-02", "sub-02_ses-01"], r"^(sub-\d+)", 2),
        (["BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00006-000"], r"^(BraTS-GLI-\d+)", 2),
        (["knee_7_L", "knee_7_R", "knee_8_L"], r"^(knee_\d+)", 2),
        (["TCGA_CS_4941_1", "TCGA_CS_4941_2", "TCGA_HT_7473_1"], r"^([^_\-. ]+[_\-. ]+[^_\-. ]+[_\-. ]+[^_\-. ]+)", 2),
        (["hippocampus_001", "hippocampus_003"], None, 0),
        (["BraTS2021_00001", "BraTS2021_00002"], None, 0),
        (["dsb_193ffaa5272d", "dsb_1d4a5e729bb9"], None, 0),
        (["a", "b"], None, 0),
        ([], None, 0),
    ],
)
def test_names_that_look_grouped_come_with_the_pattern_to_type(
    names: list[str], pattern: str | None, groups: int
) -> None:
    hint = hint_of_groups(names)
    assert (hint.pattern if hint else None) == pattern
    if hint and pattern:
        assert (hint.num_groups, hint.num_cases) == (groups, len(names))
        assert len(set(groups_of(cases(*names), pattern).values())) == groups
