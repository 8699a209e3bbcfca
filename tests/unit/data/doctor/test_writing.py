"""Repaired images keep their voxels and their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autounet.data.doctor.writing import write_image
from autounet.data.io import FileError, read_image
from autounet.geometry import Geometry, corner_displacement_mm

TURNED = Geometry(
    spacing_mm=(3.0, 2.0, 1.0),
    affine=((0, -2, 0, 5), (1, 0, 0, -7), (0, 0, 3, 11), (0, 0, 0, 1)),
)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_volumes_make_the_round_trip(tmp_path: Path, ending: str, num_channels: int) -> None:
    array = np.random.default_rng(0).normal(size=(num_channels, 4, 5, 6)).astype(np.float32)
    path = tmp_path / f"x_0000{ending}"
    write_image(path, array, TURNED)
    read = read_image([path])
    np.testing.assert_array_equal(read.array, array)
    np.testing.assert_allclose(read.geometry.spacing_mm, TURNED.spacing_mm, rtol=1e-6)
    assert corner_displacement_mm(read.geometry, TURNED, (4, 5, 6)) < 1e-5


@pytest.mark.parametrize("num_channels", [1, 2])
def test_stacks_keep_their_spacing(tmp_path: Path, num_channels: int) -> None:
    array = np.random.default_rng(0).normal(size=(num_channels, 4, 5, 6)).astype(np.float32)
    write_image(tmp_path / "x_0000.tif", array, Geometry.from_spacing((3.0, 2.0, 1.0)))
    read = read_image([tmp_path / "x_0000.tif"])
    np.testing.assert_array_equal(read.array, array)
    assert read.geometry.spacing_mm == (3.0, 2.0, 1.0)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".tif"])
def test_single_images_stay_single(tmp_path: Path, ending: str) -> None:
    array = np.random.default_rng(0).normal(size=(1, 1, 5, 6)).astype(np.float32)
    write_image(tmp_path / f"x_0000{ending}", array, Geometry.from_spacing((1.0, 2.0, 1.5), num_spatial_dims=2))
    read = read_image([tmp_path / f"x_0000{ending}"])
    np.testing.assert_array_equal(read.array, array)
    assert read.geometry.num_spatial_dims == 2


@pytest.mark.parametrize(("num_channels", "highest"), [(1, 255), (1, 65535), (3, 255), (4, 255)])
def test_whole_numbers_make_the_round_trip_in_png(tmp_path: Path, num_channels: int, highest: int) -> None:
    array = np.random.default_rng(0).integers(0, highest + 1, (num_channels, 1, 5, 6)).astype(np.float32)
    array[0, 0, 0, 0] = highest
    write_image(tmp_path / "x.png", array, TURNED)
    np.testing.assert_array_equal(read_image([tmp_path / "x.png"]).array, array)


@pytest.mark.parametrize(
    ("name", "shape", "value", "message"),
    [
        ("x.jpg", (1, 1, 2, 2), 0, "cannot be written"),
        ("x.png", (1, 3, 2, 2), 0, "has 1 of 3"),
        ("x.png", (2, 1, 2, 2), 0, "has 2 of 1"),
        ("x.png", (1, 1, 2, 2), 0.5, "whole numbers from 0 to 65535"),
        ("x.png", (1, 1, 2, 2), -1, "from -1 to -1"),
        ("x.png", (3, 1, 2, 2), 256, "whole numbers from 0 to 255"),
    ],
)
def test_others_are_refused(name: str, shape: tuple[int, ...], value: float, message: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=message):
        write_image(tmp_path / name, np.full(shape, value, np.float32), TURNED)
    assert not list(tmp_path.iterdir())
