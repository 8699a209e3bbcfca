"""Surface metrics: the published implementation as the oracle, and shapes whose distances are known."""

import math
import time
import warnings

import numpy as np
import numpy.typing as npt
import pytest
import surface_distance
from surface_distance import lookup_tables

from autounet.evaluation import surfaces
from autounet.evaluation.case import class_metrics
from autounet.evaluation.metrics import MetricChoice, metric_names
from autounet.evaluation.surface_elements import element_areas, neighbour_codes
from autounet.evaluation.surfaces import surface_scores
from autounet.labels import LabelClass, LabelSchema

Mask = npt.NDArray[np.bool_]


@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (5, 0.7, 0.7), (0.3, 2.1, 1.3)])
def test_all_256_elements_have_the_published_areas(spacing_mm: tuple[float, ...]) -> None:
    # They number the corners of a neighbourhood the other way round.
    reversed_codes = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
    published = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)[reversed_codes]
    np.testing.assert_allclose(element_areas(spacing_mm), published, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spacing_mm", [(1, 1), (5, 0.7)])
def test_all_16_elements_have_the_published_lengths(spacing_mm: tuple[float, ...]) -> None:
    reversed_codes = [int(f"{code:04b}"[::-1], 2) for code in range(16)]
    published = lookup_tables.create_table_neighbour_code_to_contour_length(spacing_mm)[reversed_codes]
    np.testing.assert_allclose(element_areas(spacing_mm), published, rtol=1e-12, atol=1e-12)


def test_elements_by_hand() -> None:
    areas = element_areas((1, 1, 1))
    assert areas[0] == areas[255] == 0
    assert areas[0b1] == pytest.approx(math.sqrt(3) / 8)  # a triangle of edges of sqrt(1/2)
    assert areas[0b1111] == 1  # a plane
    assert areas[0b11] == pytest.approx(math.sqrt(0.5))  # a slanted strip
    assert neighbour_codes(np.ones((1, 1, 1), bool)).ravel().tolist() == [128, 64, 32, 16, 8, 4, 2, 1]


def blob(shape: tuple[int, ...], seed: int) -> Mask:
    """Scattered cubes and single voxels, some at the edge of the image."""
    generator = np.random.default_rng(seed)
    mask = generator.random(shape) < 0.02
    for _ in range(3):
        start = generator.integers(0, [max(1, size - 4) for size in shape])
        mask[tuple(slice(at, at + 5) for at in start)] = True
    return mask


def oracle(
    reference: Mask,
    prediction: Mask,
    spacing_mm: tuple[float, ...],
    tolerance_mm: float,
    monkeypatch: pytest.MonkeyPatch,
) -> list[float | None]:
    """HD95, ASSD and surface Dice of the published package; `None` where these are infinite or not a number."""
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)  # the name that NumPy 2 dropped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
        forth, back = surface_distance.compute_average_surface_distance(found)
        hd95 = surface_distance.compute_robust_hausdorff(found, 95)
        dice = surface_distance.compute_surface_dice_at_tolerance(found, tolerance_mm)
    areas = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
    assd = (forth * areas[0] + back * areas[1]) / sum(areas) if all(areas) else math.inf
    return [float(value) if math.isfinite(value) else None for value in (hd95, assd, dice)]


def compared(
    reference: Mask, prediction: Mask, spacing_mm: tuple[float, ...], tolerance_mm: float
) -> list[float | None]:
    scores = surface_scores(reference, prediction, spacing_mm, tolerance_mm)
    return [scores.hd95_mm, scores.assd_mm, scores.surface_dice]


@pytest.mark.parametrize("voxels_a_point", [0, 10**9], ids=["tree", "transform"])
@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [
        ((9, 12, 15), (1, 1, 1)),
        ((9, 12, 15), (5, 0.7, 0.7)),
        ((11, 8, 3), (0.3, 2.1, 1.3)),
        ((20, 30), (1, 1)),
        ((20, 30), (2.5, 0.4)),
    ],
)
def test_random_masks_agree_with_the_published_package(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], voxels_a_point: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surfaces, "_VOXELS_A_POINT", voxels_a_point)
    for seed in range(6):
        reference, prediction = blob(shape, seed), blob(shape, seed + 100)
        for tolerance_mm in (0.0, spacing_mm[-1], 3.0):
            expected = oracle(reference, prediction, spacing_mm, tolerance_mm, monkeypatch)
            assert compared(reference, prediction, spacing_mm, tolerance_mm) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(6, 7, 8), (6, 7)])
def test_one_sided_empties_agree_with_the_published_package(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    spacing, full, empty = (1.0,) * len(shape), blob(shape, 0), np.zeros(shape, bool)
    for reference, prediction in ((full, empty), (empty, full)):
        assert compared(reference, prediction, spacing, 1) == oracle(reference, prediction, spacing, 1, monkeypatch)
        assert compared(reference, prediction, spacing, 1) == [None, None, 0.0]
        assert surface_scores(reference, prediction, spacing, 1).boundary_f1 == 0.0
    assert compared(empty, empty, spacing, 1) == oracle(empty, empty, spacing, 1, monkeypatch) == [None] * 3
    assert surface_scores(empty, empty, spacing, 1).boundary_f1 is None


def test_two_voxels_by_hand() -> None:
    # Three voxels of 2 mm apart: of the eight corners of either, four lie 4 mm from the other's nearest and four 6 mm.
    reference, prediction = np.zeros((2, 1, 1, 4), bool)
    reference[..., 0], prediction[..., 3] = True, True
    scores = surface_scores(reference, prediction, (1, 1, 2), tolerance_mm=4)
    assert scores.hd95_mm == 6
    assert scores.assd_mm == pytest.approx(5)
    assert scores.surface_dice == pytest.approx(0.5)
    assert scores.boundary_f1 == pytest.approx(0.5)
    assert surface_scores(reference, prediction, (1, 1, 2), tolerance_mm=3.9).surface_dice == 0


def test_equal_masks() -> None:
    scores = surface_scores(blob((5, 6, 7), 0), blob((5, 6, 7), 0), (1, 2, 3), tolerance_mm=0)
    assert (scores.hd95_mm, scores.assd_mm, scores.surface_dice, scores.boundary_f1) == (0, 0, 1, 1)


def test_boundary_f1_by_hand() -> None:
    # A pixel has four corners; two neighbours share two of theirs.
    reference, prediction = np.array([[1, 0, 0]], bool), np.array([[0, 1, 0]], bool)
    assert surface_scores(reference, prediction, (1, 1), tolerance_mm=0).boundary_f1 == 0.5
    # Of six corners four lie in the other, of four all: shares 2/3 and 1.
    wider = np.array([[1, 1, 0]], bool)
    assert surface_scores(wider, prediction, (1, 1), tolerance_mm=0).boundary_f1 == pytest.approx(0.8)
    far = np.zeros((1, 9), bool)
    far[0, 0] = True
    assert surface_scores(far, far[:, ::-1], (1, 1), tolerance_mm=1).boundary_f1 == 0


def test_two_large_volumes_with_a_small_object_take_less_than_a_second() -> None:
    labels = LabelSchema(classes=(LabelClass(name="ball", values=(1,)),))
    choice = MetricChoice(names=metric_names(["surface"]))
    reference, prediction = np.zeros((2, 256, 256, 256), np.uint8)
    reference[100:130, 100:120, 100:125], prediction[101:130, 99:121, 102:128] = 1, 1
    element_areas((1, 1, 1))
    start = time.process_time()
    scores = class_metrics(reference, prediction, (1, 1, 1), labels, choice)["ball"]
    # A distance transform of the whole volume alone takes several.
    assert time.process_time() - start < 1
    assert scores["hd95_mm"] == pytest.approx(3)
