"""JPEG, and colour files with more channels than the dataset declares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from autounet.data.io import FileError, read_image, read_label

RNG = np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray) -> Path:
    PIL.Image.fromarray(pixels).save(path)
    return path


def rgba(alpha: int) -> np.ndarray:
    pixels = RNG.integers(0, 255, (5, 6, 4), dtype=np.uint8)
    pixels[..., 3] = alpha
    return pixels


def test_constant_alpha_is_left_out_where_three_channels_are_declared(tmp_path: Path) -> None:
    pixels = rgba(255)
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image([path], 3).array[:, 0], np.moveaxis(pixels[..., :3], -1, 0))
    assert read_image([path], 4).array.shape[0] == read_image([path]).array.shape[0] == 4


def test_alpha_that_varies_is_not_dropped(tmp_path: Path) -> None:
    pixels = rgba(255)
    pixels[0, 0, 3] = 7
    with pytest.raises(FileError, match=r"4 channels for 3 declared, and the last \(alpha\) .* 7 to 255"):
        read_image([save(tmp_path / "a.png", pixels)], 3)


def test_grey_stored_as_colours_is_one_channel(tmp_path: Path) -> None:
    grey = RNG.integers(0, 255, (5, 6), dtype=np.uint8)
    for name, channels in (("rgb.png", [grey] * 3), ("rgba.png", [*[grey] * 3, np.full_like(grey, 255)])):
        image = read_image([save(tmp_path / name, np.stack(channels, axis=-1))], 1)
        np.testing.assert_array_equal(image.array, grey[None, None])
    coloured = np.stack([grey, grey, grey + 1], axis=-1)
    assert read_image([save(tmp_path / "colour.png", coloured)], 1).array.shape[0] == 3


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
def test_jpeg_is_read(shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = np.full(shape, 90, np.uint8)  # an even image survives the compression
    for name in ("a.jpg", "a.jpeg", "a.JPG"):
        array = read_image([save(tmp_path / name, pixels)]).array
        assert array.shape == (shape[2] if len(shape) == 3 else 1, 1, 16, 24)
        np.testing.assert_array_equal(array, 90)


def test_photographs_are_upright(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(np.zeros((16, 24), np.uint8))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image([tmp_path / "a.jpg"]).shape == (1, 24, 16)


def test_print_colours_become_rgb(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (24, 16)).save(tmp_path / "a.jpg")
    assert read_image([tmp_path / "a.jpg"]).array.shape == (3, 1, 16, 24)


def test_jpeg_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot be JPEG.*as \.png"):
        read_label(save(tmp_path / "a.jpg", np.zeros((16, 24), np.uint8)))
