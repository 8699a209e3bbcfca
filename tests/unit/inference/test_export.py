"""From logits to a label map in the image's frame, against SciPy on the whole case at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from autounet.geometry import Box, Shape3, Triple
from autounet.inference.export import export_label, resampled_segmentation
from autounet.labels import LabelClass, LabelSchema
from autounet.models.folder import ModelRecord
from autounet.preprocessing.case import CaseProperties
from autounet.resample import LINEAR, apply_matrices, matrices_for

Array = npt.NDArray[Any]
MakeRecord = Callable[..., ModelRecord]
FIVE = LabelSchema(classes=tuple(LabelClass(name=f"class {value}", values=(value,)) for value in range(1, 5)))
REGIONS = LabelSchema(
    classes=(LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,))), region_order=(1, 2)
)


def random_logits(num_outputs: int, shape: Shape3) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(num_outputs, *shape)).astype(np.float32)


def scipys(logits: Array, shape: Shape3, separated: int | None = None) -> Array:
    """All classes resampled at once by `ndimage.zoom`; slices of a separated axis are the nearest ones."""
    if separated is not None:
        size, new = logits.shape[separated + 1], shape[separated]
        nearest = np.minimum(((np.arange(new) + 0.5) * size / new).astype(int), size - 1)
        logits = logits.take(nearest, axis=separated + 1)
    zoom = [new / old for new, old in zip(shape, logits.shape[1:], strict=True)]
    channels = [
        ndimage.zoom(channel.astype(float), zoom, order=1, mode="nearest", grid_mode=True) for channel in logits
    ]
    return np.stack(channels)


def assert_same_but_for_draws(found: Array, resampled: Array, labels: LabelSchema) -> None:
    """Equal wherever the decision does not hang on rounding."""
    if labels.has_regions:
        clear = (np.abs(resampled) > 1e-4).all(axis=0)
    else:
        best = np.sort(resampled, axis=0)
        clear = best[-1] - best[-2] > 1e-4
    assert clear.mean() > 0.99
    assert np.array_equal(found[clear], labels.segmentation(resampled)[clear])


def properties(
    shape: Shape3,
    crop: Box,
    before_crop: Shape3,
    spacing: Triple = (1, 1, 1),
    target: Triple = (1, 1, 1),
) -> CaseProperties:
    return CaseProperties(
        spacing_mm=spacing, target_spacing_mm=target, shape_before_crop=before_crop, crop=crop, shape=shape
    )


@pytest.mark.parametrize("labels", [FIVE, REGIONS], ids=["five classes", "regions"])
@pytest.mark.parametrize(
    ("shape", "new_shape"),
    [((7, 9, 5), (13, 11, 17)), ((13, 11, 17), (7, 9, 5)), ((6, 8, 4), (6, 15, 9)), ((1, 9, 9), (1, 20, 13))],
)
@pytest.mark.parametrize("num_slices", [1, 3, 1000])
def test_slab_by_slab_is_all_at_once(labels: LabelSchema, shape: Shape3, new_shape: Shape3, num_slices: int) -> None:
    logits = random_logits(labels.num_outputs, shape)
    matrices = matrices_for(shape, new_shape, order=LINEAR, separated=None)
    slab_bytes = num_slices * labels.num_outputs * new_shape[1] * new_shape[2] * 4
    found = resampled_segmentation(logits, new_shape, matrices, labels, slab_bytes)
    assert found.shape == new_shape
    assert found.dtype == np.uint8
    assert_same_but_for_draws(found, apply_matrices(logits, matrices), labels)
    assert_same_but_for_draws(found, scipys(logits, new_shape), labels)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("num_slices", [1, 4, 1000])
def test_slabs_of_an_anisotropic_case(axis: int, num_slices: int) -> None:
    shape, new_shape = (6, 7, 8), (11, 13, 9)
    logits = random_logits(5, shape)
    matrices = matrices_for(shape, new_shape, order=LINEAR, separated=axis)
    found = resampled_segmentation(logits, new_shape, matrices, FIVE, num_slices * 5 * 13 * 9 * 4)
    assert_same_but_for_draws(found, scipys(logits, new_shape, separated=axis), FIVE)


def test_thick_slices_are_repeated_and_not_mixed(record: MakeRecord) -> None:
    logits = random_logits(5, (4, 6, 6))
    plan = record(labels=FIVE).plan
    case = properties((4, 6, 6), Box.whole((8, 9, 9)), (8, 9, 9), spacing=(2.5, 0.66, 0.66), target=(5, 1, 1))
    found = export_label(logits, case, plan)
    assert_same_but_for_draws(found, scipys(logits, (8, 9, 9), separated=0), FIVE)
    assert np.array_equal(found[::2], found[1::2])


def test_isotropic_cases_are_mixed_in_all_directions(record: MakeRecord) -> None:
    logits = random_logits(5, (4, 6, 6))
    case = properties((4, 6, 6), Box.whole((8, 9, 9)), (8, 9, 9), spacing=(1, 1, 1), target=(2, 1.5, 1.5))
    found = export_label(logits, case, record(labels=FIVE).plan)
    assert_same_but_for_draws(found, scipys(logits, (8, 9, 9)), FIVE)


def test_at_the_same_size_it_is_the_arg_max(record: MakeRecord) -> None:
    logits = random_logits(5, (4, 5, 6))
    case = properties((4, 5, 6), Box.whole((4, 5, 6)), (4, 5, 6))
    found = export_label(logits, case, record(labels=FIVE).plan)
    assert np.array_equal(found, logits.argmax(axis=0))
    assert found.dtype == np.uint8


def test_regions_write_their_values_in_order(record: MakeRecord) -> None:
    # Neither, whole, both, core alone: the core overwrites.
    logits = np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]], dtype=np.float32).reshape(2, 1, 1, 4)
    case = properties((1, 1, 4), Box.whole((1, 1, 4)), (1, 1, 4))
    assert export_label(logits, case, record(labels=REGIONS).plan).ravel().tolist() == [0, 1, 2, 2]


def test_the_crop_is_put_back_and_the_axes_too(record: MakeRecord) -> None:
    # Raw (Z, Y, X) = (6, 4, 5); the plan's axes are (X, Z, Y): shape (5, 6, 4), of which a box is kept.
    plan = record(labels=FIVE, transpose=(2, 0, 1)).plan
    crop = Box(start=(1, 2, 0), stop=(4, 6, 3))
    logits = random_logits(5, (3, 4, 3))
    found = export_label(logits, properties((3, 4, 3), crop, (5, 6, 4)), plan)
    assert found.shape == (6, 4, 5)
    assert found.flags.c_contiguous
    expected = np.zeros((6, 4, 5), dtype=int)
    for x, z, y in np.ndindex(3, 4, 3):
        expected[z + 2, y, x + 1] = logits[:, x, z, y].argmax()
    assert np.array_equal(found, expected)


def test_more_than_255_classes_need_16_bits(record: MakeRecord) -> None:
    labels = LabelSchema(classes=tuple(LabelClass(name=str(value), values=(value,)) for value in range(1, 301)))
    logits = np.zeros((301, 1, 1, 2), dtype=np.float32)
    logits[0, 0, 0, 0] = logits[300, 0, 0, 1] = 1
    case = properties((1, 1, 2), Box.whole((1, 1, 4)), (1, 1, 4))
    found = export_label(logits, case, record(labels=labels).plan)
    assert found.dtype == np.uint16
    assert found.ravel().tolist() == [0, 0, 300, 300]
