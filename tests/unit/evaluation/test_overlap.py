"""Counts and scores of one pair: hand-computed maps, and scikit-learn as the oracle."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

from autounet.errors import RequestError
from autounet.evaluation import ClassScore, Counts, confusion, score_case
from autounet.labels import LabelClass, LabelSchema


def schema(*classes: tuple[str, tuple[int, ...]], ignore: int | None = None, regions: bool = False) -> LabelSchema:
    return LabelSchema(
        classes=tuple(LabelClass(name=name, values=values) for name, values in classes),
        ignore_value=ignore,
        region_order=tuple(range(1, len(classes) + 1)) if regions else None,
    )


def volume(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8).reshape(1, 1, -1)


ONE = schema(("organ", (1,)))


def test_four_voxels_by_hand() -> None:
    score = score_case(volume(1, 1, 0, 0), volume(1, 0, 1, 0), ONE)["organ"]
    assert score == ClassScore(
        dice=0.5, iou=1 / 3, precision=0.5, recall=0.5, tp=1, fp=1, fn=1, tn=1, num_reference=2, num_predicted=2
    )


def test_perfect_missed_and_invented() -> None:
    assert score_case(volume(1, 0), volume(1, 0), ONE)["organ"].dice == 1.0
    missed = score_case(volume(1, 0), volume(0, 0), ONE)["organ"]
    assert (missed.dice, missed.iou, missed.fn, missed.precision, missed.recall) == (0.0, 0.0, 1, None, 0.0)
    invented = score_case(volume(0, 0), volume(1, 0), ONE)["organ"]
    assert (invented.dice, invented.iou, invented.fp, invented.precision, invented.recall) == (0.0, 0.0, 1, 0.0, None)


def test_a_class_in_neither_map_has_no_score() -> None:
    score = score_case(volume(0, 0, 0), volume(0, 0, 0), ONE)["organ"]
    assert (score.dice, score.iou, score.tn) == (None, None, 3)


def test_ignored_voxels_of_the_reference_do_not_count() -> None:
    labels = schema(("organ", (1,)), ignore=2)
    score = score_case(volume(1, 0, 2, 2), volume(1, 0, 1, 0), labels)["organ"]
    assert (score.tp, score.fp, score.fn, score.tn) == (1, 0, 0, 1)
    # The prediction's own 2 is nothing but a wrong answer.
    score = score_case(volume(1, 1, 2, 0), volume(2, 1, 1, 2), labels)["organ"]
    assert (score.tp, score.fp, score.fn, score.tn) == (1, 0, 1, 1)


def test_regions_unite_values() -> None:
    labels = schema(("whole", (1, 2)), ("core", (2,)), regions=True)
    scores = score_case(volume(1, 2, 2, 0), volume(2, 1, 2, 1), labels)
    whole, core = scores["whole"], scores["core"]
    assert (whole.tp, whole.fp, whole.fn, whole.tn) == (3, 1, 0, 0)  # 1 for 2 within the region is no error
    assert (core.tp, core.fp, core.fn, core.tn) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((0, 1, 2, 3), np.uint8),
        ((0, 1, 2, 3), np.int64),
        ((0, 7, 255), np.uint8),
        ((0, 7, 300, 65_535), np.uint16),
        ((0, 7, 300, 65_535), np.int64),
    ],
)
def test_random_maps_agree_with_scikit_learn(values: tuple[int, ...], dtype: type[np.integer]) -> None:
    generator = np.random.default_rng(0)
    choices = np.array(values, dtype=np.int64)
    reference = generator.choice(choices, (5, 6, 7)).astype(dtype)
    prediction = np.where(generator.random((5, 6, 7)) < 0.6, reference, generator.choice(choices, (5, 6, 7)))
    prediction = prediction.astype(dtype)
    pairs = confusion(reference, prediction)
    assert pairs.values.tolist() == list(values)
    oracle = confusion_matrix(reference.ravel(), prediction.ravel(), labels=values)
    np.testing.assert_array_equal(pairs.matrix, oracle)

    labels = schema(*((str(value), (value,)) for value in values[1:]))
    for value in values[1:]:
        score = score_case(reference, prediction, labels)[str(value)]
        truth, guess = (reference == value).ravel(), (prediction == value).ravel()
        assert score.dice == pytest.approx(f1_score(truth, guess))
        assert score.iou == pytest.approx(jaccard_score(truth, guess))
        assert score.precision == pytest.approx(precision_score(truth, guess))
        assert score.recall == pytest.approx(recall_score(truth, guess))
        assert (score.tn, score.fp, score.fn, score.tp) == tuple(confusion_matrix(truth, guess).ravel())


def test_random_regions_with_ignore_agree_with_masks_counted_one_by_one() -> None:
    generator = np.random.default_rng(1)
    reference, prediction = generator.integers(0, 5, (2, 4, 5, 6))
    prediction[prediction == 4] = 0
    labels = schema(("a", (1, 2, 3)), ("b", (2, 3)), ("c", (3,)), ignore=4, regions=True)
    counted = reference != 4
    for index, (name, score) in enumerate(score_case(reference, prediction, labels).items()):
        truth, guess = labels.class_mask(reference, index)[counted], labels.class_mask(prediction, index)[counted]
        tn, fp, fn, tp = confusion_matrix(truth, guess).ravel()
        assert (name, score.tn, score.fp, score.fn, score.tp) == ("abc"[index], tn, fp, fn, tp)


def test_only_values_that_occur_are_listed() -> None:
    pairs = confusion(volume(0, 0, 3), volume(0, 5, 0))
    assert pairs.values.tolist() == [0, 3, 5]
    assert pairs.reference_values == (0, 3)
    assert pairs.predicted_values == (0, 5)


def test_negative_values_and_empty_maps_are_counted_too() -> None:
    pairs = confusion(np.array([[[-1, 0]]]), np.array([[[0, 0]]]))
    assert pairs.matrix.tolist() == [[0, 1], [0, 1]]
    assert score_case(np.zeros((0, 2, 2), int), np.zeros((0, 2, 2), int), ONE)["organ"].dice is None


def test_shapes_must_agree() -> None:
    with pytest.raises(RequestError, match=r"\(1, 1, 3\).*\(1, 1, 2\)"):
        score_case(volume(0, 0, 0), volume(0, 0), ONE)


def test_scores_follow_from_counts() -> None:
    score = ClassScore.of(Counts(tp=6, fp=2, fn=2, tn=10))
    assert (score.dice, score.iou, score.num_reference, score.num_predicted) == (0.75, 0.6, 8, 8)
