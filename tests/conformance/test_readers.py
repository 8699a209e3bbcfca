"""Every reader keeps values and place in space through writing and reading, whatever its format can hold."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from autounet.data.io import READERS, FileError, label_ending, read_image, read_label, reader_for, write_label
from autounet.errors import RequestError
from autounet.geometry import Geometry

# What a format cannot hold. A new reader is expected to hold everything.
READ_ONLY = {".jpg", ".jpeg", ".ome.zarr", ".dcm"}
WITHOUT_2D = {".gipl"}  # reads as a volume of one slice
WITHOUT_VOLUMES = {".png", ".bmp"}
WITHOUT_SPACING = {".png", ".bmp"}
WITHOUT_ORIGIN = {".png", ".bmp", ".tif", ".tiff", ".ome.tif", ".ome.tiff"}
WITHOUT_DIRECTION = {*WITHOUT_ORIGIN, ".gipl"}
HIGHEST = {".bmp": 255, ".png": 65535, ".gipl": 65535}

ENDINGS = sorted(set(READERS) - READ_ONLY)
VOLUME_ENDINGS = [ending for ending in ENDINGS if ending not in WITHOUT_VOLUMES]


def geometry_for(ending: str, num_spatial_dims: int) -> Geometry:
    """As hard a geometry as the format can hold: float32 numbers, so that NIfTI holds them exactly."""
    spacing = (1.0, 1.0, 1.0)
    if ending not in WITHOUT_SPACING:
        spacing = (3.0 if num_spatial_dims == 3 else 1.0, 0.75, 0.5)
    if ending in WITHOUT_ORIGIN:
        return Geometry.from_spacing(spacing, num_spatial_dims, tells_spacing=ending not in WITHOUT_SPACING)
    # The identity of LPS formats; a turn by about 37 degrees in the plane where directions are kept.
    turn = np.diag([-1.0, -1.0, 1.0])
    if ending not in WITHOUT_DIRECTION:
        turn = turn @ np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * spacing[::-1]
    matrix[:3, 3] = (-12.5, 40.25, 7.125 if num_spatial_dims == 3 else 0.0)
    rows = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in matrix)
    return Geometry(spacing_mm=spacing, affine=rows, num_spatial_dims=num_spatial_dims)


def label_of(num_spatial_dims: int, highest: int = 3) -> np.ndarray:
    label = np.random.default_rng(0).integers(0, 4, (5 if num_spatial_dims == 3 else 1, 6, 7))
    label[0, 0, 0] = highest
    return label


def assert_same_place(read: Geometry, written: Geometry) -> None:
    np.testing.assert_allclose(read.spacing_mm, written.spacing_mm, rtol=0, atol=1e-6)
    np.testing.assert_allclose(read.matrix, written.matrix, rtol=0, atol=1e-6)
    assert read.num_spatial_dims == written.num_spatial_dims
    assert read.tells_spacing == written.tells_spacing


@pytest.mark.parametrize("ending", VOLUME_ENDINGS)
def test_volume_round_trip(ending: str, tmp_path: Path) -> None:
    label, geometry = label_of(3), geometry_for(ending, 3)
    write_label(tmp_path / f"case{ending}", label, geometry)
    read, place = read_label(tmp_path / f"case{ending}")
    np.testing.assert_array_equal(read, label)
    assert read.dtype == np.uint8
    assert_same_place(place, geometry)


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending not in WITHOUT_2D])
def test_2d_round_trip(ending: str, tmp_path: Path) -> None:
    label, geometry = label_of(2), geometry_for(ending, 2)
    write_label(tmp_path / f"case{ending}", label, geometry)
    read, place = read_label(tmp_path / f"case{ending}")
    np.testing.assert_array_equal(read, label)
    assert_same_place(place, geometry)


@pytest.mark.parametrize("ending", ENDINGS)
def test_file_has_the_smallest_unsigned_type(ending: str, tmp_path: Path) -> None:
    geometry = geometry_for(ending, 2)
    held = HIGHEST.get(ending, 2**32 - 1)
    for highest, expected in ((255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32)):
        path = tmp_path / f"case{highest}{ending}"
        if highest > held:
            with pytest.raises(FileError, match=rf"holds 0 to {held}"):
                write_label(path, label_of(2, highest), geometry)
            continue
        write_label(path, label_of(2, highest), geometry)
        stored, _ = reader_for(path).read(path, as_label=True)
        assert stored.dtype == expected
        np.testing.assert_array_equal(stored[0], label_of(2, highest))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("bad", [-1, 2**32])
def test_values_that_do_not_fit_are_refused(ending: str, bad: int, tmp_path: Path) -> None:
    label = label_of(2)
    label[0, 1, 1] = bad
    with pytest.raises(FileError, match="cannot be written"):
        write_label(tmp_path / f"case{ending}", label, geometry_for(ending, 2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", sorted(WITHOUT_VOLUMES))
def test_volumes_are_refused_where_the_format_has_none(ending: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="5 slices"):
        write_label(tmp_path / f"case{ending}", label_of(3), geometry_for(ending, 2))


@pytest.mark.parametrize("ending", ENDINGS)
def test_images_are_contiguous_float32_that_may_be_changed(ending: str, tmp_path: Path) -> None:
    label = label_of(2)
    write_label(tmp_path / f"case{ending}", label, geometry_for(ending, 2))
    image = read_image([tmp_path / f"case{ending}"] * 2)
    assert image.array.dtype == np.float32
    assert image.array.flags.c_contiguous
    assert image.array.flags.writeable
    np.testing.assert_array_equal(image.array, np.stack([label, label]))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failed_write_leaves_the_old_file(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"case{ending}"
    write_label(path, label_of(2), geometry_for(ending, 2))
    before = sorted(entry.name for entry in tmp_path.iterdir()), path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_label(path, label_of(2) * 0, geometry_for(ending, 2))
    assert (sorted(entry.name for entry in tmp_path.iterdir()), path.read_bytes()) == before


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("damage", ["empty", "noise", "cut"])
def test_damaged_files_are_named(ending: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / f"case{ending}"
    label = np.random.default_rng(0).integers(0, 200, (1, 64, 64))
    write_label(path, label, geometry_for(ending, 2))
    whole = path.read_bytes()
    content = {"empty": b"", "noise": os.urandom(2000), "cut": whole[: len(whole) // 2]}
    path.write_bytes(content[damage])
    with pytest.raises(FileError, match=r"case\.") as caught:
        read_label(path)
    assert caught.value.path == path


@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_files_are_named(ending: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        read_label(tmp_path / f"case{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings_are_found_in_any_case_and_behind_dots(ending: str) -> None:
    assert reader_for(Path(f"a.b.1{ending.upper()}")) is reader_for(ending) is READERS[ending]


def test_unknown_ending_lists_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"\.nii\.gz.*\.png"):
        reader_for("case.czi")


@pytest.mark.parametrize("ending", sorted(READ_ONLY))
def test_formats_that_are_only_read_name_the_one_for_labels(ending: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=rf"are not written as .*\. Write it as \{label_ending(ending)}\."):
        write_label(tmp_path / f"case{ending}", label_of(2), Geometry.from_spacing((1.0, 1.0, 1.0)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
def test_labels_have_the_ending_of_the_images_where_that_works(ending: str) -> None:
    assert label_ending(ending) == ending


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ".nii" not in ending])
def test_content_of_another_format_is_named(ending: str, tmp_path: Path) -> None:
    write_label(tmp_path / "case.nii.gz", label_of(2), Geometry.from_spacing((1.0, 1.0, 1.0)))
    path = (tmp_path / "case.nii.gz").rename(tmp_path / f"case{ending}")
    with pytest.raises(FileError, match=rf"its content is NIfTI, but its ending \{ending} says .*'file_ending'"):
        read_label(path)
