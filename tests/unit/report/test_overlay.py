"""Overlay pictures: size, colours, orientation, and no surprises in odd cases."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageColor

from autounet.colours import PALETTE, class_colour
from autounet.geometry import Geometry
from autounet.labels import LabelClass, LabelSchema
from autounet.report.overlay import WIDTH_PIXELS, write_overlay

Array = npt.NDArray[Any]

LABELS = LabelSchema(classes=(LabelClass(name="liver", values=(1,)), LabelClass(name="vessel $1$", values=(2,))))


def case(shape: tuple[int, int, int], num_channels: int = 1) -> tuple[Array, Array, Array]:
    """Image, reference and prediction with a box of each class; the prediction is one voxel off."""
    generator = np.random.default_rng(0)
    image = generator.normal(100, 10, (num_channels, *shape)).astype(np.float32)
    reference = np.zeros(shape, dtype=np.uint8)
    reference[..., 3:9, 3:9] = 1
    reference[..., 12:16, 5:15] = 2
    return image, reference, np.roll(reference, 1, axis=2)


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def num_pixels_of(picture: npt.NDArray[np.uint8], colour: str) -> int:
    return int((picture == ImageColor.getrgb(colour)).all(axis=-1).sum())


@pytest.mark.parametrize("shape", [(20, 20, 20), (6, 24, 40), (1, 20, 30)])
@pytest.mark.parametrize("with_reference", [True, False])
def test_picture_of_the_stated_width_with_the_colours_of_the_classes(
    tmp_path: Path, shape: tuple[int, int, int], with_reference: bool
) -> None:
    image, reference, prediction = case(shape)
    path = tmp_path / "new" / "case.png"
    write_overlay(path, image, reference if with_reference else None, prediction, LABELS, (2.0, 1.0, 1.0), "case $1$")
    picture = pixels(path)
    assert picture.shape[1] == WIDTH_PIXELS
    assert 300 < picture.shape[0] < 1200
    for index in range(2):
        assert num_pixels_of(picture, class_colour(index)) > 200  # the patch of the legend alone has more
    assert [entry.name for entry in path.parent.iterdir()] == ["case.png"]


def test_height_follows_the_spacing(tmp_path: Path) -> None:
    image, reference, prediction = case((20, 20, 20))
    heights = []
    for z_mm in (1.0, 1.5):
        write_overlay(tmp_path / "case.png", image, reference, prediction, LABELS, (z_mm, 1.0, 1.0), "case")
        heights.append(pixels(tmp_path / "case.png").shape[0])
    edge = (WIDTH_PIXELS - 60) / 3  # three cubes side by side, gaps of 15 pixels; then half as tall again
    assert heights[1] - heights[0] == pytest.approx(edge / 2, abs=3)


def test_colour_images_stay_in_colour(tmp_path: Path) -> None:
    _, reference, prediction = case((1, 20, 20))
    image = np.zeros((3, 1, 20, 20), dtype=np.float32)
    image[0], image[2] = 250, 30
    write_overlay(tmp_path / "rgb.png", image, reference, prediction, LABELS, (1.0, 1.0, 1.0), "rgb")
    assert num_pixels_of(pixels(tmp_path / "rgb.png"), "#FA001E") > 100_000


def test_channels_that_are_no_colours_are_grey(tmp_path: Path) -> None:
    image, _, prediction = case((1, 20, 20), num_channels=3)
    write_overlay(tmp_path / "mr.png", image - 100, None, prediction, LABELS, (1.0, 1.0, 1.0), "mr")
    left_panel = pixels(tmp_path / "mr.png")[100:600, 100:600].astype(int)
    assert np.ptp(left_panel, axis=-1).max() == 0


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_empty_maps_and_flat_images(tmp_path: Path, fill: float) -> None:
    empty = np.zeros((8, 9, 10), dtype=np.uint8)
    image = np.full((1, 8, 9, 10), fill, dtype=np.float32)
    write_overlay(tmp_path / "case.png", image, empty, empty, LABELS, (1.0, 1.0, 1.0), "nothing")
    full = np.ones_like(empty)
    write_overlay(tmp_path / "case.png", image, full, full, LABELS, (1.0, 1.0, 1.0), "everything")


def test_slices_go_through_the_reference(tmp_path: Path) -> None:
    reference = np.zeros((20, 20, 20), dtype=np.uint8)
    reference[4, 5, 6] = 1
    image = np.zeros((1, 20, 20, 20), dtype=np.float32)
    image[0, 0, 0, 0] = -1.0
    prediction = np.zeros_like(reference)
    write_overlay(tmp_path / "case.png", image, reference, prediction, LABELS, (1.0, 1.0, 1.0), "one voxel")
    # The outline of one voxel in each panel, beside the patch of the legend.
    picture = pixels(tmp_path / "case.png")
    thirds = [picture[:-80, i * 500 : (i + 1) * 500] for i in range(3)]
    assert all(num_pixels_of(third, class_colour(0)) > 10 for third in thirds)


def test_volumes_are_turned_upright(tmp_path: Path) -> None:
    """The same patient stored in two orientations gives the same picture."""
    image, reference, prediction = case((20, 20, 20))
    left_back_head = Geometry(spacing_mm=(1, 1, 1), affine=((-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)))
    pictures = []
    for geometry, flip in ((left_back_head, 1), (Geometry.from_spacing((1.0, 1.0, 1.0)), -1)):
        stored = [array[..., ::flip, ::flip] for array in (image, reference, prediction)]
        path = tmp_path / "case.png"
        write_overlay(path, stored[0], stored[1], stored[2], LABELS, (1.0, 1.0, 1.0), "case", geometry=geometry)
        pictures.append(pixels(path)[:500, :480])  # the axial slice; captions tell the index as stored
    np.testing.assert_array_equal(pictures[0], pictures[1])


def names(number: int) -> Sequence[LabelClass]:
    return [LabelClass(name=f"a rather long name of an organ, number {i}", values=(i,)) for i in range(1, number + 1)]


def test_many_long_names_get_more_rows(tmp_path: Path) -> None:
    image, reference, prediction = case((20, 20, 20))
    heights = []
    for number in (2, 40):
        labels = LabelSchema(classes=tuple(names(number)))
        write_overlay(tmp_path / "case.png", image, reference, prediction, labels, (1.0, 1.0, 1.0), "long " * 60)
        heights.append(pixels(tmp_path / "case.png").shape[0])
    assert heights[1] > heights[0] + 300


def test_palette_is_distinct() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    assert class_colour(len(PALETTE)) == class_colour(0)


def test_a_cut_off_picture_is_not_left_behind(tmp_path: Path) -> None:
    image, reference, prediction = case((20, 20, 20))
    with pytest.raises(IndexError):
        write_overlay(tmp_path / "case.png", image[:0], reference, prediction, LABELS, (1.0, 1.0, 1.0), "case")
    assert not list(tmp_path.iterdir())
