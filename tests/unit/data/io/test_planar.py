"""PNG, BMP and TIFF: colours, palettes, bit depths, stacks and the voxel size beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from autounet.data.io import FileError, read_image, read_label, write_label
from autounet.geometry import Geometry

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("num_channels", [3, 4])
def test_colours_are_channels(num_channels: int, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (5, 6, num_channels), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    for name in ("a.png", "a.tif"):
        image = read_image([tmp_path / name])
        np.testing.assert_array_equal(image.array, np.moveaxis(pixels, -1, 0)[:, None])
        assert image.geometry.spacing_mm == (1.0, 1.0, 1.0)
        assert image.geometry.num_spatial_dims == 2


def test_grey_of_16_bits(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65535, (5, 6), dtype=np.uint16)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image([tmp_path / "a.png"]).array[0, 0], pixels)


def test_palette_gives_colours_to_images_and_indices_to_labels(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="L").convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png")[0][0], [[0, 1], [2, 1]])
    np.testing.assert_array_equal(read_image([tmp_path / "a.png"]).array[0, 0], [[0, 255], [0, 255]])


def test_one_bit_labels_are_zero_and_one(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png")[0], [[[1, 0]]])


def test_colour_labels_are_refused(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(FileError, match="one channel, this has 3"):
        read_label(tmp_path / "a.png")


def test_huge_images_raise_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    PIL.Image.fromarray(np.zeros((50, 60), np.uint8)).save(tmp_path / "a.png")
    assert read_image([tmp_path / "a.png"]).array.shape == (1, 1, 50, 60)
    assert PIL.Image.MAX_IMAGE_PIXELS == 10


def test_stack_with_spacing_beside_it(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (5, 6, 7), dtype=np.uint8)
    for name in ("case_0000.tif", "case.tif"):
        tifffile.imwrite(tmp_path / name, stack, photometric="minisblack")
        assert read_image([tmp_path / name]).geometry.spacing_mm == (1.0, 1.0, 1.0)
    (tmp_path / "case.json").write_text('{"spacing": [3, 0.5, 0.5]}')
    for name in ("case_0000.tif", "case.tif"):
        image = read_image([tmp_path / name])
        np.testing.assert_array_equal(image.array[0], stack)
        assert image.geometry == Geometry.from_spacing((3.0, 0.5, 0.5))
    write_label(tmp_path / "out" / "case.tif", stack, image.geometry)
    assert json.loads((tmp_path / "out" / "case.json").read_text()) == {"spacing": [3.0, 0.5, 0.5]}
    assert tifffile.imread(tmp_path / "out" / "case.tif").shape == (5, 6, 7)


@pytest.mark.parametrize("text", ["[1, 2, 3]", '{"spacing": [1, 2]}', '{"spacing": 1}', "{"])
def test_bad_spacing_file_is_named(text: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "case.tif", np.zeros((5, 6), np.uint8))
    (tmp_path / "case.json").write_text(text)
    with pytest.raises(FileError, match=r"case\.json"):
        read_image([tmp_path / "case.tif"])


def test_channels_of_a_stack(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (5, 2, 6, 7), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read_image([tmp_path / "a.tif"]).array, array.swapaxes(0, 1))


def test_pages_of_other_writers_are_a_stack(tmp_path: Path) -> None:
    pages = [PIL.Image.fromarray(np.full((5, 6), value, np.uint16)) for value in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    image = read_image([tmp_path / "a.tif"])
    assert image.array[0, :, 0, 0].tolist() == [0, 1, 2]
    assert image.geometry.num_spatial_dims == 3


def test_too_many_axes_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 5, 6), np.uint8), photometric="minisblack")
    with pytest.raises(FileError, match="axes"):
        read_image([tmp_path / "a.tif"])
