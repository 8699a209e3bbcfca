"""Rand and information scores of regions: values by hand, oracles, and what they must not depend on."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error, contingency_table, variation_of_information
from sklearn.metrics import homogeneity_completeness_v_measure

from autounet.evaluation.regions import Agreement, connected_regions, partition_scores, region_scores, thinned

maps = arrays(np.uint8, (4, 5), elements=st.integers(0, 3))


def scored(reference: npt.ArrayLike, prediction: npt.ArrayLike) -> np.ndarray:
    """`V_Rand` and `V_info`, each by splits and mergers."""
    found = partition_scores(np.asarray(reference), np.asarray(prediction))
    assert found is not None
    return np.array([found.rand.split, found.rand.merge, found.info.split, found.info.merge])


def walls(rows: list[str]) -> np.ndarray:
    """Where a drawing has no `#`."""
    return np.array([[sign != "#" for sign in row] for row in rows])


def alone(prediction: np.ndarray) -> np.ndarray:
    """Every voxel of 0 a region of its own."""
    numbered = prediction.astype(np.int64)
    outside = numbered == 0
    numbered[outside] = 100 + np.arange(np.count_nonzero(outside))
    return numbered


def test_values_by_hand() -> None:
    # Regions of 4 and 2 voxels; the first is split into 3 and 1, and that 1 merged with the second.
    found = scored([1, 1, 1, 1, 2, 2], [5, 5, 5, 6, 6, 6])
    # Squares of pairs: 9 + 1 + 4; of the reference: 16 + 4; of the prediction: 9 + 9.
    assert found[:2] == pytest.approx([14 / 20, 14 / 18])
    half, third, sixth, two = 0.5 * np.log(0.5), np.log(1 / 3) / 3, np.log(1 / 6) / 6, 2 / 3 * np.log(2 / 3)
    shared = -(two + third) - 2 * half + half + sixth + third
    assert found[2:] == pytest.approx([shared / (-2 * half), shared / -(two + third)])


def test_voxels_that_do_not_count_and_voxels_of_no_region() -> None:
    # The reference's zeros are left out, whatever is predicted there; two predicted zeros are two regions of one voxel.
    found = scored([0, 0, 1, 1, 1, 1], [1, 2, 1, 1, 0, 0])
    assert found[:2] == pytest.approx([(4 + 1 + 1) / 16, 1])
    entropy = -(0.5 * np.log(0.5) + 0.5 * np.log(0.25))
    assert found[2:] == pytest.approx([0 / entropy, 1])
    assert partition_scores(np.zeros(3, int), np.ones(3, int)) is None


def test_all_merged_and_all_split() -> None:
    reference = np.repeat([1, 2, 3, 4], 5)
    # One region: nothing is split, and it tells nothing of the four.
    assert scored(reference, np.ones(20)) == pytest.approx([1, 1 / 4, 1, 0])
    for parts in (np.arange(1, 21), np.zeros(20, int)):
        assert scored(reference, parts) == pytest.approx([1 / 5, 1, np.log(4) / np.log(20), 1])
    # One region in either is right; one of two voxels split has nothing to merge.
    assert scored(np.ones(2), np.ones(2)) == pytest.approx([1, 1, 1, 1])
    assert scored(np.ones(2), np.arange(1, 3)) == pytest.approx([1 / 2, 1, 0, 1])


def test_the_score_is_that_of_the_paper_at_one_half() -> None:
    found = partition_scores(np.array([1, 1, 1, 1, 2, 2]), np.array([5, 5, 5, 6, 6, 6]))
    assert found is not None
    assert found.rand.whole == pytest.approx(14 / (0.5 * 18 + 0.5 * 20))
    assert Agreement(split=0.0, merge=0.0).whole == 0


@given(reference=maps, prediction=maps)
@settings(max_examples=60, deadline=None)
def test_pairs_of_voxels_one_by_one(reference: np.ndarray, prediction: np.ndarray) -> None:
    counted = reference.ravel() > 0
    if not counted.any():
        assert partition_scores(reference, prediction) is None
        return
    first, second = reference.ravel()[counted], alone(prediction).ravel()[counted]
    together = [values[:, None] == values[None] for values in (first, second)]
    both = np.count_nonzero(together[0] & together[1])
    expected = [both / np.count_nonzero(pairs) for pairs in together]
    assert scored(reference, prediction)[:2] == pytest.approx(expected)


@given(reference=maps, prediction=maps)
@settings(max_examples=60, deadline=None)
def test_oracles(reference: np.ndarray, prediction: np.ndarray) -> None:
    counted = reference > 0
    if not counted.any():
        return
    found = scored(reference, prediction)
    # scikit-image counts pairs of two different voxels, the challenge also those of a voxel with itself: of very many
    # voxels in the same shares, both are the same. What it calls precision is over the pairs of the reference.
    table = contingency_table(reference, alone(prediction), ignore_labels=[0], sparse_type="array") * 1e8
    error, split, merge = adapted_rand_error(table=table)
    assert (split, merge) == pytest.approx(tuple(found[:2]), abs=1e-6)
    whole = partition_scores(reference, prediction)
    assert whole is not None
    assert 1 - error == pytest.approx(whole.rand.whole, abs=1e-6)
    # scikit-learn's V-measure is the harmonic mean of what it calls homogeneity and completeness.
    merge, split, together = homogeneity_completeness_v_measure(reference[counted], alone(prediction)[counted])
    assert (split, merge, together) == pytest.approx((*found[2:], whole.info.whole), abs=1e-9)
    # Variation of information: what of either entropy is not shared, by splits and by mergers.
    apart = variation_of_information(reference[counted], alone(prediction)[counted])
    one = np.ones(np.count_nonzero(counted), int)
    entropies = [variation_of_information(one, part[counted])[0] for part in (alone(prediction), reference)]
    assert entropies - apart == pytest.approx(found[2:] * entropies, abs=1e-9)


@given(first=maps.map(lambda label: label + 1), second=maps.map(lambda label: label + 1), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_numbers_do_not_matter_and_splits_seen_from_the_other_side_are_mergers(
    first: np.ndarray, second: np.ndarray, seed: int
) -> None:
    found = scored(first, second)
    assert np.all((found > -1e-12) & (found < 1 + 1e-12))
    renumbered = np.random.default_rng(seed).permutation(np.arange(1, 50))
    assert scored(renumbered[first], renumbered[second] + 7) == pytest.approx(found)
    assert scored(second, first) == pytest.approx(found[[1, 0, 3, 2]])
    assert scored(first, first) == pytest.approx([1, 1, 1, 1])


def test_corners_do_not_connect_regions() -> None:
    drawing = walls([".#.", "#..", "..."])
    assert connected_regions(drawing).max() == 2
    assert connected_regions(np.stack([drawing, ~drawing])).max() == 4
    assert connected_regions(np.stack([drawing, drawing])).max() == 2


def test_thinning_leaves_lines_of_one_voxel_between_regions_and_no_dead_ends() -> None:
    thin = thinned(connected_regions(walls(["..###..", "..###..", "..###.."])))
    assert (thin[:, :3] == 1).all()
    assert (thin[:, 4:] == 2).all()
    assert (thin[:, 3] == 0).all()
    # A boundary that ends in a region parts nothing.
    assert (thinned(connected_regions(walls([".....", ".###.", "....."]))) == 1).all()
    nothing = np.zeros((3, 3), int)
    assert thinned(nothing) is nothing


@pytest.mark.parametrize("shape", [(40, 50), (10, 12, 14)])
def test_thinning_moves_no_voxel_of_a_region_and_merges_none(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(3)
    for _ in range(5):
        regions = connected_regions(generator.random(shape) < 0.55)
        thin = thinned(regions)
        assert (thin[regions > 0] == regions[regions > 0]).all()
        for axis in range(len(shape)):
            near, far = np.moveaxis(thin, axis, 0)[:-1], np.moveaxis(thin, axis, 0)[1:]
            assert ((near == far) | (near == 0) | (far == 0)).all()


def test_broad_boundaries_cost_nothing_and_a_gap_costs_a_merger() -> None:
    reference = np.ones((30, 31), bool)
    reference[:, 15] = False
    broad = reference.copy()
    broad[:, 12:19] = False
    same = region_scores(reference, broad)
    assert same is not None
    assert [same.rand.whole, same.info.whole] == pytest.approx([1, 1])
    broad[7, 12:19] = True
    gap = region_scores(reference, broad)
    assert gap is not None
    # Two halves in one region; that the gap is a pixel among 900 does not matter.
    assert [gap.rand.split, gap.rand.merge, gap.info.split, gap.info.merge] == pytest.approx([1, 1 / 2, 1, 0])


def test_volumes_connect_through_their_slices() -> None:
    # In each slice a wall parts two regions; in the second it has a gap, which merges them in all slices.
    reference = np.ones((3, 10, 11), bool)
    reference[:, :, 5] = False
    prediction = reference.copy()
    prediction[1, 4, 5] = True
    found = region_scores(reference, prediction)
    flat = [region_scores(*pair) for pair in zip(reference, prediction, strict=True)]
    assert found is not None
    assert found.rand.merge == pytest.approx(1 / 2)
    assert [pair.rand.merge for pair in flat if pair] == pytest.approx([1, 1 / 2, 1])
