"""The voxel size of a TIFF, wherever it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from autounet.data.io import FileError, read_image, write_label
from autounet.data.io.base import geometry_difference
from autounet.geometry import Geometry

STACK = np.zeros((3, 4, 5), np.uint8)


def read(path: Path, array: np.ndarray = STACK, **options: Any) -> Geometry:
    tifffile.imwrite(path, array, photometric="minisblack", **options)
    return read_image([path]).geometry


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_imagej(unit: str, tmp_path: Path) -> None:
    metadata = {"spacing": 2.0, "unit": unit, "axes": "ZYX"}
    # 4 pixels a micrometre along x, 2 along y.
    geometry = read(tmp_path / "a.tif", imagej=True, resolution=(4, 2), metadata=metadata)
    np.testing.assert_allclose(geometry.spacing_mm, (2e-3, 0.5e-3, 0.25e-3))


def test_imagej_leaves_out_a_spacing_of_one(tmp_path: Path) -> None:
    geometry = read(tmp_path / "a.tif", imagej=True, resolution=(2, 2), metadata={"unit": "mm", "axes": "ZYX"})
    assert geometry.spacing_mm == (1.0, 0.5, 0.5)


def test_imagej_in_pixels_tells_nothing(tmp_path: Path) -> None:
    metadata = {"spacing": 2.0, "unit": "pixel", "axes": "ZYX"}
    geometry = read(tmp_path / "a.tif", imagej=True, resolution=(4, 2), metadata=metadata)
    assert (geometry.spacing_mm, geometry.tells_spacing) == ((1.0, 1.0, 1.0), False)


def test_resolution_in_centimetres_and_inches(tmp_path: Path) -> None:
    geometry = read(tmp_path / "a.tif", STACK[0], resolution=(100, 50), resolutionunit="CENTIMETER")
    np.testing.assert_allclose(geometry.spacing_mm, (1, 0.2, 0.1))
    assert not read(tmp_path / "b.tif", STACK[0], resolution=(72, 72), resolutionunit="INCH").tells_spacing


def test_ome_with_units(tmp_path: Path) -> None:
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 250,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.5,  # micrometres where no unit is told
        "PhysicalSizeZ": 0.002,
        "PhysicalSizeZUnit": "mm",
    }
    geometry = read(tmp_path / "a.ome.tif", metadata=metadata)
    np.testing.assert_allclose(geometry.spacing_mm, (2e-3, 0.5e-3, 0.25e-3))
    # The metadata counts, not the name.
    (tmp_path / "a.ome.tif").rename(tmp_path / "b.tif")
    assert read_image([tmp_path / "b.tif"]).geometry == geometry


def test_ome_stack_without_z_is_told(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 1}
    with pytest.raises(FileError, match=r"no PhysicalSizeZ for a stack\. .*case\.json"):
        read(tmp_path / "case_0000.ome.tif", metadata=metadata)
    assert read(tmp_path / "flat.ome.tif", STACK[0], metadata=metadata | {"axes": "YX"}).spacing_mm == (1, 1e-3, 1e-3)


def test_ome_without_sizes_tells_nothing(tmp_path: Path) -> None:
    assert not read(tmp_path / "a.ome.tif", metadata={"axes": "ZYX"}).tells_spacing


def test_ome_channels(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (2, 3, 4, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", array, photometric="minisblack", metadata={"axes": "CZYX"})
    np.testing.assert_array_equal(read_image([tmp_path / "a.ome.tif"]).array, array)


def test_json_overrules_tags(tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text('{"spacing": [3, 2, 1]}')
    geometry = read(tmp_path / "case_0000.ome.tif", metadata={"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 1})
    assert geometry == Geometry.from_spacing((3, 2, 1))


def test_ome_labels_keep_their_size_inside(tmp_path: Path) -> None:
    geometry = Geometry.from_spacing((2e-3, 0.5e-3, 1 / 3000))
    write_label(tmp_path / "a.ome.tif", STACK, geometry)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]
    np.testing.assert_allclose(read_image([tmp_path / "a.ome.tif"]).geometry.spacing_mm, geometry.spacing_mm, rtol=1e-6)


def test_a_label_that_tells_no_size_fits_to_any_image(tmp_path: Path) -> None:
    image = Geometry.from_spacing((2e-3, 0.5e-3, 0.5e-3))
    label = read(tmp_path / "a.tif")
    assert geometry_difference(image, label, STACK.shape) is None
    assert geometry_difference(image, Geometry.from_spacing((1.0, 1.0, 1.0)), STACK.shape) is not None
