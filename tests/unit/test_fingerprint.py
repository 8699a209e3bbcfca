"""Fingerprints of small datasets with numbers that can be worked out by hand, and of real ones where present."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from autounet import parallel
from autounet.data.dataset import RawDataset
from autounet.errors import DataError
from autounet.fingerprint import Fingerprint, case_traits, known_fingerprint, take_fingerprint

LABELS = {"background": 0, "organ": 1, "tumour": 2}
Case = tuple[np.ndarray, np.ndarray]  # image (C, Z, Y, X) and label (Z, Y, X)


def dataset(tmp_path: Path, cases: list[Case], labels: dict[str, Any] = LABELS, **more: Any) -> RawDataset:
    """Write the cases, with voxels of 3 x 2 x 1 mm (z, y, x)."""
    folder = tmp_path / "Dataset001_Test"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    for index, (image, label) in enumerate(cases):
        for number, channel in enumerate(image):
            path = folder / "imagesTr" / f"case{index}_{number:04d}.nii"
            nib.save(nib.Nifti1Image(channel.T.astype(np.float32), affine), path)
        nib.save(nib.Nifti1Image(label.T.astype(np.uint8), affine), folder / "labelsTr" / f"case{index}.nii")
    description = {
        "channel_names": {str(number): f"c{number}" for number in range(cases[0][0].shape[0])},
        "labels": labels,
        "numTraining": len(cases),
        "file_ending": ".nii",
    }
    (folder / "dataset.json").write_text(json.dumps(description | more))
    return RawDataset.load(folder)


def taken(tmp_path: Path, cases: list[Case], labels: dict[str, Any] = LABELS, **more: Any) -> Fingerprint:
    return take_fingerprint(dataset(tmp_path, cases, labels, **more), jobs=1)


def row(values: Sequence[float]) -> np.ndarray:
    return np.array(values).reshape(1, 1, -1)


def test_sizes_and_crop(tmp_path: Path) -> None:
    image = np.zeros((2, 6, 7, 8))
    image[0, 1:3, 2:5, 4] = 1
    image[1, 3, 3, 5:7] = -1  # the crop spans both channels
    label = np.zeros((6, 7, 8))
    label[2, 3, 4] = 1
    found = taken(tmp_path, [(image, label)])
    (case,) = found.cases
    assert (case.name, case.spacing_mm, case.shape) == ("case0", (3.0, 2.0, 1.0), (6, 7, 8))
    assert case.shape_after_crop == (3, 3, 3)
    assert found.median_relative_size_after_crop == pytest.approx(27 / 336)


def test_an_image_of_zeros_is_not_cropped(tmp_path: Path) -> None:
    (case,) = taken(tmp_path, [(np.zeros((1, 2, 3, 4)), np.ones((2, 3, 4)))]).cases
    assert case.shape_after_crop == (2, 3, 4)


def test_foreground_outside_the_crop_has_no_intensity(tmp_path: Path) -> None:
    found = taken(tmp_path, [(row([0, 5, 7, 0])[None], row([1, 1, 2, 1]))])
    assert (found.intensities[0].minimum, found.intensities[0].mean) == (5, 6)
    assert found.cases[0].num_voxels == {"organ": 3, "tumour": 1}


def test_cases_weigh_the_same(tmp_path: Path) -> None:
    # Voxels 1, 3 and 10, 10, 10, 10, 16, 16: means 2 and 12, variances 1 and 8.
    first = row([9, 1, 3])[None], row([0, 1, 2])
    second = row([10, 10, 10, 10, 16, 16])[None], row([1] * 6)
    without = row([50, 60])[None], row([0, 0])
    found = taken(tmp_path, [first, second, without])
    (pooled,) = found.intensities
    assert pooled.mean == pytest.approx(7)
    assert pooled.std == pytest.approx(np.sqrt(4.5 + 25))
    assert (pooled.minimum, pooled.maximum) == (1, 16)
    # Half of the weight lies in each case, so the median is half-way between 3 and 10 by their weights 1/4 and 1/12:
    # 3 stands at 0.375, 10 at 0.5 + 1/24.
    assert pooled.median == pytest.approx(3 + 7 * (0.5 - 0.375) / (0.5 + 1 / 24 - 0.375))
    assert found.cases[2].intensities == ()


def test_statistics_are_those_of_nnunets_samples(tmp_path: Path) -> None:
    """The independent way: draw the same number of voxels from each case, with replacement, and pool them."""
    rng = np.random.default_rng(0)
    images = [rng.normal(100 * index, 10 + index, (1, 10, 30, 40)) for index in range(3)]
    labels = [(rng.random((10, 30, 40)) < share).astype(int) for share in (0.02, 0.5, 1)]
    (pooled,) = taken(tmp_path, list(zip(images, labels, strict=True))).intensities
    samples = np.concatenate(
        [rng.choice(image[0][label > 0], 100_000) for image, label in zip(images, labels, strict=True)]
    )
    assert pooled.mean == pytest.approx(samples.mean(), abs=0.5)
    assert pooled.std == pytest.approx(samples.std(), abs=0.5)
    low, median, high = np.percentile(samples, [0.5, 50, 99.5])
    assert pooled.percentile_00_5 == pytest.approx(low, abs=1)
    assert pooled.median == pytest.approx(median, abs=1)
    assert pooled.percentile_99_5 == pytest.approx(high, abs=1)


def test_components_are_joined_over_corners_and_sorted(tmp_path: Path) -> None:
    label = np.zeros((4, 6, 6))
    label[0, 0, 0] = label[1, 1, 1] = 1  # touch at a corner
    label[3, 3:6, 5] = 1
    label[3, 0, 0] = 2
    (case,) = taken(tmp_path, [(np.ones((1, 4, 6, 6)), label)]).cases
    assert case.component_sizes == {"organ": (3, 2), "tumour": (1,)}


def test_absent_classes_have_no_component(tmp_path: Path) -> None:
    (case,) = taken(tmp_path, [(row([1, 1])[None], row([0, 2]))]).cases
    assert case.num_voxels == {"organ": 0, "tumour": 1}
    assert case.component_sizes == {"organ": (), "tumour": (1,)}


def test_at_most_a_hundred_components_are_kept(tmp_path: Path) -> None:
    label = row([0, 1] * 150)
    (case,) = taken(tmp_path, [(label[None] + 1, label)]).cases
    assert case.component_sizes["organ"] == (1,) * 100


def test_regions_unite_their_values(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    (case,) = taken(tmp_path, [(row([1] * 5)[None], row([1, 2, 0, 0, 1]))], labels, regions_class_order=[1, 2]).cases
    assert case.num_voxels == {"whole": 3, "core": 1}
    assert case.component_sizes == {"whole": (2, 1), "core": (1,)}


def test_ignored_voxels_are_not_foreground(tmp_path: Path) -> None:
    labels = {"background": 0, "organ": 1, "ignore": 2}
    found = taken(tmp_path, [(row([4, 6, 900])[None], row([1, 1, 2]))], labels)
    assert found.intensities[0].maximum == 6
    assert found.cases[0].num_voxels == {"organ": 2}


def test_the_same_image_has_the_same_hash_and_traits_tell_the_classes(tmp_path: Path) -> None:
    image = np.arange(24.0).reshape(1, 2, 3, 4)
    organ, both = np.zeros((2, 3, 4)), np.zeros((2, 3, 4))
    organ[0] = both[0] = 1
    both[1] = 2
    turned = image.reshape(1, 4, 3, 2)
    traits = case_traits(
        taken(tmp_path, [(image, organ), (image + 0, both), (-image, organ), (turned, organ.reshape(4, 3, 2))])
    )
    assert [case.classes for case in traits] == [("organ",), ("organ", "tumour"), ("organ",), ("organ",)]
    assert traits[0].content_hash == traits[1].content_hash != ""
    assert len({case.content_hash for case in traits}) == 3


def test_no_foreground_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 1 cases has a voxel of organ, tumour"):
        taken(tmp_path, [(row([1, 1])[None], row([0, 0]))])


def test_all_problems_of_all_cases_at_once(tmp_path: Path) -> None:
    cases = [(row([1, np.nan])[None], row([0, 5])), (row([1, 1])[None], row([0, 1])), (row([1, 1])[None], row([9, 9]))]
    with pytest.raises(DataError) as caught:
        taken(tmp_path, cases)
    assert [problem.case for problem in caught.value.problems] == ["case0", "case0", "case2"]


def test_written_and_read_again(tmp_path: Path) -> None:
    found = taken(tmp_path, [(row([1, 2])[None], row([0, 1]))])
    found.write(tmp_path / "fingerprint.json")
    assert Fingerprint.read(tmp_path / "fingerprint.json") == found


def test_workers_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    raw = dataset(tmp_path, [(rng.random((1, 3, 4, 5)), rng.integers(0, 3, (3, 4, 5))) for _ in range(5)])
    alone = take_fingerprint(raw, jobs=1)
    monkeypatch.setattr(parallel, "_BYTES_WORTH_A_WORKER", 1)
    assert take_fingerprint(raw, jobs=2) == alone


def touch(path: Path) -> None:
    """Make a file look written again."""
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))


def changed_description(raw: RawDataset) -> None:
    path = raw.folder / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"channel_names": {"0": "CT"}}))


@pytest.fixture
def known(tmp_path: Path) -> tuple[RawDataset, Path]:
    """A dataset and the file of its fingerprint."""
    raw = dataset(tmp_path, [(row([1, 2])[None], row([0, 1])), (row([3, 4])[None], row([1, 0]))])
    take_fingerprint(raw, jobs=1).write(tmp_path / "fingerprint.json")
    return raw, tmp_path / "fingerprint.json"


def test_a_fingerprint_of_the_dataset_as_it_is_is_known(known: tuple[RawDataset, Path]) -> None:
    raw, path = known
    assert known_fingerprint(path, RawDataset.load(raw.folder)) == take_fingerprint(raw, jobs=1)


@pytest.mark.parametrize("change", ["image", "label", "case removed", "description"])
def test_a_fingerprint_of_another_state_of_the_dataset_is_not_known(
    known: tuple[RawDataset, Path], change: str
) -> None:
    raw, path = known
    if change == "description":
        changed_description(raw)
    elif change == "case removed":
        raw = raw.model_copy(update={"cases": raw.cases[:1]})
        assert known_fingerprint(path, raw) is None
        return
    else:
        touch(raw.folder / ("imagesTr/case1_0000.nii" if change == "image" else "labelsTr/case1.nii"))
    assert known_fingerprint(path, RawDataset.load(raw.folder)) is None


@pytest.mark.parametrize("damage", ["missing", "torn", "of an earlier version"])
def test_a_fingerprint_that_cannot_be_read_is_not_known(known: tuple[RawDataset, Path], damage: str) -> None:
    raw, path = known
    content = json.loads(path.read_text())
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_text(path.read_text()[:50])
    else:
        del content["source"]
        path.write_text(json.dumps(content))
    assert known_fingerprint(path, raw) is None


def test_images_that_are_nearly_the_same_share_a_hash(tmp_path: Path) -> None:
    one, other = np.random.default_rng(0).normal(100, 20, (2, 1, 8, 9, 10))
    label = np.ones((8, 9, 10))
    cases = [(one, label), (other, label), (np.rint(2 * one), label), (np.rint(3 * one), label)]
    hashes = [case.content_hash for case in taken(tmp_path, cases).cases]
    assert hashes[0] == hashes[2] == hashes[3] != hashes[1]


SIDED = {"background": 0, "eye_left": 1, "eye_right": 2, "chiasm": 3}


def test_places_of_left_and_right_classes(tmp_path: Path) -> None:
    label = np.zeros((4, 5, 6))
    label[1:3, 2, 0:2] = 1
    label[3, 4, 5] = 2
    label[0, 0, 0] = 3
    (case,) = taken(tmp_path, [(np.ones((1, 4, 5, 6)), label)], SIDED).cases
    # Voxels of 3 x 2 x 1 mm: the centre of the first is z 1.5, y 2, x 0.5.
    assert case.places_mm == {"eye_left": (0.5, 4.0, 4.5), "eye_right": (5.0, 8.0, 9.0)}
    assert (case.left_right_axis, case.grows_to_left) == (2, False)


def test_places_of_regions_and_of_what_is_missing(tmp_path: Path) -> None:
    labels = {"background": 0, "eye_left": [1, 2], "eye_right": [3, 4], "lens_left": 2, "lens_right": 4}
    case = row([9, 8, 7, 6])[None], row([1, 0, 2, 2])
    (found,) = taken(tmp_path, [case], labels, regions_class_order=[1, 3, 2, 4]).cases
    assert found.places_mm == {"eye_left": (pytest.approx(5 / 3), 0.0, 0.0), "lens_left": (2.5, 0.0, 0.0)}


def test_without_pairs_no_places_are_measured(tmp_path: Path) -> None:
    (case,) = taken(tmp_path, [(row([9, 8])[None], row([1, 2]))]).cases
    assert case.places_mm == {}
