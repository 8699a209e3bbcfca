"""Test images are named and sorted into channels as the training images are."""

from __future__ import annotations

from pathlib import Path

import pytest

from autounet.data.unlabelled import gather_test_images
from autounet.errors import RequestError


def gathered(folder: Path, channels: tuple[str, ...], *names: str) -> dict[str, list[str]]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    found = gather_test_images(folder, channels)
    assert not found.problems
    return {case.name: [path.relative_to(folder).as_posix() for path in case.images] for case in found.cases}


@pytest.mark.parametrize(
    ("channels", "names", "cases"),
    [
        (("",), ["a.nii.gz", "b.nii.gz"], {"a": ["a.nii.gz"], "b": ["b.nii.gz"]}),
        (("",), ["img_07.png", "x-1_image.png"], {"07": ["img_07.png"], "x-1": ["x-1_image.png"]}),
        (("0000",), ["a_0000.nii.gz", "b.nii.gz"], {"a": ["a_0000.nii.gz"], "b": ["b.nii.gz"]}),
        (
            ("0000", "0001"),
            ["a_1_0000.nii.gz", "a_1_0001.nii.gz"],
            {"a_1": ["a_1_0000.nii.gz", "a_1_0001.nii.gz"]},
        ),
        (("flair", "t1"), ["sub-01/T1.nii", "sub-01/flair.nii"], {"sub-01": ["sub-01/flair.nii", "sub-01/T1.nii"]}),
        (("t1", "t1_gd"), ["p_t1.nii", "p_t1_gd.nii"], {"p": ["p_t1.nii", "p_t1_gd.nii"]}),
        (("",), ["image.png"], {"image": ["image.png"]}),
    ],
)
def test_names_tell_cases_and_channels(
    channels: tuple[str, ...], names: list[str], cases: dict[str, list[str]], tmp_path: Path
) -> None:
    assert gathered(tmp_path, channels, *names) == cases


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a_t1.nii", "a_t2.nii", "b_t1.nii"], "test case b lacks the channel t2"),
        (["a_t1.nii", "a_t2.nii", "a_pd.nii"], "tells none of the channels t1, t2"),
        (["a_t1.nii", "a_t2.nii", "img_a_t1.nii"], "would be the same image of test case a"),
    ],
)
def test_what_does_not_fit_is_told(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    found = gather_test_images(tmp_path, ("t1", "t2"))
    assert [case.name for case in found.cases] == ["a"]
    (problem,) = found.problems
    assert message in problem.what


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no file of a known format"):
        gather_test_images(tmp_path, ("",))
