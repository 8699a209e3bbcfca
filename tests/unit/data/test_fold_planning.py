"""Folds at planning: made, kept, made anew where asked, the user's own honoured, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from autounet.data.dataset import RawCase, RawDataset
from autounet.data.description import DatasetDescription
from autounet.data.fold_planning import SplitRequest, plan_splits
from autounet.data.fold_summary import CaseTraits, SplitsSource
from autounet.data.splits import SOURCE_FILE, SPLITS_FILE, make_splits, write_splits
from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.progress import Silent

NAMES = [f"patient{patient:02d}_frame{frame}" for patient in range(8) for frame in (1, 2)]
PATTERN = r"(patient\d+)"


class Listener(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def dataset(folder: Path, names: list[str]) -> RawDataset:
    labels = LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2}, None, "test")
    description = DatasetDescription(name="Dataset001_T", channel_names=("c",), labels=labels, file_ending=".nii")
    cases = tuple(RawCase(name=name, images=(folder / f"{name}_0000.nii",)) for name in names)
    return RawDataset(folder=folder, description=description, cases=cases)


def traits(names: list[str], **hashes: str) -> list[CaseTraits]:
    return [CaseTraits(name, ("organ",), hashes.get(name, "")) for name in names]


@pytest.fixture
def raw(tmp_path: Path) -> RawDataset:
    (tmp_path / "raw").mkdir()
    return dataset(tmp_path / "raw", NAMES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "preprocessed"


def patients_straddle(splits: object) -> bool:
    return any(
        {name[:9] for name in split.train} & {name[:9] for name in split.validation}
        for split in splits  # type: ignore[attr-defined]
    )


def test_the_default_is_nnunets_and_needs_no_record(raw: RawDataset, folder: Path) -> None:
    planned = plan_splits(folder, raw, traits(NAMES))
    assert planned.splits == make_splits(NAMES)
    assert planned.how == "nnU-Net's"
    assert [path.name for path in folder.iterdir()] == [SPLITS_FILE]
    (remark,) = planned.remarks
    assert "8 groups in 16 cases" in remark
    assert r"--group-by '^(patient\d+)'" in remark
    assert [fold.class_cases for fold in planned.folds] == [{"organ": n} for n in (4, 3, 3, 3, 3)]


def test_groups_stay_and_planning_again_keeps_them(raw: RawDataset, folder: Path) -> None:
    planned = plan_splits(folder, raw, traits(NAMES), SplitRequest(group_by=PATTERN))
    assert not patients_straddle(planned.splits)
    assert planned.remarks == ()
    assert sorted(fold.num_groups or 0 for fold in planned.folds) == [1, 1, 2, 2, 2]
    before = (folder / SPLITS_FILE).read_bytes()
    listener = Listener()
    # Labels that changed since do not shuffle the folds.
    changed = [CaseTraits(name, ("tumour",) if name.endswith("1") else ()) for name in NAMES]
    for request in (None, SplitRequest(), SplitRequest(group_by=PATTERN)):
        again = plan_splits(folder, raw, changed, request, listener)
        assert again.splits == planned.splits
        assert again.how == f"cases grouped by {PATTERN}, classes spread evenly, as made before"
        assert sum(fold.num_groups or 0 for fold in again.folds) == 8
    assert (folder / SPLITS_FILE).read_bytes() == before
    assert listener.said == []


def test_a_changed_option_makes_new_folds_and_says_so(raw: RawDataset, folder: Path) -> None:
    plain = plan_splits(folder, raw, traits(NAMES))
    listener = Listener()
    grouped = plan_splits(folder, raw, traits(NAMES), SplitRequest(group_by=PATTERN), listener)
    (said,) = listener.said
    assert "other folds were asked for" in said
    assert "do not mix" in said
    assert (folder / "splits_final.previous.json").exists()
    back = plan_splits(folder, raw, traits(NAMES), SplitRequest(group_by="none"), listener)
    assert back.splits == plain.splits != grouped.splits
    assert not (folder / SOURCE_FILE).exists()
    assert (folder / "splits_final.previous-2.json").exists()


def test_changed_cases_make_new_folds_by_the_recorded_option(raw: RawDataset, folder: Path, tmp_path: Path) -> None:
    plan_splits(folder, raw, traits(NAMES), SplitRequest(group_by=PATTERN))
    listener = Listener()
    for names in ([*NAMES, "patient00_frame3"], NAMES[2:]):
        planned = plan_splits(folder, dataset(raw.folder, names), traits(names), None, listener)
        assert not patients_straddle(planned.splits)
        assert sorted(name for split in planned.splits for name in split.validation) == sorted(names)
    assert [line.startswith("the cases changed") for line in listener.said] == [True, True]
    # Also nnU-Net's, of which there is no record.
    plain = tmp_path / "plain"
    plan_splits(plain, raw, traits(NAMES))
    assert plan_splits(plain, dataset(raw.folder, NAMES[1:]), traits(NAMES[1:])).splits == make_splits(NAMES[1:])


def test_folds_that_were_deleted_come_back_by_the_recorded_option(raw: RawDataset, folder: Path) -> None:
    planned = plan_splits(folder, raw, traits(NAMES), SplitRequest(group_by=PATTERN))
    (folder / SPLITS_FILE).unlink()
    assert plan_splits(folder, raw, traits(NAMES)).splits == planned.splits


@pytest.mark.parametrize("place", ["raw", "preprocessed"])
def test_folds_of_the_users_own_are_honoured(place: str, raw: RawDataset, folder: Path, tmp_path: Path) -> None:
    own = [{"train": NAMES[:10], "val": NAMES[10:]}]
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / SPLITS_FILE).write_text(json.dumps(own))
    planned = plan_splits(folder, raw, traits(NAMES))
    assert [list(split.validation) for split in planned.splits] == [NAMES[10:]]
    assert planned.remarks == ()
    assert str(tmp_path / place / SPLITS_FILE) in planned.how
    assert json.loads((folder / SPLITS_FILE).read_text()) == own
    with pytest.raises(RequestError, match=r"--group-by asks for new folds.*of your own"):
        plan_splits(folder, raw, traits(NAMES), SplitRequest(group_by=PATTERN))


def test_grouped_folds_that_were_edited_are_the_users_own(raw: RawDataset, folder: Path) -> None:
    plan_splits(folder, raw, traits(NAMES), SplitRequest(group_by=PATTERN))
    write_splits(folder / SPLITS_FILE, make_splits(NAMES, 3))
    assert plan_splits(folder, raw, traits(NAMES)).splits == make_splits(NAMES, 3)


def test_own_folds_beside_the_raw_data_replace_ours_but_not_others(raw: RawDataset, folder: Path) -> None:
    plan_splits(folder, raw, traits(NAMES))
    write_splits(raw.folder / SPLITS_FILE, make_splits(NAMES, 3))
    assert len(plan_splits(folder, raw, traits(NAMES)).splits) == 3
    write_splits(raw.folder / SPLITS_FILE, make_splits(NAMES, 2))
    with pytest.raises(RequestError, match="different folds, both your own"):
        plan_splits(folder, raw, traits(NAMES))


def test_duplicates_never_straddle(raw: RawDataset, folder: Path, tmp_path: Path) -> None:
    plain = make_splits(NAMES)
    first, second = plain[0].validation[0], plain[3].validation[0]
    same = traits(NAMES, **{first: "h", second: "h"})
    for request, place in ((SplitRequest(), folder), (SplitRequest(group_by=PATTERN), tmp_path / "grouped")):
        planned = plan_splits(place, raw, same, request)
        for split in planned.splits:
            assert len({first, second} & set(split.validation)) in (0, 2)
        assert "1 set of cases with the same image kept together" in planned.how
        assert SplitsSource.read(place / SOURCE_FILE).duplicates == (tuple(sorted((first, second))),)
        if request.group_by:
            assert not patients_straddle(planned.splits)


def test_duplicates_in_own_folds_are_told(raw: RawDataset, folder: Path) -> None:
    write_splits(raw.folder / SPLITS_FILE, make_splits(NAMES))
    first, second = (make_splits(NAMES)[fold].validation[0] for fold in (0, 3))
    (remark,) = plan_splits(folder, raw, traits(NAMES, **{first: "h", second: "h"})).remarks
    assert "1 set of cases shares an image and lies in different folds" in remark
    assert first in remark


def test_a_dataset_of_one_image_is_split_all_the_same(raw: RawDataset, folder: Path) -> None:
    planned = plan_splits(folder, raw, traits(NAMES, **dict.fromkeys(NAMES, "h")))
    assert planned.splits == make_splits(NAMES)
    assert "shares an image" in planned.remarks[0]


def test_sites_spread_and_are_counted(raw: RawDataset, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "sites.csv"
    sites = {name: "Ulm" if name < "patient05" else "Bonn" for name in NAMES}
    table.write_text("case,site\n" + "".join(f"{name},{site}\n" for name, site in sites.items()))
    planned = plan_splits(folder, raw, traits(NAMES), SplitRequest(site_by=f"{table}:site"))
    assert {fold.site_cases["Ulm"] for fold in planned.folds} == {2}
    assert {fold.site_cases["Bonn"] for fold in planned.folds} == {1, 2}


def test_dicom_headers_that_tell_of_patients_are_told(folder: Path, tmp_path: Path) -> None:
    named = {}
    for name, patient in (("a", "P1"), ("b", "P1"), ("c", "P2")):
        named[name] = tmp_path / f"{name}_0000.dcm"
        slice_ = SimpleITK.GetImageFromArray(np.zeros((4, 4), np.uint16))
        slice_.SetMetaData("0010|0020", patient)
        SimpleITK.WriteImage(slice_, str(named[name]))
    raw = dataset(tmp_path, [])
    cases = tuple(RawCase(name=name, images=(path,)) for name, path in named.items())
    raw = raw.model_copy(update={"cases": cases})
    (remark,) = plan_splits(folder, raw, traits(list(named))).remarks
    assert "2 patients in 3 cases" in remark
    assert "--group-by PatientID" in remark
    planned = plan_splits(folder, raw, traits(list(named)), SplitRequest(group_by="PatientID"))
    assert sorted(split.validation for split in planned.splits) == [("a", "b"), ("c",)]
    assert planned.remarks == ()


def test_a_class_that_a_fold_lacks_is_told_with_the_option(folder: Path, tmp_path: Path) -> None:
    names = [f"case_{index:02d}" for index in range(30)]
    rare = [CaseTraits(name, ("organ", "tumour") if index < 5 else ("organ",)) for index, name in enumerate(names)]
    planned = plan_splits(folder, dataset(tmp_path, names), rare)
    assert "'tumour' is in no validation case of fold" in planned.remarks[0]
    assert "--group-by '.+'" in planned.remarks[1]
    assert plan_splits(folder, dataset(tmp_path, names), rare, SplitRequest(group_by=".+")).remarks == ()
