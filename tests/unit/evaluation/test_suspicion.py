"""Ranking: damaged labels come first, hard but right cases do not, and every suspicion says what and where."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from autounet.evaluation.disagreement import measure_disagreement
from autounet.evaluation.suspicion import JudgedCase, Review, rank_cases, typical_dice, write_review
from autounet.geometry import Array, Geometry
from autounet.labels import LabelSchema

LABELS = LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2}, None, "test")
GEOMETRY = Geometry(spacing_mm=(2.0, 1.0, 1.0), affine=((-1, 0, 0, 50), (0, -1, 0, 40), (0, 0, 2, -30), (0, 0, 0, 1)))
SHAPE = (20, 40, 40)


def truth(rng: np.random.Generator) -> Array:
    """Two ellipsoids side by side, each case's own."""
    places = np.indices(SHAPE)
    label = np.zeros(SHAPE, dtype=np.uint8)
    for value, centre in ((1, (10, 20, 13)), (2, (10, 20, 27))):
        radii = rng.uniform((4, 7, 5), (6, 9, 6.5))
        away = places - np.add(centre, rng.uniform(-1, 1, 3)).reshape(3, 1, 1, 1)
        label[((away / radii.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 1] = value
    return label


def predicted(label: Array, rng: np.random.Generator, unsure: float) -> Array:
    """What a network makes of it: the truth with a wavy edge, the more so the harder the case."""
    masks = [
        ndimage.gaussian_filter((label == value).astype(float), 1.0)
        + unsure * ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.0) * 6
        for value in (1, 2)
    ]
    inside = np.stack([np.full(SHAPE, 0.5), *masks])
    found: Array = inside.argmax(axis=0).astype(np.uint8)
    found[ndimage.distance_transform_edt(label == 0) > 4] = 0
    return found


def judged(name: str, label: Array, prediction: Array, geometry: Geometry = GEOMETRY) -> JudgedCase:
    classes = measure_disagreement(label, prediction, LABELS, geometry.spacing_mm)
    return JudgedCase(case=name, reference="l", prediction="p", fold="0", geometry=geometry, classes=classes)


def damaged(label: Array, kind: str) -> Array:
    if kind == "moved":
        return np.roll(label, 4, axis=1)
    if kind == "other class":
        return np.asarray(np.array([0, 2, 1], dtype=np.uint8)[label])
    cut = label.copy()
    if kind == "too little":
        cut[:, :20][cut[:, :20] == 2] = 0
    elif kind == "too much":
        cut[5:15, 2:12, 20:34] = 2
    else:
        cut[cut == 1] = 0
    return cut


KINDS = ("moved", "other class", "too little", "too much", "not in the label")


@pytest.fixture(scope="module")
def cases() -> list[JudgedCase]:
    """Forty cases, eight of them hard to predict, and five of the others with a damaged label."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(40):
        label = truth(rng)
        prediction = predicted(label, rng, unsure=0.7 if number % 5 == 4 else 0.4)
        name = f"case_{number:02d}"
        if number < 20 and number % 4 == 1:
            kind = KINDS[number // 4]
            name, label = f"damaged {kind}", damaged(label, kind)
        made.append(judged(name, label, prediction))
    return made


def test_damaged_labels_come_first(cases: list[JudgedCase]) -> None:
    ranked = rank_cases(cases)
    assert [suspect.rank for suspect in ranked] == list(range(1, 41))
    assert {suspect.case for suspect in ranked[:5]} == {f"damaged {kind}" for kind in KINDS}
    scores = [suspect.score for suspect in ranked]
    assert scores == sorted(scores, reverse=True)


def test_every_suspicion_names_its_kind(cases: list[JudgedCase]) -> None:
    for suspect in rank_cases(cases)[:5]:
        assert f"damaged {suspect.worst.kind}" == suspect.case, suspect.worst.what


def test_the_place_is_in_voxels_and_in_world_coordinates(cases: list[JudgedCase]) -> None:
    """Part of class 2 is missing in front of y = 20; the file's axes x and y run to the left and to the back."""
    (suspect,) = (entry for entry in rank_cases(cases) if entry.case == "damaged too little")
    z, y, x = suspect.worst.disagreement.place
    assert suspect.worst.class_name == "tumour"
    assert (8 <= z <= 12, 12 <= y <= 18, 23 <= x <= 31) == (True, True, True)
    assert suspect.worst.place_mm == (50 - x, 40 - y, 2 * z - 30)


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        (Geometry.from_spacing((1, 1, 1), 2, tells_spacing=False), "48 pixels, 3.0 pixels deep"),
        (Geometry.from_spacing((999, 0.5, 0.5), 2), "12 mm², 1.5 mm deep"),
        (Geometry.from_spacing((2, 0.5, 0.5), 3), "24 mm³, 1.5 mm deep"),
    ],
)
def test_what_is_missing_is_told_in_the_unit_of_the_image(geometry: Geometry, words: str) -> None:
    prediction = np.zeros((1, 20, 20), dtype=np.uint8)
    prediction[:, 2:18, 5:11] = 1
    label = prediction.copy()
    label[:, 2:10] = 0
    (first, *_) = rank_cases([judged(str(number), label, prediction, geometry) for number in range(3)])
    assert first.classes[0].what == f"label lacks: {words}"


def test_a_hard_class_does_not_crowd_out_an_easy_one() -> None:
    """The same disagreement, usual in one class and unusual in the other."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(12):
        label = np.zeros(SHAPE, dtype=np.uint8)
        label[5:15, 10:20, 5:15], label[5:15, 10:20, 22:32] = 1, 2
        prediction = label.copy()
        prediction[5:15, 10 : 13 + int(rng.integers(2)), 22:32] = 0  # the hard one loses three or four slices always
        if number == 3:
            prediction[5:15, 10:13, 5:15] = 0
        made.append(judged(f"case_{number:02d}", label, prediction))
    first = rank_cases(made)[0]
    assert (first.case, first.worst.class_name) == ("case_03", "organ")
    assert first.classes[1].score < first.score / 4


def test_cases_without_scatter_do_not_divide_by_zero() -> None:
    label = truth(np.random.default_rng(0))
    ranked = rank_cases([judged(name, label, label) for name in "ba"])
    assert [(suspect.case, suspect.score) for suspect in ranked] == [("a", 0.0), ("b", 0.0)]


def test_cases_with_nothing_to_compare_are_left_out() -> None:
    empty = np.zeros(SHAPE, dtype=np.uint8)
    assert rank_cases([judged("a", empty, empty)]) == ()


def test_typical_dice_is_the_median() -> None:
    label = truth(np.random.default_rng(0))
    half = label.copy()
    half[:10] = 0
    found = typical_dice([judged("a", label, label), judged("b", label, label), judged("c", label, half)])
    assert found == {"organ": 1.0, "tumour": 1.0}


def test_the_ranking_on_disk(tmp_path: Path, cases: list[JudgedCase]) -> None:
    review = Review(dataset="D", model="m", typical=typical_dice(cases), suspects=rank_cases(cases))
    path = write_review(review, tmp_path / "review.json")
    assert Review.read(tmp_path / "review.json") == review
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(suspect.classes) for suspect in review.suspects)
    first = review.suspects[0].worst
    assert (rows[0]["case"], rows[0]["class"]) == (review.suspects[0].case, first.class_name)
    assert (int(rows[0]["z"]), int(rows[0]["y"]), int(rows[0]["x"])) == first.disagreement.place
