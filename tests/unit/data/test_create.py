"""What is understood of images and labels: channels, endings, values and their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest

from autounet.data.create import Naming, name_values, understand
from autounet.data.draft import Draft, dataset_folder, require_whole, write_draft
from autounet.data.io import read_image, read_label
from autounet.errors import DataError, RequestError
from autounet.workspace import Workspace

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a tiny volume and returns its path."""

    def save(name: str, values: object = (0, 1), channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = np.resize(np.array(values), (2, 3, 4)).astype(np.int16)
        array = np.stack([volume] * channels, axis=-1) if channels > 1 else volume
        nib.save(nib.Nifti1Image(array, np.eye(4)), path)
        return path

    return save


def understand_in(tmp_path: Path, **naming: tuple[str, ...]) -> Draft:
    return understand(tmp_path / "i", tmp_path / "l", tmp_path / "raw" / "Dataset001_X", Naming(**naming))


def converted(tmp_path: Path, ending: str, tests: str | None = None) -> Draft:
    folder = tmp_path / "raw" / "Dataset001_X"
    test_images = None if tests is None else tmp_path / tests
    return understand(tmp_path / "i", tmp_path / "l", folder, test_images=test_images, convert_to=ending)


def test_cases_channels_and_values_are_counted(write: Write, tmp_path: Path) -> None:
    for name in "abc":
        write(f"i/{name}_flair.nii.gz", (5, 7))
        write(f"i/{name}_t1.nii.gz", (5, 7))
        write(f"l/{name}.nii.gz", (0, 1, 2) if name == "a" else (0, 1))
    draft = understand_in(tmp_path)
    assert draft.understood == "I understood: 3 cases, 2 channels, labels 0..2"
    assert draft.channel_names == ("flair", "t1")
    assert draft.value_cases == {0: 3, 1: 3, 2: 1}
    assert draft.labels is not None
    assert draft.labels.class_names == ("class_1", "class_2")
    assert draft.file_ending == ".nii.gz"
    assert (draft.problems, draft.left_out, draft.remarks) == ((), (), ())


def test_channels_inside_the_files_are_seen_and_named(write: Write, tmp_path: Path) -> None:
    write("i/a.nii.gz", (5, 7), channels=3)
    write("l/a.nii.gz", (0, 4))
    draft = understand_in(tmp_path)
    assert draft.understood == "I understood: 1 case, 3 channels, labels 0, 4"
    assert draft.channel_names == ("channel_0", "channel_1", "channel_2")
    assert understand_in(tmp_path, channels=("x", "y", "z")).channel_names == ("x", "y", "z")
    with pytest.raises(RequestError, match="--channel gives 2 names, but a has 3 channels"):
        understand_in(tmp_path, channels=("x", "y"))


def test_hounsfield_units_are_recognised(write: Write, tmp_path: Path) -> None:
    write("i/a.nii.gz", (-1000, 40))
    write("l/a.nii.gz")
    (remark,) = understand_in(tmp_path).remarks
    assert "--channel CT" in remark
    assert understand_in(tmp_path, channels=("CT",)).remarks == ()


def test_names_go_to_values_in_order_or_as_told() -> None:
    assert name_values([0, 1], ()) == {"foreground": 1}
    assert name_values([0, 2, 5], ()) == {"class_2": 2, "class_5": 5}
    assert name_values([0, 2, 5], ("liver", "tumour")) == {"liver": 2, "tumour": 5}
    assert name_values([0, 1, 2], ("ignore=2", "liver=1", "rare=3")) == {"ignore": 2, "liver": 1, "rare": 3}
    for names, message in (
        (("liver",), "1 names, but the label files hold 2 values besides 0: 2, 5"),
        (("liver=2",), "names no value 5"),
        (("liver", "liver"), "a name of its own"),
    ):
        with pytest.raises(RequestError, match=message):
            name_values([0, 2, 5], names)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 0), "no label file has a value above 0"),
        ((-1, 0, 1), "there is the label value -1"),
    ],
)
def test_label_files_without_classes_are_told(
    values: tuple[int, ...], message: str, write: Write, tmp_path: Path
) -> None:
    write("i/a.nii.gz")
    write("l/a.nii.gz", values)
    (problem,) = understand_in(tmp_path).problems
    assert message in problem.what
    with pytest.raises(DataError):
        require_whole(understand_in(tmp_path), skip_unmatched=True)


def test_mixed_endings_and_torn_labels_are_told_with_the_file(write: Write, tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz", "c.nii"):
        write(f"i/{name}")
        write(f"l/{name}")
    (tmp_path / "l" / "b.nii.gz").write_bytes(b"")
    problems = understand_in(tmp_path).problems
    assert [problem.case for problem in problems] == ["b", "c"]
    assert "ends in .nii, but 2 other images end in .nii.gz" in problems[1].what
    assert "--convert-to .nii.gz" in problems[1].remedy


def test_a_pair_of_header_and_voxels_is_not_linked_apart(tmp_path: Path) -> None:
    import SimpleITK

    for name in ("i", "l"):
        (tmp_path / name).mkdir()
        SimpleITK.WriteImage(
            SimpleITK.GetImageFromArray(np.eye(4, dtype=np.uint8)[None]), str(tmp_path / name / "a.mhd")
        )
    (problem,) = understand_in(tmp_path).problems
    assert "--convert-to .mha" in problem.remedy
    draft = converted(tmp_path, ".mha")
    assert draft.problems == ()
    write_draft(draft, copy=False)
    assert np.array_equal(read_image([draft.folder / "imagesTr" / "a_0000.mha"]).array[0, 0], np.eye(4))
    assert np.array_equal(read_label(draft.folder / "labelsTr" / "a.mha")[0][0], np.eye(4))


def test_images_of_another_format_are_written_anew(write: Write, tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii"):
        write(f"i/{name}", (5, 7, 9))
        write(f"l/{name}")
    write("t/c.nii", (5, 7, 9))
    draft = converted(tmp_path, ".nii.gz", tests="t")
    assert draft.remarks == ("2 image files of another format will be written anew as .nii.gz",)
    assert draft.understood.startswith("I understood: 2 cases and 1 for testing, ")
    write_draft(draft, copy=False)
    folder = draft.folder
    assert (folder / "imagesTr" / "a_0000.nii.gz").samefile(tmp_path / "i" / "a.nii.gz")
    source = read_image([tmp_path / "i" / "b.nii"])
    for path in (folder / "imagesTr" / "b_0000.nii.gz", folder / "imagesTs" / "c_0000.nii.gz"):
        assert np.array_equal(read_image([path]).array, source.array)
    assert json.loads((folder / "dataset.json").read_text())["file_ending"] == ".nii.gz"


def test_images_that_a_format_cannot_hold_are_all_told_and_nothing_is_written(write: Write, tmp_path: Path) -> None:
    for name in "ab":
        write(f"i/{name}.nii.gz", (5, 7))
        write(f"l/{name}.nii.gz")
    draft = converted(tmp_path, ".png")
    with pytest.raises(DataError) as caught:
        write_draft(draft, copy=False)
    assert [problem.case for problem in caught.value.problems] == ["a", "b"]
    assert "has 1 of 4" in caught.value.problems[0].what
    assert list(draft.folder.parent.iterdir()) == []
    with pytest.raises(RequestError, match=r"--convert-to \.jpg: images are written in one of"):
        converted(tmp_path, ".jpg")


def test_files_are_linked_or_copied_and_a_failure_leaves_nothing(write: Write, tmp_path: Path) -> None:
    write("i/a.nii.gz")
    write("l/a.nii.gz")
    draft = understand_in(tmp_path)
    write_draft(draft, copy=False)
    assert (draft.folder / "imagesTr" / "a_0000.nii.gz").samefile(tmp_path / "i" / "a.nii.gz")
    other = Workspace.at(tmp_path / "w").raw / "Dataset002_Y"
    copied = Draft(**{**vars(draft), "folder": other})
    write_draft(copied, copy=True)
    assert not (other / "labelsTr" / "a.nii.gz").samefile(tmp_path / "l" / "a.nii.gz")
    assert (other / "labelsTr" / "a.nii.gz").read_bytes() == (tmp_path / "l" / "a.nii.gz").read_bytes()
    (tmp_path / "l" / "a.nii.gz").unlink()
    third = Draft(**{**vars(draft), "folder": other.with_name("Dataset003_Z")})
    with pytest.raises(OSError):
        write_draft(third, copy=True)
    assert [path.name for path in other.parent.iterdir()] == ["Dataset002_Y"]


def test_labels_of_another_format_are_written_anew(write: Write, tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for folder, ending in (("i", "jpg"), ("l", "bmp")):
        (tmp_path / folder).mkdir(exist_ok=True)
        PIL.Image.fromarray(pixels if folder == "i" else (pixels > 5).astype(np.uint8)).save(
            tmp_path / folder / f"a.{ending}"
        )
    draft = understand_in(tmp_path)
    assert draft.channel_names == ("grey",)
    write_draft(draft, copy=False)
    assert sorted(path.relative_to(draft.folder).as_posix() for path in draft.folder.rglob("*.*")) == [
        "dataset.json",
        "imagesTr/a_0000.jpg",
        "labelsTr/a.png",
    ]
    assert np.array_equal(np.asarray(PIL.Image.open(draft.folder / "labelsTr" / "a.png")), pixels > 5)


def test_a_voxel_size_beside_a_tiff_comes_along(tmp_path: Path) -> None:
    import tifffile

    for folder in ("i", "l"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", np.ones((2, 5, 6), np.uint8), photometric="minisblack")
        (tmp_path / folder / "a.json").write_text('{"spacing": [3, 1, 1]}')
    draft = understand_in(tmp_path)
    write_draft(draft, copy=False)
    assert (draft.folder / "imagesTr" / "a_0000.json").exists()
    assert (draft.folder / "labelsTr" / "a.json").exists()


def test_the_number_is_the_first_free_one_and_never_taken(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path)
    (workspace.raw / "Dataset001_A").mkdir(parents=True)
    (workspace.results / "Dataset002_B").mkdir(parents=True)
    assert dataset_folder(workspace, "My liver!", None) == workspace.raw / "Dataset003_My_liver"
    assert dataset_folder(workspace, "Dataset012_X", None).name == "Dataset012_X"
    for name, number, message in (("X", 2, "is taken by Dataset002_B"), ("X", 1000, "0 to 999"), ("!", 5, "no letter")):
        with pytest.raises(RequestError, match=message):
            dataset_folder(workspace, name, number)
