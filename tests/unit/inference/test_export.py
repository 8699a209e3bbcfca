"""From logits to a label map in the image's frame, against SciPy on the whole case at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from autounet.geometry import Box, Shape3, Triple
from autounet.inference import export
from autounet.inference.export import CaseLogits, export_case, export_label
from autounet.inference.raw_frame import RawFrame
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
# What was not annotated has a value, but no output: nothing may be predicted as it.
IGNORE = FIVE.model_copy(update={"ignore_value": 9})
REGIONS_IGNORE = REGIONS.model_copy(update={"ignore_value": 3})


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


def isotropic(shape: Shape3, new_shape: Shape3) -> CaseProperties:
    """A whole case that was resampled from `new_shape` to `shape`."""
    return properties(shape, Box.whole(new_shape), new_shape, target=(1.1, 1.2, 1.3))


@pytest.mark.parametrize(
    "labels",
    [FIVE, REGIONS, IGNORE, REGIONS_IGNORE],
    ids=["five classes", "regions", "ignore label", "regions and ignore label"],
)
@pytest.mark.parametrize(
    ("shape", "new_shape"),
    [((7, 9, 5), (13, 11, 17)), ((13, 11, 17), (7, 9, 5)), ((6, 8, 4), (6, 15, 9)), ((1, 9, 9), (1, 20, 13))],
)
@pytest.mark.parametrize("block", [(1, 1, 2), (3, 5, 4), (100, 100, 100)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_block_by_block_is_all_at_once(
    record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
    labels: LabelSchema,
    shape: Shape3,
    new_shape: Shape3,
    block: Shape3,
    dtype: type,
) -> None:
    logits: Array = random_logits(labels.num_outputs, shape).astype(dtype)
    plan, case = record(labels=labels).plan, isotropic(shape, new_shape)
    at_once = RawFrame.of(logits, case, plan)
    resampled = at_once.interpolated(at_once.samples(Box.whole(new_shape)), Box.whole(new_shape))
    monkeypatch.setattr(export, "_BLOCK", block)
    found = export_label(logits, case, plan)
    assert found.dtype == np.uint8
    assert np.array_equal(found, labels.segmentation(resampled))  # to the last voxel
    matrices = matrices_for(shape, new_shape, order=LINEAR, separated=None)
    np.testing.assert_allclose(resampled, apply_matrices(logits, matrices), atol=1e-5)
    assert_same_but_for_draws(found, scipys(logits.astype(np.float32), new_shape), labels)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("block", [(1, 3, 2), (100, 100, 100)])
def test_blocks_of_an_anisotropic_case(
    record: MakeRecord, monkeypatch: pytest.MonkeyPatch, axis: int, block: Shape3
) -> None:
    shape, new_shape = (6, 7, 8), (11, 13, 9)
    logits = random_logits(5, shape)
    target = tuple(5.0 if other == axis else 1.0 for other in range(3))
    case = properties(shape, Box.whole(new_shape), new_shape, target=(target[0], target[1], target[2]))
    monkeypatch.setattr(export, "_BLOCK", block)
    found = export_label(logits, case, record(labels=FIVE).plan)
    assert_same_but_for_draws(found, scipys(logits, new_shape, separated=axis), FIVE)


def smooth_logits(num_outputs: int, shape: Shape3) -> npt.NDArray[np.float32]:
    """Each class far above the others somewhere, as a network's are."""
    return np.stack([ndimage.gaussian_filter(entry, 3) * 200 for entry in random_logits(num_outputs, shape)])


def test_classes_that_cannot_win_are_left_out_and_change_nothing(
    record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, new_shape = (24, 24, 24), (40, 41, 42)
    logits = smooth_logits(5, shape)
    plan, case = record(labels=FIVE).plan, isotropic(shape, new_shape)
    frame, whole = RawFrame.of(logits, case, plan), Box.whole(new_shape)
    expected = FIVE.segmentation(frame.interpolated(frame.samples(whole), whole))
    interpolated = 0
    original = RawFrame.interpolated

    def counted(self: RawFrame, samples: Array, block: Box) -> Array:
        nonlocal interpolated
        interpolated += len(samples) * int(np.prod(block.shape))
        return original(self, samples, block)

    monkeypatch.setattr(RawFrame, "interpolated", counted)
    monkeypatch.setattr(export, "_BLOCK", (4, 4, 4))
    assert np.array_equal(export_label(logits, case, plan), expected)
    assert interpolated < 0.7 * expected.size * 5


class Collected:
    """Keeps the slabs."""

    scale: int = 65535
    dtype: npt.DTypeLike = np.uint16

    def __init__(self) -> None:
        self.slabs: list[Array] = []
        self.starts: list[int] = []

    def write(self, start: int, slab: Array) -> None:
        self.starts.append(start)
        self.slabs.append(slab)


@pytest.mark.parametrize("labels", [FIVE, REGIONS, IGNORE], ids=["five classes", "regions", "ignore label"])
@pytest.mark.parametrize("num_slices", [1, 2, 100])
def test_probabilities_come_in_slabs_of_the_raw_image(record: MakeRecord, labels: LabelSchema, num_slices: int) -> None:
    plan = record(labels=labels, transpose=(2, 0, 1)).plan
    logits = random_logits(labels.num_outputs, (3, 4, 3))
    case = properties((3, 4, 3), Box(start=(1, 2, 0), stop=(4, 6, 3)), (5, 6, 4))
    sink = Collected()
    slab_bytes = num_slices * labels.num_outputs * 4 * 5 * 2
    label = export_case([CaseLogits(logits, case, plan)], sink, slab_bytes)
    assert np.array_equal(label, export_label(logits, case, plan))
    stored = np.concatenate(sink.slabs, axis=1) / 65535
    assert stored.shape == (labels.num_outputs, 6, 4, 5)
    assert sink.starts == list(range(0, 6, num_slices))
    # Raw (z, y, x) is the plan's (x, z, y), of which a box was kept.
    inside = stored[:, 2:6, 0:3, 1:4].transpose(0, 3, 1, 2)
    exp = np.exp(logits.astype(float))
    expected = exp / (1 + exp) if labels.has_regions else exp / exp.sum(axis=0)
    np.testing.assert_allclose(inside, expected, atol=1e-4)
    outside = np.ones((6, 4, 5), dtype=bool)
    outside[2:6, 0:3, 1:4] = False
    assert (stored[0][outside] == (0 if labels.has_regions else 1)).all()
    assert not stored[1:, outside].any()


def test_several_models_are_the_mean_of_their_probabilities(record: MakeRecord) -> None:
    plan = record(labels=FIVE).plan
    whole = Box.whole((4, 5, 6))
    logits = [random_logits(5, (4, 5, 6)) * factor for factor in (1.0, -3.0)]
    models = [CaseLogits(entry.astype(np.float32), properties((4, 5, 6), whole, (4, 5, 6)), plan) for entry in logits]
    exps = [np.exp(entry.astype(float)) for entry in logits]
    mean = sum(exp / exp.sum(axis=0) for exp in exps)
    assert np.array_equal(export_case(models), np.argmax(mean, axis=0))


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
