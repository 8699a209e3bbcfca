"""The generated dataset: whole, repeatable, varied, and not to be had by a threshold."""

from pathlib import Path

import numpy as np
import pytest

from autounet.data.dataset import RawDataset
from autounet.data.io import read_image, read_label
from autounet.data.phantoms import LABELS, Phantom, generate_phantom, write_phantom_dataset

NUM_CASES = 12


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [generate_phantom(np.random.default_rng((0, index))) for index in range(NUM_CASES)]


def test_the_dataset_loads(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset900_Phantoms"
    write_phantom_dataset(folder, num_training=3, num_test=2)
    dataset = RawDataset.load(folder)
    assert [case.name for case in dataset.cases] == ["phantom_000", "phantom_001", "phantom_002"]
    assert dataset.description.labels.class_names == ("liver", "kidneys", "vessel")
    assert dataset.description.channel_names == ("MR",)
    assert dataset.description.num_training == 3
    tests = [path.name for path in sorted((folder / "imagesTs").iterdir())]
    assert tests == ["phantom_003_0000.nii.gz", "phantom_004_0000.nii.gz"]
    assert [path.name for path in sorted((folder / "labelsTs").iterdir())] == [
        "phantom_003.nii.gz",
        "phantom_004.nii.gz",
    ]


def test_files_hold_what_was_generated(tmp_path: Path) -> None:
    write_phantom_dataset(tmp_path, num_training=1, num_test=1, seed=7)
    for index, part in enumerate(("Tr", "Ts")):
        phantom = generate_phantom(np.random.default_rng((7, index)))
        image = read_image([tmp_path / f"images{part}" / f"phantom_{index:03d}_0000.nii.gz"])
        label, geometry = read_label(tmp_path / f"labels{part}" / f"phantom_{index:03d}.nii.gz")
        np.testing.assert_array_equal(image.array[0], phantom.image)
        np.testing.assert_array_equal(label, phantom.label)
        assert geometry == image.geometry
        assert geometry.spacing_mm == pytest.approx(phantom.spacing_mm)


def test_the_same_seed_gives_the_same_cases(phantoms: list[Phantom]) -> None:
    again = generate_phantom(np.random.default_rng((0, 3)))
    np.testing.assert_array_equal(again.image, phantoms[3].image)
    np.testing.assert_array_equal(again.label, phantoms[3].label)
    other = generate_phantom(np.random.default_rng((1, 3)))
    assert other.image.shape != again.image.shape or (other.image != again.image).any()


def test_every_case_shows_every_class(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        counts = np.bincount(phantom.label.ravel(), minlength=len(LABELS))
        assert len(counts) == len(LABELS)
        assert (counts > 100).all()


def test_cases_differ_in_size_and_spacing(phantoms: list[Phantom]) -> None:
    assert len({phantom.spacing_mm for phantom in phantoms}) == NUM_CASES
    assert len({phantom.image.shape for phantom in phantoms}) > NUM_CASES // 2
    for phantom in phantoms:
        assert phantom.image.shape == phantom.label.shape
        assert all(32 <= size <= 48 for size in phantom.image.shape)
        assert phantom.spacing_mm[0] > phantom.spacing_mm[1] == phantom.spacing_mm[2]


def test_air_is_zero_and_the_body_is_not(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        air = phantom.image == 0
        assert 0.1 < air.mean() < 0.6
        assert air[:, [0, 0, -1, -1], [0, -1, 0, -1]].all()
        assert not phantom.label[air].any()


def best_threshold_dice(phantom: Phantom, value: int) -> float:
    """Dice of the best intensity window of this very case, found by trying all pairs of 100 thresholds."""
    edges = np.linspace(0, int(phantom.image.max()) + 1, 101)
    inside = np.concatenate([[0], np.histogram(phantom.image[phantom.label == value], edges)[0].cumsum()])
    overall = np.concatenate([[0], np.histogram(phantom.image, edges)[0].cumsum()])
    hits = inside[None, :] - inside[:, None]
    chosen = overall[None, :] - overall[:, None]
    valid = chosen > 0
    return float((2 * hits[valid] / (chosen[valid] + inside[-1])).max())


def test_no_threshold_finds_an_organ(phantoms: list[Phantom]) -> None:
    for value in (1, 2, 3):
        assert np.mean([best_threshold_dice(phantom, value) for phantom in phantoms]) < 0.7
