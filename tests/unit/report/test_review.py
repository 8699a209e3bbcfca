"""The pictures of a review: the slice that tells, the place in it, one file a case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture
from rich.console import Console

from autounet.data.dataset import RawDataset
from autounet.evaluation.judging import LabelledCase, judge_cases
from autounet.evaluation.suspicion import Review, rank_cases
from autounet.geometry import Array
from autounet.progress import SILENT
from autounet.report.review import _telling_axis, review_table, write_pictures
from autounet.report.slices import ShownVolume

SHAPE = (12, 16, 20)


def label() -> Array:
    volume = np.zeros(SHAPE, dtype=np.uint8)
    volume[3:9, 4:12, 5:9], volume[3:9, 4:12, 9:15] = 1, 2
    return volume


@pytest.fixture
def reviewed(tmp_path: Path, write_dataset: Callable[..., RawDataset]) -> tuple[Review, RawDataset]:
    """Three cases; in the label of the second the classes are swapped."""
    swapped = np.array([0, 2, 1], dtype=np.uint8)[label()]
    rng = np.random.default_rng(0)
    images = {name: rng.normal(size=(1, *SHAPE)) for name in ("a", "b[red]", "c")}
    raw = write_dataset({name: (image, swapped if name == "b[red]" else label()) for name, image in images.items()})
    pairs = []
    for case in raw.cases:
        assert case.label is not None
        path = tmp_path / f"{case.name}.nii"
        nib.save(nib.Nifti1Image(label().T, np.eye(4)), path)
        pairs.append(LabelledCase(case.name, case.label, path, "0", raw.description.labels))
    judged = judge_cases(pairs, "D", jobs=1, reporter=SILENT)
    return Review(dataset="D", model="m", typical={}, suspects=rank_cases(judged)), raw


def test_pictures_of_the_first_cases(tmp_path: Path, reviewed: tuple[Review, RawDataset]) -> None:
    review, raw = reviewed
    folder = tmp_path / "review"
    folder.mkdir()
    (folder / "007_old.png").touch()
    cases = {case.name: case for case in raw.cases}
    paths = list(write_pictures(folder, review, cases, raw.description.labels, 1, 2))
    assert [path.name for path in paths] == ["001_b[red].png", "002_a.png", "overview.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    with Picture.open(paths[-1]) as picture:
        colours = {tuple(pixel) for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3)[::3]}
    assert (230, 159, 0) in colours  # the lines of the first class, undimmed
    assert (242, 242, 242) in colours  # text and circles


def test_pictures_that_lay_in_the_folder_for_other_reasons_stay(
    tmp_path: Path, reviewed: tuple[Review, RawDataset]
) -> None:
    review, raw = reviewed
    folder = tmp_path / "review"
    folder.mkdir()
    for name in ("holiday.png", "20241105_scan.png"):
        (folder / name).touch()
    cases = {case.name: case for case in raw.cases}
    paths = list(write_pictures(folder, review, cases, raw.description.labels, 1, 1))
    assert {path.name for path in folder.iterdir()} - {path.name for path in paths} == {
        "holiday.png",
        "20241105_scan.png",
    }


def test_the_table_shows_names_as_they_are(reviewed: tuple[Review, RawDataset]) -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(review_table(reviewed[0], 1))
    text = captured.get()
    assert "b[red]" in text
    assert "1 of 3 cases" in text
    assert "100% of it is" in text


def test_the_slice_that_tells_is_the_one_with_most_to_see() -> None:
    """A slab of disagreement across y is seen whole in the slice along y."""
    reference, prediction = label(), label()
    prediction[3:9, 7, 5:15] = 0
    volume = ShownVolume(np.zeros(SHAPE), reference, prediction, (1, 1, 1), (False, False, False))
    assert _telling_axis(volume, (6, 7, 10)) == 1


@pytest.mark.parametrize("flips", [(False, False, False), (True, True, True)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_spot_is_where_the_voxel_is_drawn(axis: int, flips: tuple[bool, bool, bool]) -> None:
    place = (5, 9, 12)
    shown = np.zeros(SHAPE)
    shown[place] = 1
    volume = ShownVolume(shown, label(), label(), (1, 1, 1), flips)
    panel = volume.panel(axis, place[axis])
    assert np.argwhere(panel.image).tolist() == [list(volume.spot(axis, place))]
