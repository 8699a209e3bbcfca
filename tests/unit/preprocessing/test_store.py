"""Prepared cases on disk: what goes in comes out, and what is damaged is said to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autounet.errors import RequestError
from autounet.geometry import Box
from autounet.preprocessing.case import CaseProperties, PreparedCase
from autounet.preprocessing.store import ClassLocations, PreparedStore, _chunks

FILES = ("a.json", "a_image.b2nd", "a_label.b2nd", "a_locations.npz")
NO_LOCATIONS = ClassLocations((np.zeros((0, 3), np.int32),), None)


def case_of(image: np.ndarray, label: np.ndarray | None = None) -> PreparedCase:
    z, y, x = image.shape[1:]
    properties = CaseProperties(
        spacing_mm=(1, 1, 1),
        target_spacing_mm=(1, 1, 1),
        shape_before_crop=(z, y, x),
        crop=Box.whole((z, y, x)),
        shape=(z, y, x),
    )
    label = np.zeros((z, y, x)) if label is None else label
    return PreparedCase(image.astype(np.float32), label.astype(np.int16), properties)


def random_case(shape: tuple[int, ...] = (2, 5, 17, 9)) -> PreparedCase:
    generator = np.random.default_rng(0)
    return case_of(generator.normal(size=shape), generator.integers(-1, 3, shape[1:]))


@pytest.fixture
def store(tmp_path: Path) -> PreparedStore:
    (tmp_path / "store").mkdir()
    return PreparedStore(tmp_path / "store", (4, 8, 8))


def test_a_case_comes_back_as_it_was(store: PreparedStore) -> None:
    case = random_case()
    locations = ClassLocations((np.array([[1, 2, 3]], np.int32), np.zeros((0, 3), np.int32)), np.array([[0, 0, 1]]))
    store.save("a", case, locations, "recipe")
    assert sorted(path.name for path in store.folder.iterdir()) == sorted(FILES)
    np.testing.assert_allclose(store.image("a")[:], case.image, atol=2e-3)
    np.testing.assert_array_equal(store.image("a")[1, 2:4, :, 3], store.image("a")[:][1, 2:4, :, 3])
    assert case.label is not None
    np.testing.assert_array_equal(store.label("a")[:], case.label[None])
    assert store.label("a").dtype == np.int8
    back = store.locations("a")
    assert len(back.per_class) == 2
    assert back.per_class[0].tolist() == [[1, 2, 3]]
    assert back.per_class[1].shape == (0, 3)
    assert back.annotated is not None
    assert back.annotated.tolist() == [[0, 0, 1]]
    assert store.record("a").properties == case.properties


def test_without_an_ignore_label_there_are_no_annotated_locations(store: PreparedStore) -> None:
    store.save("a", random_case(), NO_LOCATIONS, "recipe")
    assert store.locations("a").annotated is None


def test_slices_are_stored_together_for_small_2d_patches(tmp_path: Path) -> None:
    store = PreparedStore(tmp_path, (8, 16))
    case = random_case((1, 3, 20, 20))
    store.save("a", case, NO_LOCATIONS, "recipe")
    assert store.image("a").chunks == (1, 3, 8, 16)
    np.testing.assert_allclose(store.image("a")[:], case.image, atol=2e-3)


def test_large_chunks_are_cut_into_blocks_that_fit_a_cache(tmp_path: Path) -> None:
    store = PreparedStore(tmp_path, (64, 64, 64))
    case = case_of(np.zeros((1, 70, 70, 70)))
    store.save("a", case, NO_LOCATIONS, "recipe")
    image = store.image("a")
    assert image.chunks == (1, 64, 64, 64)
    assert np.prod(image.blocks) * 2 <= 128 * 1024 < np.prod(image.blocks) * 2 * 2


def test_labels_beyond_127_keep_16_bits(store: PreparedStore) -> None:
    label = np.full((2, 2, 2), -1)
    label[0, 0, 0] = 128
    store.save("a", case_of(np.zeros((1, 2, 2, 2)), label), NO_LOCATIONS, "recipe")
    assert store.label("a").dtype == np.int16
    np.testing.assert_array_equal(store.label("a")[0], label)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-3, 3, np.float16),  # normalised
        (0, 1, np.float16),
        (0, 255, np.float16),
        (1000, 1010, np.float32),  # would keep ten levels of grey
        (0, 1e-6, np.float32),  # would lose its digits
        (0, 1e6, np.float32),  # beyond the largest half
        (0, 1e30, np.float32),
    ],
)
def test_half_precision_is_used_only_where_it_is_exact_enough(
    low: float, high: float, dtype: type[np.floating[Any]], store: PreparedStore
) -> None:
    values = np.linspace(low, high, 4096).reshape(1, 16, 16, 16)
    # A second channel that is harmless must not hide the first.
    image = np.concatenate([values, np.linspace(0, 1, 4096).reshape(1, 16, 16, 16)])
    store.save("a", case_of(image), NO_LOCATIONS, "recipe")
    stored = store.image("a")
    assert stored.dtype == dtype
    np.testing.assert_allclose(stored[:], image, atol=(high - low) * (1e-3 if dtype == np.float16 else 1e-4))


def test_a_constant_image_is_stored_exactly(store: PreparedStore) -> None:
    store.save("a", case_of(np.full((1, 2, 3, 4), 0.1)), NO_LOCATIONS, "recipe")
    np.testing.assert_array_equal(store.image("a")[:], np.full((1, 2, 3, 4), np.float32(0.1)))


def test_a_case_is_held_only_with_its_recipe_and_all_its_files(store: PreparedStore) -> None:
    assert not store.holds("a", "recipe")
    for name in FILES:
        store.save("a", random_case(), NO_LOCATIONS, "recipe")
        assert store.holds("a", "recipe")
        assert not store.holds("a", "another")
        (store.folder / name).unlink()
        assert not store.holds("a", "recipe"), name


def test_a_case_whose_record_is_damaged_is_not_held(store: PreparedStore) -> None:
    store.save("a", random_case(), NO_LOCATIONS, "recipe")
    record = store.folder / "a.json"
    record.write_text(record.read_text()[:40])
    assert not store.holds("a", "recipe")


def test_an_interrupted_case_is_not_held_even_by_its_old_recipe(
    store: PreparedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save("a", random_case(), NO_LOCATIONS, "old")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save("a", random_case(), NO_LOCATIONS, "new")
    assert not store.holds("a", "new")
    assert not store.holds("a", "old")
    assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("content", [b"", b"no array at all", None])
@pytest.mark.parametrize(
    ("file", "read"), [("a_image.b2nd", "image"), ("a_label.b2nd", "label"), ("a_locations.npz", "locations")]
)
def test_a_damaged_or_missing_file_is_named(file: str, read: str, content: bytes | None, store: PreparedStore) -> None:
    store.save("a", random_case(), NO_LOCATIONS, "recipe")
    path = store.folder / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=rf"{file} cannot be read.*Remove it and run plan_and_preprocess again"):
        getattr(store, read)("a")


def test_a_file_cut_short_is_named(store: PreparedStore) -> None:
    store.save("a", random_case(), NO_LOCATIONS, "recipe")
    for file, read in (("a_image.b2nd", store.image), ("a_locations.npz", store.locations)):
        path = store.folder / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(RequestError, match=f"{file} cannot be read"):
            read("a")


def test_locations_that_would_run_code_are_refused(store: PreparedStore) -> None:
    store.save("a", random_case(), NO_LOCATIONS, "recipe")
    np.savez(store.folder / "a_locations.npz", class_0=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RequestError, match=r"a_locations\.npz cannot be read .*pickle"):
        store.locations("a")


def test_the_record_is_plain_json(store: PreparedStore) -> None:
    store.save("a", random_case(), NO_LOCATIONS, "recipe")
    assert json.loads((store.folder / "a.json").read_text())["recipe"] == "recipe"


def test_cases_whose_names_end_like_files_do_not_overwrite_each_other(store: PreparedStore) -> None:
    names = ("a", "a_label", "a_image", "a_label_label")
    for number, name in enumerate(names):
        case = case_of(np.full((1, 4, 4, 4), number), np.full((4, 4, 4), number))
        store.save(name, case, NO_LOCATIONS, "recipe")
    for number, name in enumerate(names):
        image, label = store.load(name)
        assert (image == number).all()
        assert (label == number).all()


@pytest.mark.parametrize(
    ("shape", "patch", "itemsize", "expected"),
    [
        ((2, 100, 300, 300), (64, 128, 96), 2, (1, 64, 128, 96)),
        ((1, 36, 50, 35), (1, 56, 40), 2, (1, 36, 50, 35)),  # small slices travel together
        ((1, 300, 512, 512), (1, 512, 512), 2, (1, 1, 512, 512)),  # large ones alone
        ((1, 90, 128, 128), (1, 128, 128), 4, (1, 2, 128, 128)),
    ],
)
def test_chunks_follow_the_patch_but_are_never_tiny(
    shape: tuple[int, ...], patch: tuple[int, ...], itemsize: int, expected: tuple[int, ...]
) -> None:
    assert _chunks(shape, patch, itemsize) == expected
