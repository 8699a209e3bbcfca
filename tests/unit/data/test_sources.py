"""Cases from folders and tables as they lie on people's disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from autounet.data.sources import found_files, gather_folders, gather_table
from autounet.errors import RequestError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_two_folders_with_a_word_in_every_name(tmp_path: Path) -> None:
    images = touch(
        tmp_path / "scans", "sub-01_image.nii.gz", "sub-02_image.nii.gz", "notes.txt", "._sub-02_image.nii.gz"
    )
    labels = touch(tmp_path / "drawn", "sub-01_mask.nii.gz", "sub-02_mask.nii.gz")
    gathered = gather_folders(images, labels)
    assert gathered.problems == ()
    assert gathered.channels == ("",)
    assert [(case.name, case.images[0].name, case.label and case.label.name) for case in gathered.cases] == [
        ("sub-01", "sub-01_image.nii.gz", "sub-01_mask.nii.gz"),
        ("sub-02", "sub-02_image.nii.gz", "sub-02_mask.nii.gz"),
    ]


def test_labels_that_lie_with_or_below_the_images(tmp_path: Path) -> None:
    mixed = touch(tmp_path / "mixed", "1/flair.nii", "1/t1.nii", "1/seg.nii", "2/flair.nii", "2/t1.nii", "2/seg.nii")
    for gathered in (gather_folders(mixed, None), gather_folders(mixed, mixed)):
        assert gathered.problems == ()
        assert gathered.channels == ("flair", "t1")
        assert [case.name for case in gathered.cases] == ["1", "2"]
        assert [path.name for path in gathered.cases[1].images] == ["flair.nii", "t1.nii"]
    below = touch(tmp_path / "below", "a.png", "b.png", "masks/a.png", "masks/b.png")
    assert [case.name for case in gather_folders(below, below / "masks").cases] == ["a", "b"]
    split = touch(tmp_path / "split", "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    assert [case.name for case in gather_folders(split, None).cases] == ["a", "b"]


def test_numbered_channels_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    touch(tmp_path, *(f"i/c{case}_{index}.nii" for case in (1, 2) for index in (10, 9, 2)), "l/c1.nii", "l/c2.nii")
    assert gather_folders(tmp_path / "i", tmp_path / "l").channels == ("2", "9", "10")


def test_a_folder_of_slices_is_one_image(tmp_path: Path) -> None:
    touch(tmp_path, "i/p1/a.dcm", "i/p1/b.dcm", "i/p2/a.dcm", "l/p1.nii.gz", "l/p2.nii.gz", "i/p3.ome.zarr/.zattrs")
    (tmp_path / "i" / "p4").mkdir()
    (tmp_path / "i" / "p4" / "IM0001").write_bytes(bytes(128) + b"DICM")
    assert [(file.stem, file.ending) for file in found_files(tmp_path / "i")] == [
        ("p1", ".dcm"),
        ("p2", ".dcm"),
        ("p3", ".ome.zarr"),
        ("p4", ".dcm"),
    ]


def test_folders_without_what_they_should_hold_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "i/a.nii", "text/a.txt")
    for images, labels, message in (
        ("i", "missing", "is no folder"),
        ("i", "text", "no file of a known format"),
        ("i", None, "is called a label"),
    ):
        with pytest.raises(RequestError, match=message):
            gather_folders(tmp_path / images, None if labels is None else tmp_path / labels)


def test_a_decathlon_task_is_sent_to_its_own_verb(tmp_path: Path) -> None:
    touch(tmp_path, "dataset.json", "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    with pytest.raises(RequestError, match=f"autounet dataset convert_msd {tmp_path}"):
        gather_folders(tmp_path, None)


def test_a_table_names_images_and_labels(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.nii", "x/2.nii", "y/1.nii", "y/2.nii", "z/1.nii", "z/2.nii")
    table = tmp_path / "t.csv"
    table.write_text("label;image_T2;image_T1;case\nz/1.nii;x/1.nii;y/1.nii;anna\nz/2.nii;x/2.nii;y/2.nii;bert\n")
    gathered = gather_table(table)
    assert gathered.channels == ("T2", "T1")  # as the columns come
    assert [case.name for case in gathered.cases] == ["anna", "bert"]
    assert gathered.cases[0].images == (tmp_path / "x/1.nii", tmp_path / "y/1.nii")
    assert gathered.cases[0].label == tmp_path / "z/1.nii"


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("l/one_seg.nii", "l/two_seg.nii"), ["one", "two"]),
        (("p1/seg.nii", "p2/seg.nii"), ["p1", "p2"]),
        (("p/1/x/seg.nii", "p/2/x/seg.nii"), ["case_000", "case_001"]),
    ],
)
def test_cases_of_a_table_without_names_are_named_after_their_files(
    labels: tuple[str, str], names: list[str], tmp_path: Path
) -> None:
    images = [str(Path(label).with_name("image.nii")) for label in labels] if "/x/" in labels[0] else ["i.nii", "i.nii"]
    touch(tmp_path, *labels, *images)
    rows = "".join(f"{image},{label}\n" for image, label in zip(images, labels, strict=True))
    (tmp_path / "t.csv").write_text("image,label\n" + rows)
    assert [case.name for case in gather_table(tmp_path / "t.csv").cases] == names


def test_bad_tables_are_refused_and_missing_files_told(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    for content, message in (("", "has no row"), ("image,other\na,b\n", "must have the columns label and image")):
        table.write_text(content)
        with pytest.raises(RequestError, match=message):
            gather_table(table)
    touch(tmp_path, "a.nii")
    table.write_text("image,label\na.nii,a_seg.nii\na.nii,\n")
    gathered = gather_table(table)
    assert gathered.cases == ()
    assert [problem.what for problem in gathered.problems] == ["does not exist"] * 2
    with pytest.raises(RequestError, match="cannot be read"):
        gather_table(tmp_path / "none.csv")
