"""Maps from label maps: against distances of all pairs of voxels, and the values of U-Net's paper."""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from autounet.labels import LabelClass, LabelSchema
from autounet.losses.label_maps import GapWeights, SignedDistances, two_nearest

ONE = LabelSchema(classes=(LabelClass(name="a", values=(1,)),), ignore_value=9)
LABELS = LabelSchema(classes=(LabelClass(name="b", values=(2,)), LabelClass(name="a", values=(1,))))
REGIONS = LabelSchema(
    classes=(LabelClass(name="core", values=(2,)), LabelClass(name="whole", values=(1, 2))), region_order=(1, 2)
)
sizes = pytest.mark.parametrize("size", [(9, 12), (5, 6, 7)], ids=["2d", "3d"])
Array = npt.NDArray[np.float64]


def distances_by_pairs(place: npt.NDArray[np.bool_], spacing: tuple[float, ...]) -> Array:
    """Of each voxel to the nearest one in a place."""
    everywhere = np.argwhere(np.ones_like(place)) * np.array(spacing)
    result: Array = cdist(everywhere, np.argwhere(place) * np.array(spacing)).min(axis=1).reshape(place.shape)
    return result


def test_signed_distances_by_hand() -> None:
    found = SignedDistances(ONE, (1.0,))(np.array([[0, 0, 1, 1, 1, 0]]))
    assert found.tolist() == [[[2, 1, -1, -2, -1, 1]]]
    assert found.dtype == np.float32


def test_ignored_voxels_bound_nothing() -> None:
    # The class may go on behind what was ignored, and so may the rest.
    found = SignedDistances(ONE, (1.0,))(np.array([[0, 0, 1, 1, 9, 9, 1], [0, 0, 9, 9, 1, 1, 1]]))
    assert found[0, 0, [0, 1, 2, 3, 6]].tolist() == [2, 1, -1, -2, -5]
    assert found[1, 0, [0, 1, 4, 5, 6]].tolist() == [4, 3, -3, -4, -5]


@pytest.mark.parametrize("value", [0, 1, 9])
def test_a_patch_of_one_value_has_no_boundary(value: int) -> None:
    label = np.full((2, 4, 4), value)
    assert not SignedDistances(ONE, (1.0, 1.0))(label).any()
    assert not GapWeights(ONE, (1.0, 1.0), 10.0, 5.0)(label).any()


@sizes
def test_signed_distances_are_those_of_all_pairs(size: tuple[int, ...]) -> None:
    spacing_mm = (3.0, 0.5, 0.8)[-len(size) :]
    label = np.random.default_rng(0).integers(0, 3, (2, *size))
    maps = SignedDistances.of(LABELS, spacing_mm)
    found = maps(label)
    assert found.shape == (2, 2, *size)
    spacing = tuple(edge / 0.5 for edge in spacing_mm)  # voxels of the finest axis
    for sample in range(2):
        for index, value in enumerate((1, 2)):  # the order of the outputs, not of dataset.json
            inside = label[sample] == value
            expected = distances_by_pairs(inside, spacing) - distances_by_pairs(~inside, spacing)
            np.testing.assert_allclose(found[sample, index], expected, rtol=1e-5)


def test_regions_are_in_the_order_of_dataset_json_and_unite_values() -> None:
    label = np.array([[0, 1, 2, 2, 0]])
    found = SignedDistances(REGIONS, (1.0,))(label)
    assert found.tolist() == [[[2, 1, -1, -1, 1], [1, -1, -2, -1, 1]]]


@pytest.mark.parametrize(
    ("gap", "weight"), [(2, 9.231163), (5, 6.065307), (10, 1.353353), (15, 0.111090), (20, 0.003355)]
)
def test_the_weight_of_a_gap(gap: int, weight: float) -> None:
    # Objects of one voxel each at both ends: at all voxels between them, the two distances add up to the same.
    label = np.zeros((1, 1, gap + 1), dtype=int)
    label[..., [0, -1]] = 1
    found = GapWeights(ONE, (1.0, 1.0), 10.0, 5.0)(label)[0, 0, 0]
    assert found[[0, -1]].tolist() == [0, 0]
    np.testing.assert_allclose(found[1:-1], weight, atol=1e-6)


def test_one_object_has_no_gap_and_corners_connect() -> None:
    label = np.zeros((1, 9, 9), dtype=int)
    label[0, 2:4, 2:4] = label[0, 4:6, 4:6] = 1
    assert not GapWeights(ONE, (1.0, 1.0), 10.0, 5.0)(label).any()


@sizes
def test_gaps_are_those_of_the_distances_to_every_object(size: tuple[int, ...]) -> None:
    spacing = (2.0, 1.0, 1.5)[-len(size) :]
    label = (np.random.default_rng(0).random((1, *size)) > 0.9).astype(int)
    found = GapWeights(ONE, spacing, 7.0, 3.0)(label)[0, 0]
    objects, count = ndimage.label(label[0], np.ones((3,) * len(size)))
    assert count > 3
    distances = np.sort([distances_by_pairs(objects == number, spacing) for number in range(1, count + 1)], axis=0)
    expected = 7 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 3.0**2))
    np.testing.assert_allclose(found, np.where(label[0], 0, expected), atol=1e-4)
    assert found.max() > 1


def test_beyond_reach_is_infinite() -> None:
    nearest, second = two_nearest(np.array([True, False, False, False, True, False, False]), (1.0,), 2.0)
    assert nearest.tolist() == [0, 1, 2, 1, 0, 1, 2]
    assert second.tolist() == [np.inf, np.inf, 2, np.inf, np.inf, np.inf, np.inf]


def test_gaps_of_several_classes_are_apart() -> None:
    # Two objects of class 1 with class 2 in the gap: the gap weighs, for 1.
    found = GapWeights(LABELS, (1.0,), 10.0, 5.0)(np.array([[0, 1, 2, 1, 0]]))
    assert found[0, 0, 2] == pytest.approx(9.231163, abs=1e-5)
    assert not found[0, 1].any()


def test_they_travel_to_other_processes() -> None:
    maps = GapWeights.of(REGIONS, (1.0, 2.0), 10.0, 5.0)
    assert pickle.loads(pickle.dumps(maps)) == maps
