"""A case on its way to the network, and its label map on the way back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autounet.data.io import Image
from autounet.errors import RequestError
from autounet.geometry import Box, Geometry, Shape3, Triple
from autounet.plans import Plan
from autounet.preprocessing.case import CaseProperties, prepare_case, prepare_mask, restore_label

MakePlan = Callable[..., Plan]


def image_of(array: np.ndarray, spacing_mm: Triple = (1.0, 1.0, 1.0)) -> Image:
    return Image(array.astype(np.float32), Geometry.from_spacing(spacing_mm))


def body_in_air(shape: Shape3 = (6, 8, 10), num_channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A body of random intensities with one voxel of air on every side, two at the start of x; labels inside it."""
    generator = np.random.default_rng(0)
    image = np.zeros((num_channels, *shape))
    image[:, 1:-1, 1:-1, 2:-1] = generator.uniform(50, 150, image[:, 1:-1, 1:-1, 2:-1].shape)
    label = np.zeros(shape, dtype=np.uint8)
    label[1:-1, 1:-1, 2:-1] = generator.integers(0, 3, label[1:-1, 1:-1, 2:-1].shape)
    return image, label


def test_a_case_at_the_right_spacing_is_cropped_and_normalised(make_plan: MakePlan) -> None:
    image, label = body_in_air()
    plan = make_plan()
    prepared = prepare_case(image_of(image), label, plan, plan.configuration("3d_fullres"))
    inside = image[:, 1:-1, 1:-1, 2:-1]
    np.testing.assert_allclose(prepared.image, (inside - inside.mean()) / inside.std(), atol=1e-5)
    assert prepared.label is not None
    np.testing.assert_array_equal(prepared.label, label[1:-1, 1:-1, 2:-1])
    assert (prepared.image.dtype.name, prepared.label.dtype.name) == ("float32", "int16")
    assert prepared.properties == CaseProperties(
        spacing_mm=(1, 1, 1),
        target_spacing_mm=(1, 1, 1),
        shape_before_crop=(6, 8, 10),
        crop=Box(start=(1, 1, 2), stop=(5, 7, 9)),
        shape=(4, 6, 7),
    )


def test_axes_are_turned_before_anything_else(make_plan: MakePlan) -> None:
    image, label = body_in_air()
    # Raw slices are thickest along x; the plan puts x first. Its spacing is in its own order.
    plan = make_plan(transpose_forward=(2, 0, 1), spacing_mm=(3.5, 0.5, 2.0))
    raw = image_of(image, (1.0, 2.0, 7.0))
    prepared = prepare_case(raw, label, plan, plan.configuration("3d_fullres"))
    # Crop 7 x 4 x 6 of 7 x 1 x 2 mm becomes 14 x 8 x 6.
    assert prepared.properties.spacing_mm == (7.0, 1.0, 2.0)
    assert prepared.properties.shape_before_crop == (10, 6, 8)
    assert prepared.properties.crop == Box(start=(2, 1, 1), stop=(9, 5, 7))
    assert prepared.properties.shape == (14, 8, 6)
    assert prepared.image.shape == (1, 14, 8, 6)
    assert prepared.label is not None
    assert prepared.label.shape == (14, 8, 6)
    # x is the separated axis: each slice came twice, unmixed.
    np.testing.assert_array_equal(prepared.image[:, ::2], prepared.image[:, 1::2])


def test_in_2d_slices_are_neither_added_nor_dropped(make_plan: MakePlan) -> None:
    image, label = body_in_air()
    plan = make_plan(spacing_mm=(9.0, 0.5, 2.0))
    prepared = prepare_case(image_of(image, (4.0, 1.0, 1.0)), label, plan, plan.configuration("2d"))
    assert prepared.properties.target_spacing_mm == (4.0, 0.5, 2.0)
    assert prepared.image.shape == (1, 4, 12, 4)  # 6 / 0.5 and, half to even, 7 / 2 = 3.5


def test_with_a_mask_the_air_stays_zero_and_is_marked_in_the_label(make_plan: MakePlan) -> None:
    image = np.zeros((2, 3, 5, 5))
    image[:, 1, 1:4, 2] = [[10, 20, 30], [1, 2, 3]]
    image[:, 1, 2, 1:4] = [[40, 20, 50], [4, 2, 5]]
    label = np.zeros((3, 5, 5), dtype=np.uint8)
    label[1, 1, 2] = 1
    plan = make_plan(normalizations=("zscore", "zscore"), use_mask=True)
    prepared = prepare_case(image_of(image), label, plan, plan.configuration("3d_fullres"))
    assert prepared.label is not None
    assert prepared.label.tolist() == [[[-1, 1, -1], [0, 0, 0], [-1, 0, -1]]]
    plus = [10, 40, 20, 50, 30]
    deviation = float(np.std(plus))
    expected = [(value - 30) / deviation for value in plus]
    np.testing.assert_allclose(prepared.image[0, 0][prepared.label[0] >= 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(prepared.image[:, 0, [0, 0, 2, 2], [0, 2, 0, 2]], 0)


def test_without_a_label_the_image_is_the_same(make_plan: MakePlan) -> None:
    image, label = body_in_air(num_channels=2)
    plan = make_plan(normalizations=("ct", "zscore"), use_mask=True, spacing_mm=(0.8, 1.1, 1.3))
    configuration = plan.configuration("3d_fullres")
    # At prediction the body is known from the image alone; here all labels lie inside it.
    with_label = prepare_case(image_of(image), label, plan, configuration)
    without = prepare_case(image_of(image), None, plan, configuration)
    assert without.label is None
    assert without.properties == with_label.properties
    np.testing.assert_array_equal(without.image, with_label.image)


def test_an_image_of_air_alone_is_prepared_whole(make_plan: MakePlan) -> None:
    plan = make_plan(use_mask=True)
    prepared = prepare_case(image_of(np.zeros((1, 2, 3, 4))), None, plan, plan.configuration("3d_fullres"))
    np.testing.assert_array_equal(prepared.image, np.zeros((1, 2, 3, 4)))


def test_another_number_of_channels_is_refused(make_plan: MakePlan) -> None:
    plan = make_plan(normalizations=("ct", "zscore"))
    with pytest.raises(RequestError, match="has 1 channels, but the model was planned for 2: c0, c1"):
        prepare_case(image_of(np.ones((1, 2, 3, 4))), None, plan, plan.configuration("3d_fullres"))


def test_the_raw_arrays_are_left_alone(make_plan: MakePlan) -> None:
    image, label = body_in_air()
    raw, copy, label_copy = image_of(image), image.astype(np.float32), label.copy()
    plan = make_plan(normalizations=("ct",), use_mask=True)
    prepare_case(raw, label, plan, plan.configuration("3d_fullres"))
    np.testing.assert_array_equal(raw.array, copy)
    np.testing.assert_array_equal(label, label_copy)


@settings(deadline=None, max_examples=25)
@given(
    st.permutations([0, 1, 2]),
    st.tuples(*[st.integers(4, 9)] * 3),
    st.sampled_from([(1.0, 1.0, 1.0), (5.0, 1.0, 0.7), (0.4, 0.4, 3.0)]),
)
def test_a_label_map_comes_back_exactly_where_the_spacing_stays(
    make_plan: MakePlan, order: list[int], shape: Shape3, spacing_mm: Triple
) -> None:
    image, label = body_in_air(shape)
    in_plan_order: Triple = (spacing_mm[order[0]], spacing_mm[order[1]], spacing_mm[order[2]])
    plan = make_plan(transpose_forward=tuple(order), spacing_mm=in_plan_order)
    prepared = prepare_case(image_of(image, spacing_mm), label, plan, plan.configuration("3d_fullres"))
    assert prepared.label is not None
    restored = restore_label(prepared.label, prepared.properties, plan)
    np.testing.assert_array_equal(restored, label)
    assert restored.flags.c_contiguous


@pytest.mark.parametrize("grid", ["stored", "ras"])
def test_a_mask_is_put_where_the_label_is(make_plan: MakePlan, grid: str) -> None:
    """Of an image stored head to feet with its axes exchanged, also by a plan that turns images to RAS."""
    image, label = body_in_air()
    plan = make_plan(transpose_forward=(1, 2, 0), spacing_mm=(2.0, 1.0, 1.5)).model_copy(update={"grid": grid})
    affine = ((0, 1.0, 0, 0), (-1.0, 0, 0, 0), (0, 0, -2.0, 0), (0, 0, 0, 1))
    stored = Image(image.astype(np.float32), Geometry(spacing_mm=(2.0, 1.0, 1.0), affine=affine))
    prepared = prepare_case(stored, label, plan, plan.configuration("3d_fullres"))
    found = prepare_mask(label, prepared.properties, plan)
    assert prepared.label is not None
    assert len(np.unique(prepared.label)) == 3
    np.testing.assert_array_equal(found, prepared.label)
    with pytest.raises(RequestError, match=r"the mask has \(6, 8, 9\) voxels.* \(6, 8, 10\)"):
        prepare_mask(label[..., :-1], prepared.properties, plan)
