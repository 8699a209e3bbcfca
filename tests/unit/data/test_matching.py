"""Images and labels find each other by names as people choose them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autounet.data.matching import FoundFile, match_files


def files(*stems: str, folder: str = "f") -> list[FoundFile]:
    return [FoundFile(Path(folder) / f"{stem}.nii.gz", stem, ".nii.gz") for stem in stems]


def pairs(images: list[str], labels: list[str]) -> tuple[dict[str, dict[str, str]], int]:
    """Per label: affix to image; and the number of problems."""
    found = match_files(files(*images), files(*labels, folder="l"))
    cases = {case.label.stem: {affix: image.stem for affix, image in case.images.items()} for case in found.cases}
    return cases, len(found.problems)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}", "{}"),
        ("case_{}_0000", "case_{}"),
        ("case_{}_image", "case_{}_mask"),
        ("img{}", "mask{}"),
        ("image-{}", "{}-seg"),
        ("{}", "{}_groundtruth"),
        ("{}", "ground_truth_{}"),
        ("patient{}_frame01", "patient{}_frame01_gt"),
        ("scan.{}.ct", "scan.{}.label"),
        ("photo {} final", "drawing {} of Anna"),
        ("{}/image", "{}/label"),
        ("{}/t1", "{}/seg"),
        ("x{}_img", "x{}-Segmentation"),
        ("Größe_{}", "Größe_{}_Label"),
    ],
)
def test_one_image_a_label(image: str, label: str) -> None:
    numbers = ["001", "002", "010", "100"]
    found, problems = pairs([image.format(n) for n in numbers], [label.format(n) for n in numbers])
    assert problems == 0
    assert {name: list(images.values()) for name, images in found.items()} == {
        label.format(n): [image.format(n)] for n in numbers
    }


def test_channels_are_told_by_what_the_images_have_beyond_the_label() -> None:
    kinds = ["t1", "t1ce", "t2", "flair"]
    images = [f"BraTS20_{n}/BraTS20_{n}_{kind}" for n in ("001", "002") for kind in kinds]
    found, problems = pairs(images, [f"BraTS20_{n}/BraTS20_{n}_seg" for n in ("001", "002")])
    assert problems == 0
    assert found["BraTS20_002/BraTS20_002_seg"] == {kind: f"BraTS20_002/BraTS20_002_{kind}" for kind in kinds}
    found, problems = pairs([f"p{n}_{c:04d}" for n in (1, 2) for c in range(3)], ["p1", "p2"])
    assert problems == 0
    assert sorted(found["p2"]) == ["0000", "0001", "0002"]


def test_numbers_are_compared_whole() -> None:
    found, problems = pairs(["img_1", "img_11", "img_111"], ["mask_1", "mask_11", "mask_111"])
    assert problems == 0
    assert {name: list(images.values()) for name, images in found.items()} == {
        "mask_1": ["img_1"],
        "mask_11": ["img_11"],
        "mask_111": ["img_111"],
    }


def test_a_date_in_the_name_tells_no_channel() -> None:
    found, problems = pairs(["001_20190101", "002_20200305"], ["001", "002"])
    assert problems == 0
    assert found == {"001": {"": "001_20190101"}, "002": {"": "002_20200305"}}


def test_what_has_no_partner_is_told_with_the_nearest_name() -> None:
    found = match_files(files("a_1_img", "a_2_img", "a_3_img"), files("a_1_seg", "a_2_seg", "a_4_seg", folder="l"))
    assert [case.label.stem for case in found.cases] == ["a_1_seg", "a_2_seg"]
    assert [(problem.file, problem.what) for problem in found.problems] == [
        ("f/a_3_img.nii.gz", "the image has no label of a like name"),
        ("l/a_4_seg.nii.gz", "the label has no image of a like name"),
    ]
    assert all("--skip-unmatched" in problem.remedy for problem in found.problems)
    mistyped = match_files(files("liver_1", "liver_2"), files("liver_1", "livre_2", folder="l"))
    assert ["Did you mean 'livre_2'?" in problem.remedy for problem in mistyped.problems] == [True, False]
    assert "Did you mean 'liver_2'?" in mistyped.problems[1].remedy


def test_two_labels_of_one_case_are_told() -> None:
    found = match_files(files("a_1", "a_2"), files("a_1_seg", "a_1_mask", "a_2_seg", folder="l"))
    (problem,) = found.problems
    assert problem.file == "l/a_1_mask.nii.gz"
    assert "the same case as l/a_1_seg.nii.gz" in problem.what


def test_a_case_without_a_channel_is_told_and_left_out() -> None:
    found = match_files(files("a_t1", "a_t2", "b_t1", "b_t2", "c_t1"), files("a", "b", "c", folder="l"))
    assert [case.label.stem for case in found.cases] == ["a", "b"]
    (problem,) = found.problems
    assert (problem.case, problem.what) == ("c", "lacks the channel 't2'")
