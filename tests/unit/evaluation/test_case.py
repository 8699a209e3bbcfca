"""All metrics of one case: which voxels, which box, which axes, and what is undefined."""

import numpy as np
import pytest

from autounet.evaluation.case import class_metrics, object_metrics
from autounet.evaluation.metrics import METRICS, OF_INSTANCES, OF_REGIONS, Family, MetricChoice, metric_names
from autounet.evaluation.surfaces import surface_scores
from autounet.geometry import Triple
from autounet.labels import LabelClass, LabelSchema

ORGAN = LabelSchema(classes=(LabelClass(name="organ", values=(1,)),))
EVERYTHING = MetricChoice(names=metric_names(None))


def block(*, shape: tuple[int, int, int] = (8, 9, 10), at: int = 2, size: int = 3, value: int = 1) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    label[tuple(slice(at, at + size) if length > 1 else slice(0, 1) for length in shape)] = value
    return label


def measure(
    reference: np.ndarray,
    prediction: np.ndarray,
    labels: LabelSchema = ORGAN,
    spacing_mm: Triple = (1, 1, 1),
    choice: MetricChoice = EVERYTHING,
) -> dict[str, dict[str, float | None]]:
    return class_metrics(reference, prediction, spacing_mm, labels, choice)


def test_every_metric_of_classes_is_there_and_in_its_place() -> None:
    found = measure(block(), block(at=3))["organ"]
    assert list(found) == [name for name in EVERYTHING.names if METRICS[name].family is not Family.OVERLAP]
    assert measure(block(), block(), choice=MetricChoice(names=("dice",))) == {}
    assert list(measure(block(), block(), choice=MetricChoice(names=("assd_mm",)))["organ"]) == ["assd_mm"]


def test_volumes_are_in_millilitres() -> None:
    found = measure(block(size=2), block(size=4), spacing_mm=(5, 2, 0.5))["organ"]
    # 8 and 64 voxels of 5 mm^3.
    assert found["volume_error_ml"] == pytest.approx(56 * 5 / 1000)
    assert found["volume_error_relative"] == 7
    smaller = measure(block(size=4), block(size=2))["organ"]
    assert smaller["volume_error_relative"] == pytest.approx(-56 / 64)


def test_where_the_class_is_missing() -> None:
    empty = block(size=0)
    undefined = dict.fromkeys(("volume_error_ml", "volume_error_relative", "hd95_mm", "assd_mm", "surface_dice"))
    undefined |= dict.fromkeys(("boundary_f1", "lesion_f1", "lesion_precision", "lesion_recall"))
    none = {"lesions_found": 0, "lesions_missed": 0, "lesions_spurious": 0}
    assert measure(empty, empty)["organ"] == {**undefined, **none}
    agreement = {"surface_dice": 0, "boundary_f1": 0, "lesion_f1": 0}
    missed = {"volume_error_ml": -0.027, "volume_error_relative": -1, "lesion_recall": 0, "lesions_missed": 1}
    assert measure(block(), empty)["organ"] == {**undefined, **none, **agreement, **missed}
    spurious = {"volume_error_ml": 0.027, "lesion_precision": 0, "lesions_spurious": 1}
    assert measure(empty, block())["organ"] == {**undefined, **none, **agreement, **spurious}


def test_the_box_around_the_class_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    reference, prediction = (generator.random((2, 8, 9, 10)) < 0.1).astype(np.uint8)
    # Elsewhere in a larger image, and beside another class.
    wide = [np.pad(label, ((5, 20), (7, 0), (0, 9))) for label in (reference, prediction)]
    wide[0][-1, -1, -1] = wide[1][-1, 0, -1] = 9
    labels = LabelSchema(classes=(*ORGAN.classes, LabelClass(name="other", values=(9,))))
    assert measure(wide[0], wide[1], labels)["organ"] == pytest.approx(measure(reference, prediction)["organ"])
    whole = surface_scores(reference > 0, prediction > 0, (1, 1, 1), 1)
    assert measure(reference, prediction)["organ"]["hd95_mm"] == whole.hd95_mm


@pytest.mark.parametrize(
    ("axis", "shape", "spacing"), [(0, (1, 8, 8), (50, 2, 3)), (1, (8, 1, 8), (2, 50, 3)), (2, (8, 8, 1), (2, 3, 50))]
)
def test_an_image_of_one_slice_has_contours(axis: int, shape: tuple[int, int, int], spacing: Triple) -> None:
    reference, prediction = block(shape=shape), block(shape=shape, at=3)
    found = measure(reference, prediction, spacing_mm=spacing)["organ"]
    flat = surface_scores(reference.squeeze(axis) > 0, prediction.squeeze(axis) > 0, (2, 3), 1)
    assert (found["assd_mm"], found["hd95_mm"]) == (flat.assd_mm, flat.hd95_mm)
    # The thickness of the slice counts for the volume alone.
    assert measure(reference, reference * 0, spacing_mm=spacing)["organ"]["volume_error_ml"] == pytest.approx(-2.7)


def test_a_class_of_one_slice_in_a_volume_has_a_surface() -> None:
    reference, prediction = np.zeros((2, 5, 8, 8), np.uint8)
    reference[1, 2:6, 2:6] = prediction[2, 2:6, 2:6] = 1
    assert measure(reference, prediction, spacing_mm=(5, 1, 1))["organ"]["hd95_mm"] == 5


def test_regions_unite_values_and_ignored_voxels_belong_to_nothing() -> None:
    labels = LabelSchema(
        classes=(LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,))),
        ignore_value=3,
        region_order=(1, 2),
    )
    reference, prediction = block(), block()
    reference[2], prediction[3] = np.where(reference[2] == 1, 2, 0), np.where(prediction[3] == 1, 2, 0)
    found = measure(reference, prediction, labels)
    assert (found["whole"]["hd95_mm"], found["whole"]["volume_error_ml"]) == (0, 0)
    assert found["core"]["hd95_mm"] == 1
    reference[4] = 3
    prediction[4] = 1
    assert measure(reference, prediction, labels)["whole"]["volume_error_ml"] == 0


def test_only_annotated_classes_are_measured() -> None:
    labels = LabelSchema(classes=(*ORGAN.classes, LabelClass(name="other", values=(2,))))
    assert list(class_metrics(block(), block(), (1, 1, 1), labels, EVERYTHING, ("other",))) == ["other"]


def test_the_tolerance_and_the_overlap_of_lesions_are_the_chosen_ones() -> None:
    reference, prediction = block(size=3), block(size=3, at=4)
    for tolerance_mm, lesion_iou, expected in ((1.0, 0.02, (True, 0)), (4.0, 0.01, (False, 1))):
        choice = MetricChoice(names=EVERYTHING.names, tolerance_mm=tolerance_mm, lesion_iou=lesion_iou)
        found = measure(reference, prediction, choice=choice)["organ"]
        assert (found["surface_dice"] != 1, found["lesions_found"]) == expected


CELLS = LabelSchema(
    classes=(LabelClass(name="membrane", values=(1,)), LabelClass(name="nucleus", values=(2,))), ignore_value=9
)


def two_cells() -> np.ndarray:
    """Two cells of one slice, a membrane of one voxel between them, a nucleus in the first."""
    label = np.zeros((1, 8, 9), np.uint8)
    label[0, :, 4] = 1
    label[0, 2:4, 1:3] = 2
    return label


def between(name: str, names: tuple[str, ...] = ("regions",)) -> MetricChoice:
    return MetricChoice(names=metric_names(names, OF_REGIONS), regions_between=name)


def test_regions_are_whatever_a_class_leaves() -> None:
    gap = two_cells()
    gap[0, 0, 4] = 0
    gap[0, 3:5, 3] = 2
    found = measure(two_cells(), gap, CELLS, choice=between("membrane"))
    # What of a cell is nucleus does not matter; the gap merges both cells.
    assert {name: round(value, 9) for name, value in found["membrane"].items() if value is not None} == {
        "v_rand": round(2 / 3, 9),
        "v_rand_split": 1,
        "v_rand_merge": 0.5,
        "v_info": 0,
        "v_info_split": 1,
        "v_info_merge": 0,
    }
    assert found["nucleus"] == {}
    few = measure(two_cells(), gap, CELLS, choice=between("membrane", ("v_info", "volume_error_relative")))
    assert list(few["membrane"]) == ["volume_error_relative", "v_info"]
    assert list(few["nucleus"]) == ["volume_error_relative"]


def test_regions_between_the_background_are_what_a_class_consists_of() -> None:
    # The challenge's own files: membranes are 0, cells are not.
    cells = LabelSchema(classes=(LabelClass(name="cell", values=(1,)),))
    reference = (two_cells() != 1).astype(np.uint8)
    gap = reference.copy()
    gap[0, 0, 4] = 1
    found = measure(reference, gap, cells, choice=between("background"))["cell"]
    assert [found["v_rand_split"], found["v_rand_merge"]] == pytest.approx([1, 0.5])


def test_ignored_voxels_are_of_no_region() -> None:
    reference, gap = two_cells(), two_cells()
    reference[0, 6:] = 9
    gap[0, 7, 4] = 0
    # The gap lies where nothing counts, so that it merges nothing.
    found = measure(reference, gap, CELLS, choice=between("membrane"))["membrane"]
    assert [found["v_rand"], found["v_info"]] == pytest.approx([1, 1])
    none = measure(np.ones_like(gap), gap, CELLS, choice=between("membrane"))["membrane"]
    assert set(none.values()) == {None}
    assert tuple(none) == between("membrane").names


def test_every_metric_of_objects() -> None:
    choice = MetricChoice(names=metric_names(["instances"], OF_INSTANCES))
    reference, prediction = block(), block()
    prediction[7, 7, 7] = 5
    found = object_metrics(reference, prediction, choice)
    assert tuple(found) == choice.names
    assert (found["ap"], found["ap_50"], found["ap_95"], found["count_error"]) == (0.5, 0.5, 0.5, 1)
    assert list(object_metrics(reference, prediction, MetricChoice(names=("aji",)))) == ["aji"]
