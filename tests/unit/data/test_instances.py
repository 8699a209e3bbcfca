"""Objects that touch, by hand."""

from __future__ import annotations

import numpy as np

from autounet.data.instances import touching


def test_voxels_next_to_another_object() -> None:
    instances = np.array([[1, 1, 0, 0, 5], [1, 1, 0, 7, 0], [2, 2, 0, 7, 0], [2, 2, 0, 7, 0]])
    expected = [[0, 0, 0, 0, 1], [1, 1, 0, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert touching(instances).astype(int).tolist() == expected


def test_objects_apart_and_no_objects() -> None:
    assert not touching(np.array([[3, 0, 4], [3, 0, 4]], dtype=np.uint8)).any()
    assert not touching(np.zeros((2, 3, 4), dtype=np.uint16)).any()
