"""Where the body is."""

from __future__ import annotations

import numpy as np

from autounet.geometry import Box, nonzero_box
from autounet.preprocessing.crop import mark_outside


def test_the_box_spans_the_voxels_of_all_channels_negative_ones_too() -> None:
    image = np.zeros((2, 5, 6, 7))
    image[0, 1, 2, 3] = -4
    image[1, 3, 2, 5] = 1
    assert nonzero_box(image) == Box(start=(1, 2, 3), stop=(4, 3, 6))


def test_an_empty_image_is_not_cropped() -> None:
    assert nonzero_box(np.zeros((1, 2, 3, 4))) == Box.whole((2, 3, 4))


def test_background_outside_the_body_is_marked_but_holes_and_labels_are_not() -> None:
    image = np.zeros((1, 3, 5, 5))
    image[0, :, 1:4, 1:4] = 7
    image[0, 1, 2, 2] = 0  # a hole inside
    label = np.zeros((3, 5, 5), dtype=np.int16)
    label[0, 0, 0] = 2  # drawn outside the body
    label[1, 1, 1] = 1
    marked = mark_outside(image, label)
    expected = np.full((3, 5, 5), -1)
    expected[:, 1:4, 1:4] = 0
    expected[0, 0, 0], expected[1, 1, 1] = 2, 1
    np.testing.assert_array_equal(marked, expected)
    assert marked.dtype == np.int16
    assert label.min() == 0
