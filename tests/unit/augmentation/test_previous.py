"""Changes of an earlier stage's map: worked out by hand, and against SciPy's and scikit-image's morphology."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label as components_of
from skimage.morphology import ball

from autounet.augmentation import POLICIES, workers
from autounet.augmentation.backends import choose_backend
from autounet.augmentation.patches import Augmentation
from autounet.augmentation.policies import CASCADE, NNUNET, NONE
from autounet.augmentation.previous import (
    Morphology,
    PreviousChanges,
    PreviousParameters,
    Removal,
    apply_previous,
    draw_previous,
    morphed,
    without_component,
)
from autounet.errors import RequestError
from autounet.laterality import Mirroring


def blobs(seed: int, shape: tuple[int, ...] = (18, 20, 22)) -> np.ndarray:
    """A mask of several blobs, some of them cut by the ends of the patch."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2, mode="constant")
    return np.asarray(noise > np.quantile(noise, 0.85))


@pytest.mark.parametrize("radius", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_morphology_is_scipys_with_a_ball(radius: int, seed: int) -> None:
    mask, footprint = blobs(seed), ball(radius).astype(bool)
    dilated = ndimage.binary_dilation(mask, footprint)
    eroded = ndimage.binary_erosion(mask, footprint, border_value=1)
    expected = {
        "dilate": dilated,
        "erode": eroded,
        "close": ndimage.binary_erosion(dilated, footprint, border_value=1),
        "open": ndimage.binary_dilation(eroded, footprint),
    }
    for operation, result in expected.items():
        np.testing.assert_array_equal(morphed(mask, operation, radius), result, err_msg=operation)  # type: ignore[arg-type]


def test_empty_and_full_masks_stay_as_they_are() -> None:
    for mask in (np.zeros((5, 6, 7), dtype=bool), np.ones((5, 6, 7), dtype=bool)):
        for operation in ("dilate", "erode", "close", "open"):
            np.testing.assert_array_equal(morphed(mask, operation, 3), mask)


def test_a_line_by_hand() -> None:
    """Dilated by 2, class 1 takes two voxels from background and one of class 2; eroded by 1, class 2 leaves gaps."""
    maps = np.array([[0, 0, 1, 0, 0, 2, 2, 2, 0]], dtype=np.int16)
    grown = PreviousParameters((1, 2), (Morphology(0, 1, "dilate", 3),))
    channels = apply_previous(grown, maps.copy())
    assert channels.dtype == np.float32
    assert channels.tolist() == [[[1, 1, 1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1, 0]]]
    worn = PreviousParameters((1, 2), (Morphology(0, 2, "erode", 1), Morphology(0, 1, "dilate", 1)))
    assert apply_previous(worn, maps.copy()).tolist() == [[[0, 1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 0, 0]]]


def test_one_hot_is_of_the_values_and_not_of_the_outside() -> None:
    maps = np.array([[[-1, 0], [5, 2]], [[2, 2], [0, 9]]], dtype=np.int16)
    channels = apply_previous(PreviousParameters((2, 5), ()), maps)
    assert channels.tolist() == [[[[0, 0], [0, 1]], [[0, 0], [1, 0]]], [[[1, 1], [0, 0]], [[0, 0], [0, 0]]]]


def test_components_below_the_share_are_lost_one_at_a_time() -> None:
    """Of components of 1, 2 and 4 voxels in 20, two are below 15 %; the pick goes over them in their order."""
    line = np.array([1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], dtype=bool)
    for pick, lost in ((0.0, [0]), (0.49, [0]), (0.5, [2, 3]), (0.999, [2, 3])):
        expected = line.copy()
        expected[lost] = False
        np.testing.assert_array_equal(without_component(line, 0.15 * 20, pick), expected)
    np.testing.assert_array_equal(without_component(line, 1, 0.5), line)  # fewer than one voxel: none
    maps = line[None].astype(np.int16) * 3
    removed = apply_previous(PreviousParameters((3,), (Removal(0, 3, 0.15, 0.6),)), maps)
    assert removed[0, 0].sum() == line.sum() - 2


@pytest.mark.parametrize("seed", range(3))
def test_what_is_lost_is_a_component_of_scikit_image(seed: int) -> None:
    mask = blobs(seed, (14, 15, 16))
    components = components_of(mask, connectivity=3)
    sizes = np.bincount(components.ravel())
    limit = 0.05 * mask.size
    lost = mask & ~without_component(mask, limit, 0.7)
    (number,) = set(components[lost].tolist())
    assert lost.sum() == sizes[number] < limit


def test_how_often_and_how_much() -> None:
    """nnU-Net's figures: 0.4 and 0.2 of the samples, half of the labels, every operation and radius alike."""
    num_samples = 20_000
    drawn = draw_previous(CASCADE, (1, 2, 3), np.random.default_rng(0), num_samples)
    grown = [change for change in drawn.changes if isinstance(change, Morphology)]
    lost = [change for change in drawn.changes if isinstance(change, Removal)]
    for changes, probability in ((grown, 0.4), (lost, 0.2)):
        # A sample whose three labels all escaped is not seen: 1 in 8.
        assert len({change.sample for change in changes}) / num_samples == pytest.approx(probability * 7 / 8, abs=0.015)
        for value in (1, 2, 3):
            share = sum(change.value == value for change in changes) / num_samples
            assert share == pytest.approx(probability / 2, abs=0.015)
    radii = np.bincount([change.radius for change in grown], minlength=9)
    assert radii[0] == 0
    assert radii[1:] / len(grown) == pytest.approx(np.full(8, 1 / 8), abs=0.015)
    operations = np.unique([change.operation for change in grown], return_counts=True)[1]
    assert operations / len(grown) == pytest.approx(np.full(4, 1 / 4), abs=0.015)
    assert {change.share for change in lost} == {0.15}
    assert np.mean([change.pick for change in lost]) == pytest.approx(0.5, abs=0.02)
    first = [change.value for change in grown if change.sample == grown[0].sample]
    assert len(first) == len(set(first))


def test_the_first_value_to_be_changed_is_any() -> None:
    always = PreviousChanges(p_morphology=1, p_morphology_label=1)
    drawn = draw_previous(always, (4, 7), np.random.default_rng(0), 400)
    firsts = [change.value for change in drawn.changes[::2]]
    assert 150 < firsts.count(4) < 250


def test_a_policy_without_changes_makes_none() -> None:
    assert draw_previous(NONE.previous, (1, 2), np.random.default_rng(0), 100).changes == ()
    assert POLICIES.find("da5").previous.p_morphology_label == 1
    assert POLICIES.find("light").previous == CASCADE


def test_the_map_moves_with_the_label_and_its_sides_are_exchanged() -> None:
    """A label handed in twice comes out twice: moved, turned, mirrored, its sides exchanged."""
    generator = np.random.default_rng(3)
    size = (8, 9, 10)
    augmentation = Augmentation.of(replace(NNUNET, previous=PreviousChanges(), intensity=()), size)
    mirrors = Mirroring(axes=(0, 1, 2), side_axis=2, pairs=((1, 2),))
    augmentation = replace(augmentation.with_mirroring(mirrors), previous_values=(1, 2, 3))
    parameters = augmentation.draw(generator, 12, 1)
    assert 0 < parameters.spatial.swapped.sum() < 12
    assert parameters.spatial.interpolated.any()
    region = parameters.spatial.region_size
    label = generator.integers(-1, 4, (12, 1, *region)).astype(np.int16)
    image = np.zeros((12, 1, *region), dtype=np.float32)
    new_image, new_label = workers.apply(parameters, image, np.concatenate([label, label], axis=1))
    assert new_image.shape == (12, 4, *size)
    np.testing.assert_array_equal(new_label[:, 0], new_label[:, 1])
    for channel, value in enumerate((1, 2, 3), start=1):
        np.testing.assert_array_equal(new_image[:, channel], new_label[:, 0] == value)


def test_a_draw_without_an_earlier_stage_is_as_it_was() -> None:
    """The map's changes are drawn last, so that no other run's batches depend on there being such a thing."""
    alone = Augmentation.of(NNUNET, (8, 8, 8))
    both = replace(alone, previous_values=(1, 2))
    first, second = (entry.draw(np.random.default_rng(5), 4, 1) for entry in (alone, both))
    assert first.previous is None
    assert second.previous is not None
    np.testing.assert_array_equal(first.spatial.matrix, second.spatial.matrix)
    assert len(first.intensity) == len(second.intensity)


def test_cascades_are_augmented_beside_the_training() -> None:
    for kind in ("cuda", "cpu", "mps"):
        assert not choose_backend("auto", kind, is_cascade=True).on_device
    with pytest.raises(RequestError, match="second stage of a cascade"):
        choose_backend("device", "cuda", is_cascade=True)
