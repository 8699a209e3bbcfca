"""Objects out of label maps: told apart, numbered, measured, counted, and written."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from autounet.data.io import read_label, write_label
from autounet.errors import DataError, RequestError
from autounet.geometry import Array, Geometry
from autounet.inference.instance_files import separate_folder
from autounet.inference.instances import InstanceOptions, ObjectClass, object_classes, separate
from autounet.labels import LabelClass, LabelSchema

PLAIN = Geometry.from_spacing((1, 1, 1), 2)
NUCLEUS = ObjectClass("nucleus", (1,), (2,))
CELL = ObjectClass("cell", (1,))


def schema(**values: int | tuple[int, ...]) -> LabelSchema:
    return LabelSchema(
        classes=tuple(
            LabelClass(name=name, values=value if isinstance(value, tuple) else (value,))
            for name, value in values.items()
        )
    )


def discs(centres: Sequence[tuple[int, int]], radius: float, shape: tuple[int, int] = (40, 60)) -> Array:
    """`(1, Y, X)`, 1 inside any of the discs."""
    y, x = np.indices(shape)
    inside = [(y - cy) ** 2 + (x - cx) ** 2 <= radius**2 for cy, cx in centres]
    return np.asarray(np.any(inside, axis=0)[None], dtype=np.uint8)


def test_objects_that_touch_are_kept_apart_by_their_borders() -> None:
    label = np.array(
        [
            [0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 2, 2, 2, 2, 2, 2, 0, 0],
            [0, 2, 1, 2, 2, 1, 2, 0, 2],
            [0, 2, 2, 2, 2, 2, 2, 0, 2],
            [0, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
    )[None]
    found = separate(label, PLAIN, [NUCLEUS])
    assert found.array.dtype == np.uint16
    # The third is so small that all of it is border.
    expected = [[0, 1, 1, 1, 2, 2, 2, 0, 3]] * 2
    assert found.array[0, 2:4].tolist() == expected
    assert [(entry.num_voxels, entry.touches_edge) for entry in found.objects] == [(9, False), (9, False), (2, True)]


def test_size_and_centre_are_those_counted_by_hand() -> None:
    label = np.zeros((5, 6, 7), np.uint8)
    label[1:3, 2:4, 3:6] = 1
    (found,) = separate(label, Geometry.from_spacing((2, 0.5, 0.5)), [CELL]).objects
    assert (found.num_voxels, found.size, found.centroid) == (12, 6.0, (1.5, 2.5, 4.0))
    flat = separate(label[1:2], Geometry.from_spacing((1, 0.5, 0.5), 2), [CELL]).objects[0]
    assert flat.size == 6 * 0.25
    unknown = Geometry.from_spacing((1, 1, 1), 2, tells_spacing=False)
    assert separate(label[1:2], unknown, [CELL]).objects[0].size is None


@pytest.mark.parametrize("radius", [6.0, 9.0])
def test_two_discs_that_overlap_a_little_are_cut_and_one_long_object_is_not(radius: float) -> None:
    apart = round(1.7 * radius)
    two = discs([(20, 20), (20, 20 + apart)], radius)
    found = separate(two, PLAIN, [CELL])
    assert len(found.objects) == 2
    sizes = [entry.num_voxels for entry in found.objects]
    assert abs(sizes[0] - sizes[1]) <= 0.1 * max(sizes)
    assert len(separate(two, PLAIN, [CELL], InstanceOptions(split=False)).objects) == 1
    capsule = discs([(20, x) for x in range(15, 45)], radius)
    assert len(separate(capsule, PLAIN, [CELL]).objects) == 1


def test_where_slices_are_thick_the_cut_follows_millimetres() -> None:
    z, y, x = np.indices((6, 20, 34))
    centres = ((10, 10), (10, 23))
    balls = [((z - 2.5) * 3) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= 49 for cy, cx in centres]
    found = separate(np.any(balls, axis=0), Geometry.from_spacing((3, 1, 1)), [CELL])
    assert len(found.objects) == 2
    assert [round(entry.centroid[2]) for entry in found.objects] == [10, 23]


def test_every_voxel_of_a_class_belongs_to_one_object_and_numbers_have_no_gaps() -> None:
    generator = np.random.default_rng(0)
    label = (generator.random((1, 60, 60)) > 0.45).astype(np.uint8) * generator.integers(1, 4, (1, 60, 60))
    classes = [NUCLEUS, ObjectClass("dust", (3,))]
    found = separate(label, PLAIN, classes)
    np.testing.assert_array_equal(found.array > 0, label > 0)
    assert [entry.number for entry in found.objects] == list(range(1, found.array.max() + 1))
    assert sum(entry.num_voxels for entry in found.objects) == np.count_nonzero(label)
    large = separate(label, PLAIN, classes, InstanceOptions(min_voxels=5))
    assert [entry.num_voxels for entry in large.objects] == [
        entry.num_voxels for entry in found.objects if entry.num_voxels >= 5
    ]


def test_more_objects_than_16_bits_hold_come_in_32(tmp_path: Path) -> None:
    label = np.zeros((1, 520, 520), np.uint8)
    label[:, ::2, ::2] = 1
    found = separate(label, PLAIN, [CELL], InstanceOptions(split=False))
    assert found.array.dtype == np.uint32
    assert len(found.objects) == 260 * 260 > 65_535
    write_label(tmp_path / "a.tif", found.array, PLAIN)
    np.testing.assert_array_equal(read_label(tmp_path / "a.tif")[0], found.array)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"nucleus": 1, "nucleus_border": 2}, [("nucleus", (1,), (2,))]),
        ({"cellBoundary": 2, "cell": 1, "vessel": 3}, [("cell", (1,), (2,)), ("vessel", (3,), ())]),
        ({"border": 2, "cell": 1}, [("cell", (1,), (2,))]),
        ({"membrane": 1}, [("membrane", (1,), ())]),
    ],
)
def test_border_classes_are_known_by_their_names(
    values: dict[str, int], expected: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
) -> None:
    assert list(object_classes(schema(**values))) == [ObjectClass(*entry) for entry in expected]


def test_classes_that_overlap_or_are_unknown_are_refused() -> None:
    regions = schema(whole=(1, 2), core=(2,))
    with pytest.raises(RequestError, match="--class"):
        object_classes(regions)
    assert object_classes(regions, ["core"]) == (ObjectClass("core", (2,)),)
    with pytest.raises(RequestError, match="Did you mean 'core'"):
        object_classes(regions, ["cor"])


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    description = {"channel_names": {"0": "light"}, "labels": {"background": 0, "cell": 1}, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(description))
    Pillow.fromarray(discs([(20, 12), (20, 40)], 6)[0]).save(folder / "two.png")
    Pillow.fromarray(np.zeros((40, 60), np.uint8)).save(folder / "none.png")
    return folder


def test_a_folder_gets_maps_and_tables(masks: Path, tmp_path: Path) -> None:
    output = tmp_path / "objects"
    (masks / "two_probabilities.png").write_bytes(b"not a mask")
    separate_folder(masks, output)
    with Pillow.open(output / "two.png") as image:
        assert image.mode.startswith("I;16")
        assert np.unique(np.asarray(image)).tolist() == [0, 1, 2]
    with (output / "counts.csv").open() as file:
        assert [(row["image"], row["cell"], row["all"]) for row in csv.DictReader(file)] == [
            ("none", "0", "0"),
            ("two", "2", "2"),
        ]
    with (output / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["object"], row["centroid_y"], row["centroid_x"]) for row in rows] == [
        ("two", "1", "20.00", "12.00"),
        ("two", "2", "20.00", "40.00"),
    ]
    assert {row["size"] for row in rows} == {""}


def test_values_without_a_class_are_told_and_the_others_are_done(masks: Path, tmp_path: Path) -> None:
    Pillow.fromarray(np.full((40, 60), 7, np.uint8)).save(masks / "odd.png")
    with pytest.raises(DataError, match=r"odd\.png: holds the values 7, which") as error:
        separate_folder(masks, tmp_path / "objects")
    assert error.value.exit_code == 2
    assert (tmp_path / "objects" / "two.png").is_file()


def test_folders_that_are_not_as_they_must_be_are_refused_with_the_way_out(masks: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Name another with -o"):
        separate_folder(masks, masks)
    with pytest.raises(RequestError, match="is no folder"):
        separate_folder(tmp_path / "nothing", tmp_path / "objects")
    for path in masks.glob("*.png"):
        path.unlink()
    with pytest.raises(RequestError, match="no label map that ends in"):
        separate_folder(masks, tmp_path / "objects")
    (masks / "dataset.json").unlink()
    with pytest.raises(RequestError, match=r"dataset\.json"):
        separate_folder(masks, tmp_path / "objects")
