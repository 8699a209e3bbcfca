"""The picture of augmented patches: a row each, colours of the classes, brightness comparable within a row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageColor

from autounet.colours import class_colour
from autounet.labels import LabelClass, LabelSchema
from autounet.report.preview import write_preview
from autounet.training.preview import PreviewedPatch

LABELS = LabelSchema(classes=(LabelClass(name="liver", values=(1,)), LabelClass(name="vessel $1$", values=(2,))))


def patch(shape: tuple[int, ...], *, num_channels: int = 1, brighter: float = 0.0, changes: int = 1) -> PreviewedPatch:
    image = np.random.default_rng(0).random((num_channels, *shape)).astype(np.float32)
    label = np.zeros(shape, dtype=np.int16)
    label[..., 2:9, 3:9] = 1
    label[..., 12:16, 5:15] = 2
    return PreviewedPatch("case_1", image, label, image + brighter, label[..., ::-1].copy(), ("gamma 1.20",) * changes)


def picture(path: Path, patches: list[PreviewedPatch], spacing: tuple[float, ...], **options: Any) -> npt.NDArray[Any]:
    write_preview(path, patches, LABELS, spacing, "Dataset001_A  2d  augmentation light", **options)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(("shape", "spacing"), [((20, 18), (1.0, 1.0)), ((5, 20, 18), (3.0, 1.0, 1.0))])
def test_rows_and_colours(tmp_path: Path, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    one, three = (picture(tmp_path / "a.png", [patch(shape)] * count, spacing) for count in (1, 3))
    assert one.shape[1] == three.shape[1] == 1200
    assert three.shape[0] > 2 * one.shape[0] - 200
    for index in range(2):
        colour = ImageColor.getrgb(class_colour(index))
        assert (one == colour).all(axis=-1).sum() > 200
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_the_middle_slice_is_shown(tmp_path: Path) -> None:
    volume = patch((5, 20, 18))
    elsewhere = volume.image.copy()
    elsewhere[:, [0, 1, 3, 4]] = 7
    other = PreviewedPatch("case_1", volume.image_before, volume.label_before, elsewhere, volume.label, volume.changes)
    first, second = (picture(tmp_path / "a.png", [each], (1.0, 1.0, 1.0)) for each in (volume, other))
    assert np.array_equal(first, second)


def test_brighter_after_is_brighter_in_the_picture(tmp_path: Path) -> None:
    found = picture(tmp_path / "a.png", [patch((20, 18), brighter=0.4)], (1.0, 1.0))
    left, right = found[100:300, 150:450].mean(), found[100:300, 750:1050].mean()
    assert right > left + 20


def test_colours_are_shown_as_colours(tmp_path: Path) -> None:
    red = patch((20, 18), num_channels=3)
    red.image_before[:] = np.array([0.8, 0.1, 0.1])[:, None, None]
    found = picture(tmp_path / "a.png", [red], (1.0, 1.0), is_rgb=True)
    assert (np.abs(found - [204, 26, 26]) <= 2).all(axis=-1).sum() > 1000


def test_many_changes_and_a_flat_image_are_no_obstacle(tmp_path: Path) -> None:
    flat = patch((20, 18), changes=30)
    flat.image_before[:] = 1
    assert picture(tmp_path / "a.png", [flat, patch((20, 18), changes=0)], (1.0, 2.0)).size


def test_what_a_first_stage_found_is_a_fill_and_the_legend_says_so(tmp_path: Path) -> None:
    plain = patch((20, 18))
    found = replace(plain, previous_before=np.zeros((20, 18), dtype=np.int16), previous=plain.label)
    without = picture(tmp_path / "a.png", [plain], (1.0, 1.0))
    told = picture(tmp_path / "a.png", [found], (1.0, 1.0), first_stage="3d_lowres")
    assert told.shape[0] > without.shape[0]  # a line more below
    tall = without.shape[0] - 80
    left, right = slice(None, 590), slice(610, None)
    assert np.array_equal(without[70:tall, left], told[70:tall, left])  # nothing found before
    assert not np.array_equal(without[70:tall, right], told[70:tall, right])
