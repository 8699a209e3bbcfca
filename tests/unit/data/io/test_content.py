"""What a file is by its first bytes, against its ending."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from autounet.data.io import FileError, read_image, write_label
from autounet.geometry import Geometry

PLACE = Geometry.from_spacing((1.0, 1.0, 1.0))
VOLUME = np.ones((2, 3, 4), np.uint8)
SLICE = np.ones((1, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("true", "false", "name"),
    [
        (".nrrd", ".nii", "NRRD"),
        (".mha", ".nrrd", "MetaImage"),
        (".gipl", ".mha", "GIPL"),
        (".tif", ".png", "TIFF"),
        (".png", ".nii.gz", "PNG"),
        (".bmp", ".png", "BMP"),
        (".nii", ".tif", "NIfTI"),
        (".nii.gz", ".nrrd", "NIfTI"),
    ],
)
def test_both_formats_are_named(true: str, false: str, name: str, tmp_path: Path) -> None:
    write_label(tmp_path / f"a{true}", SLICE, PLACE)
    path = (tmp_path / f"a{true}").rename(tmp_path / f"a{false}")
    with pytest.raises(FileError, match=rf"its content is {name}, but its ending \{false} says"):
        read_image([path])


def test_jpeg_under_png_is_told(tmp_path: Path) -> None:
    PIL.Image.fromarray(SLICE[0]).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(FileError, match=r"its content is JPEG, but its ending \.png says PNG"):
        read_image([tmp_path / "a.png"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty, it has 0 bytes"),
        (b"<!DOCTYPE html><html>", "a web page.*download the file again"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"PK\x03\x04" + bytes(60), "a ZIP archive.*Unpack"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
        (b"\x93NUMPY" + bytes(60), r"Image\.from_array"),
    ],
)
def test_what_is_no_image_is_told(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(FileError, match=message):
        read_image([tmp_path / "a.nii.gz"])


def test_compression_does_not_depend_on_the_ending(tmp_path: Path) -> None:
    write_label(tmp_path / "a.nii", VOLUME, PLACE)
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content)
    (tmp_path / "c.nii").write_bytes(gzip.compress(content))
    for name in ("b.nii.gz", "c.nii"):
        np.testing.assert_array_equal(read_image([tmp_path / name]).array[0], VOLUME)


def test_a_folder_under_the_ending_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        read_image([tmp_path / "a.nii.gz"])
