"""Lesions and numbered objects: maps small enough to count by hand."""

import numpy as np
import pytest
from skimage.metrics import contingency_table

from autounet.evaluation.instances import instance_scores
from autounet.evaluation.lesions import lesion_scores
from autounet.evaluation.objects import overlaps


def line(*values: int) -> np.ndarray:
    return np.array([values])


def test_pairs_that_share_voxels() -> None:
    found = overlaps(line(7, 7, 7, 0, 2, 2), line(0, 300, 300, 300, 0, 0))
    assert found.reference_voxels.tolist() == [2, 3]
    assert found.predicted_voxels.tolist() == [3]
    assert (found.reference.tolist(), found.predicted.tolist(), found.shared_voxels.tolist()) == ([1], [0], [2])
    assert found.iou.tolist() == [0.5]
    assert (found.num_matched(0.5), found.num_matched(0.51)) == (1, 0)


def test_pairs_agree_with_scikit_image() -> None:
    generator = np.random.default_rng(0)
    reference, prediction = generator.choice([0, 3, 70, 650], (2, 6, 7, 8))
    found = overlaps(reference, prediction)
    table = contingency_table(reference, prediction).toarray()[np.ix_([3, 70, 650], [3, 70, 650])]
    counted = np.zeros((3, 3))
    counted[found.reference, found.predicted] = found.shared_voxels
    np.testing.assert_array_equal(counted, table)


def test_as_many_partners_as_can_be_at_once() -> None:
    # The first lesion reaches both predicted ones, the second only the first of them.
    reference, prediction = line(1, 1, 2, 0), line(5, 4, 4, 0)
    assert overlaps(reference, prediction).num_matched(0.3) == 2


def test_lesions_by_hand() -> None:
    reference = line(1, 1, 0, 1, 1, 0, 0, 1, 0)
    prediction = line(1, 1, 0, 0, 0, 1, 0, 1, 0)
    # The first and the last are found; the middle one is missed, and beside it lies one that is none.
    scores = lesion_scores(reference > 0, prediction > 0, min_iou=0.1)
    assert (scores.found, scores.missed, scores.spurious) == (2, 1, 1)
    assert (scores.f1, scores.precision, scores.recall) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_lesions_that_touch_at_a_corner_are_one() -> None:
    diagonal = np.eye(3, dtype=bool)
    assert lesion_scores(diagonal, diagonal, min_iou=0.1).found == 1


def test_a_lesion_counts_as_found_from_the_given_overlap_on() -> None:
    reference, prediction = np.ones((1, 10), bool), np.arange(10)[None] < 1
    assert lesion_scores(reference, prediction, min_iou=0.1).found == 1
    assert lesion_scores(reference, prediction, min_iou=0.11).found == 0


def test_one_predicted_lesion_finds_one_lesion_only() -> None:
    scores = lesion_scores(line(1, 1, 0, 1, 1) > 0, np.ones((1, 5), bool), min_iou=0.1)
    assert (scores.found, scores.missed, scores.spurious) == (1, 1, 0)


def test_lesions_of_empty_maps() -> None:
    some, none = line(1, 0) > 0, line(0, 0) > 0
    both, missed, spurious = (lesion_scores(*pair, 0.1) for pair in ((none, none), (some, none), (none, some)))
    assert (both.f1, both.precision, both.recall, both.found + both.missed + both.spurious) == (None, None, None, 0)
    assert (missed.f1, missed.precision, missed.recall, missed.missed) == (0, None, 0, 1)
    assert (spurious.f1, spurious.precision, spurious.recall, spurious.spurious) == (0, 0, None, 1)


def test_instances_by_hand() -> None:
    # IoU of 1, of 0.6 (3 of 5 voxels), and one object on either side alone.
    reference = line(1, 1, 0, 2, 2, 2, 2, 0, 3, 0, 0)
    prediction = line(9, 9, 0, 0, 8, 8, 8, 8, 0, 0, 7)
    scores = instance_scores(reference, prediction)
    assert (scores.num_reference, scores.num_predicted) == (3, 3)
    # Two of four at 0.5, 0.55 and 0.6; then one of five.
    assert scores.precision_at == pytest.approx([2 / 4] * 3 + [1 / 5] * 7)
    assert scores.average_precision == pytest.approx((3 / 2 + 7 / 5) / 10)
    assert scores.f1_at_50 == pytest.approx(2 / 3)
    # 2 + 3 shared of 2 + 5 in the pairs, and one each that has no partner.
    assert scores.aji == pytest.approx(5 / 9)


def test_the_numbers_of_objects_mean_nothing() -> None:
    generator = np.random.default_rng(1)
    reference, prediction = generator.integers(0, 6, (2, 5, 20, 20))
    renumbered = np.array([0, 40, 3, 1000, 7, 2])[prediction]
    assert instance_scores(reference, renumbered) == instance_scores(reference, prediction)
    assert instance_scores(reference, np.where(reference, 9 - reference, 0)).average_precision == 1


def test_aggregated_jaccard_as_its_authors_wrote_it() -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        reference, prediction = np.repeat(np.repeat(generator.integers(0, 5, (2, 4, 4)), 2, 1), 3, 2)
        shared = union = 0
        used = set()
        for number in np.unique(reference[reference > 0]):
            mine = reference == number
            ious = {
                other: (mine & (prediction == other)).sum() / (mine | (prediction == other)).sum()
                for other in np.unique(prediction[prediction > 0])
            }
            best = max(ious, key=lambda other: ious[other])
            if ious[best] == 0 or list(ious.values()).count(ious[best]) > 1:
                break  # which of several is best, they leave open
            used.add(best)
            shared += (mine & (prediction == best)).sum()
            union += (mine | (prediction == best)).sum()
        else:
            union += sum((prediction == other).sum() for other in np.unique(prediction) if other and other not in used)
            assert instance_scores(reference, prediction).aji == pytest.approx(shared / union)
            break
    else:
        pytest.fail("no map without ties")


def test_instances_of_empty_maps() -> None:
    some, none = line(1, 0), line(0, 0)
    both = instance_scores(none, none)
    assert (both.average_precision, both.f1_at_50, both.aji, both.num_reference) == (None, None, None, 0)
    for pair in ((some, none), (none, some)):
        scores = instance_scores(*pair)
        assert (scores.average_precision, scores.f1_at_50, scores.aji) == (0, 0, 0)
