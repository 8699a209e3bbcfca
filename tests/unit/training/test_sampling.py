"""Patches: where they are cut, that foreground is in them, and that a batch depends on its step alone."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autounet.augmentation import POLICIES, workers
from autounet.augmentation.intensity import Brightness
from autounet.augmentation.patches import Augmentation
from autounet.augmentation.policies import LIGHT, NNUNET, NONE, Policy
from autounet.augmentation.spatial import Spatial
from autounet.errors import RunError
from autounet.labels import LabelClass, LabelSchema
from autounet.losses.label_maps import SignedDistances
from autounet.preprocessing.previous import PreviousStage
from autounet.preprocessing.store import PreparedStore
from autounet.training.sampling import BatchStream, CaseCache, PatchBatch, PatchSampler, cut_box, cut_mirrored

LARGE = 2**30
# Has a margin for turning, which then practically never comes.
HARDLY_TURNED = Policy(spatial=Spatial(p_rotation=1e-12))
SaveCase = Callable[..., None]


def sampler_of(
    store: PreparedStore,
    patch: tuple[int, ...] = (8, 8, 8),
    *,
    names: tuple[str, ...] = ("a", "b", "c"),
    batch_size: int = 2,
    share: float = 0.33,
    seed: int = 0,
) -> PatchSampler:
    return PatchSampler(CaseCache(store, names, LARGE), Augmentation.of(NONE, patch), batch_size, share, seed)


def same(first: PatchBatch, second: PatchBatch) -> bool:
    return np.array_equal(first.image, second.image) and np.array_equal(first.label, second.label)


def test_cut_box_inside_across_and_outside() -> None:
    array = np.arange(12).reshape(1, 3, 4, 1)
    assert cut_box(array, (1, 1, 0), (2, 2, 1), -1)[0, :, :, 0].tolist() == [[5, 6], [9, 10]]
    assert cut_box(array, (-1, 2, 0), (2, 3, 1), -1)[0, :, :, 0].tolist() == [[-1, -1, -1], [2, 3, -1]]
    assert cut_box(array, (2, 3, -1), (2, 2, 3), 7)[0, :, :, 1].tolist() == [[11, 7], [7, 7]]
    for start in ((5, 0, 0), (-4, 0, 0), (0, 0, 9)):
        assert (cut_box(array, start, (2, 2, 1), -1) == -1).all()
    assert cut_box(array.astype(np.int8), (0, 0, 0), (1, 1, 1), -1).dtype == np.int8


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(-9, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_cut_box_is_a_slice_of_the_array_with_a_wide_margin(
    start: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    array = np.random.default_rng(0).integers(0, 9, (2, 4, 3, 5))
    wide = np.pad(array, [(0, 0), *[(20, 20)] * 3], constant_values=-1)
    place = tuple(slice(20 + first, 20 + first + extent) for first, extent in zip(start, size, strict=True))
    assert np.array_equal(cut_box(array, start, size, -1), wide[(slice(None), *place)])


def test_a_batch_depends_on_its_seed_and_step_alone(store: PreparedStore) -> None:
    cases = CaseCache(store, ("a", "b", "c"), LARGE)
    for policy in POLICIES.values():
        sampler = PatchSampler(cases, Augmentation.of(policy, (8, 8, 8)), 2, 0.33, seed=1)
        forwards = [sampler.batch(step) for step in range(4)]
        backwards = [sampler.batch(step) for step in reversed(range(4))][::-1]
        assert all(same(first, second) for first, second in zip(forwards, backwards, strict=True))
        assert not any(same(first, second) for first, second in itertools.combinations(forwards, 2))
        other = PatchSampler(cases, Augmentation.of(policy, (8, 8, 8)), 2, 0.33, seed=2)
        assert not same(forwards[0], other.batch(0))


def test_maps_are_those_of_the_label_map_that_comes_out(store: PreparedStore) -> None:
    labels = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))
    maps = SignedDistances(labels, (1.0, 1.0, 1.0))
    cases = CaseCache(store, ("a", "b", "c"), LARGE)
    sampler = PatchSampler(cases, Augmentation.of(LIGHT, (8, 6, 4)), 2, 1.0, 0, maps)
    batch = pickle.loads(pickle.dumps(sampler)).batch(0)  # as it travels to a worker
    assert batch.maps is not None
    assert batch.maps.shape == (2, 2, 8, 6, 4)
    assert np.array_equal(batch.maps, maps(batch.label))
    assert np.array_equal(batch.maps[:, 0] < 0, batch.label == 1)
    assert PatchSampler(cases, Augmentation.of(LIGHT, (8, 6, 4)), 2, 1.0, 0).batch(0).maps is None


def test_a_batch_is_as_large_as_asked_for(store: PreparedStore) -> None:
    batch = PatchSampler(CaseCache(store, ("a",), LARGE), Augmentation.of(LIGHT, (8, 6, 4)), 3, 0.33, 0).batch(0)
    assert batch.image.shape == (3, 1, 8, 6, 4)
    assert batch.label.shape == (3, 8, 6, 4)
    assert batch.image.dtype == np.float32
    assert batch.label.dtype == np.int16


@pytest.mark.parametrize(
    ("batch_size", "share", "num_forced"),
    # nnU-Net: of two the second, of nine the last three, of twelve the last four.
    [(2, 0.33, 1), (9, 0.33, 3), (12, 0.33, 4), (4, 0.0, 0), (4, 1.0, 4), (4, 0.5, 2)],
)
def test_the_end_of_a_batch_is_forced(store: PreparedStore, batch_size: int, share: float, num_forced: int) -> None:
    sampler = sampler_of(store, batch_size=batch_size, share=share)
    forced = [sampler._is_forced(index) for index in range(batch_size)]
    assert forced == [False] * (batch_size - num_forced) + [True] * num_forced


@pytest.mark.parametrize("patch", [(3, 3, 3), (2, 5, 4), (20, 3, 3), (1, 1, 1), (3, 3), (4, 30)])
def test_a_forced_patch_shows_a_class(store: PreparedStore, patch: tuple[int, ...]) -> None:
    sampler = sampler_of(store, patch, batch_size=3, share=1.0)
    seen = set()
    for step in range(30):
        label = sampler.batch(step).label
        assert (label > 0).reshape(3, -1).any(axis=1).all()
        seen |= set(np.unique(label).tolist())
    assert seen == {0, 1, 2} or seen == {1, 2}


@pytest.mark.parametrize("patch", [(3, 3, 3), (4, 3, 2), (20, 3, 3)])
def test_a_forced_patch_shows_a_class_after_the_margin_for_turning_is_gone(
    store: PreparedStore, patch: tuple[int, ...]
) -> None:
    augmentation = Augmentation.of(HARDLY_TURNED, patch)
    assert augmentation.initial_patch_size != patch
    sampler = PatchSampler(CaseCache(store, ("a", "b", "c"), LARGE), augmentation, 2, 1.0, 0)
    for step in range(40):
        assert (sampler.batch(step).label > 0).reshape(2, -1).any(axis=1).all()


def test_classes_are_drawn_evenly_however_rare(tmp_path: Path, save: SaveCase) -> None:
    store = PreparedStore(tmp_path, (1, 1, 1))
    label = np.ones((8, 8, 8))
    label[4, 4, 4] = 2
    save(store, "case", label[None], label)
    sampler = sampler_of(store, (1, 1, 1), names=("case",), batch_size=20, share=1.0)
    labels = np.concatenate([sampler.batch(step).label.ravel() for step in range(10)])
    assert 60 < (labels == 2).sum() < 140
    assert (labels == 0).sum() == 0


def test_all_places_are_sampled_and_none_outside(tmp_path: Path, save: SaveCase) -> None:
    store = PreparedStore(tmp_path, (2, 2, 2))
    image = np.arange(1, 3 * 4 * 5 + 1).reshape(1, 3, 4, 5)
    save(store, "case", image, np.ones(image.shape[1:]))
    sampler = sampler_of(store, (2, 2, 2), names=("case",), batch_size=4, share=0.0)
    batches = [sampler.batch(step) for step in range(60)]
    corners = {int(value) for batch in batches for value in batch.image[:, 0, 0, 0, 0]}
    assert corners == {int(value) for value in image[0, :-1, :-1, :-1].ravel()}
    assert all((batch.image > 0).all() for batch in batches)


@pytest.mark.parametrize("patch", [(2, 2, 2), (3, 3, 3), (2, 3, 4)])
def test_all_places_are_sampled_where_a_margin_for_turning_is_cut_too(
    tmp_path: Path, save: SaveCase, patch: tuple[int, int, int]
) -> None:
    store = PreparedStore(tmp_path, patch)
    image = np.arange(1, 5 * 6 * 7 + 1).reshape(1, 5, 6, 7)
    save(store, "case", image, np.ones(image.shape[1:]))
    augmentation = Augmentation.of(HARDLY_TURNED, patch)
    margins = [outer - inner for outer, inner in zip(augmentation.initial_patch_size, patch, strict=True)]
    assert any(margin % 2 for margin in margins)
    sampler = PatchSampler(CaseCache(store, ("case",), LARGE), augmentation, 8, 0.0, 0)
    seen = {int(value) for step in range(60) for value in np.unique(sampler.batch(step).image)}
    assert set(range(1, 5 * 6 * 7 + 1)) <= seen


def test_an_image_smaller_than_the_patch_lies_in_its_middle(tmp_path: Path, save: SaveCase) -> None:
    store = PreparedStore(tmp_path, (8, 8, 8))
    save(store, "case", np.ones((1, 2, 4, 3)), np.full((2, 4, 3), 2))
    sampler = sampler_of(store, names=("case",), share=0.5)
    for step in range(4):
        for label in sampler.batch(step).label:
            places = np.argwhere(label == 2)
            assert places.min(axis=0).tolist()[:2] == [3, 2]
            assert places.max(axis=0).tolist()[:2] == [4, 5]
            assert places[:, 2].min() in (2, 3)  # 5 missing voxels: 2 on one side, 3 on the other
            assert len(places) == 24


def test_a_2d_patch_is_a_slice_of_the_volume(store: PreparedStore) -> None:
    sampler = sampler_of(store, (6, 5), names=("a",), batch_size=4)
    volume = np.asarray(store.image("a")[:], dtype=np.float32)[0]
    windows = np.lib.stride_tricks.sliding_window_view(volume, (6, 5), axis=(1, 2))
    for step in range(3):
        batch = sampler.batch(step)
        assert batch.image.shape == (4, 1, 6, 5)
        for patch in batch.image[:, 0]:
            assert (windows == patch).all(axis=(-2, -1)).any()


def test_random_patches_are_centred_on_annotated_voxels(tmp_path: Path, save: SaveCase) -> None:
    labels = LabelSchema(classes=(LabelClass(name="a", values=(1,)),), ignore_value=2)
    label = np.full((16, 16, 16), 2)
    label[3, 3:6, 3] = 0
    store = PreparedStore(tmp_path, (3, 3, 3))
    save(store, "case", np.zeros((1, 16, 16, 16)), label, labels)
    for share in (0.0, 1.0):  # no class to force: annotated all the same
        sampler = sampler_of(store, (3, 3, 3), names=("case",), share=share)
        for step in range(20):
            assert (sampler.batch(step).label[:, 1, 1, 1] == 0).all()


def test_a_case_without_foreground_is_sampled_anywhere(tmp_path: Path, save: SaveCase) -> None:
    store = PreparedStore(tmp_path, (2, 2, 2))
    save(store, "case", np.random.default_rng(0).random((1, 9, 9, 9)), np.zeros((9, 9, 9)))
    sampler = sampler_of(store, (2, 2, 2), names=("case",), share=1.0)
    assert len({float(sampler.batch(step).image[0, 0, 0, 0, 0]) for step in range(20)}) > 10


def test_memory_and_memory_map_give_the_same_batches(store: PreparedStore) -> None:
    batches = []
    for max_bytes in (0, LARGE):
        cases = CaseCache(store, ("a", "b"), max_bytes)
        assert isinstance(cases.image("a"), np.ndarray) == (max_bytes > 0)
        batches.append(PatchSampler(cases, Augmentation.of(LIGHT, (8, 8, 8)), 2, 0.33, 0).batch(3))
    assert same(*batches)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_stream_gives_the_batches_in_order_from_the_step_asked_for(store: PreparedStore, num_workers: int) -> None:
    cases = CaseCache(store, ("a", "b", "c"), LARGE)
    sampler = PatchSampler(cases, Augmentation.of(NNUNET, (8, 8, 8)), 2, 0.33, 5)
    stream = BatchStream(sampler, 3, num_workers)
    try:
        found = [next(stream) for _ in range(5)]
    finally:
        stream.close()
    assert all(same(batch, sampler.batch(3 + index)) for index, batch in enumerate(found))


@dataclass(frozen=True)
class FailingSampler(PatchSampler):
    """Fails at step 2, or takes its whole process down."""

    dies: bool = False

    def batch(self, step: int) -> PatchBatch:
        if step == 2 and self.dies:
            os._exit(9)
        if step == 2:
            raise OSError("disk gone")
        return super().batch(step)


def test_an_error_while_reading_reaches_the_trainer_at_its_step(store: PreparedStore) -> None:
    cases = CaseCache(store, ("a",), LARGE)
    stream = BatchStream(FailingSampler(cases, Augmentation.of(NONE, (4, 4, 4)), 1, 0.0, 0), 0, 0)
    try:
        next(stream)
        next(stream)
        with pytest.raises(RunError, match=r"step 2 could not be made of a: OSError: disk gone") as caught:
            next(stream)
        assert isinstance(caught.value.__cause__, OSError)
    finally:
        stream.close()


class OddError(Exception):
    """Cannot be sent between processes: made of two arguments, remembered as one."""

    def __init__(self, case: str, what: str) -> None:
        super().__init__(f"{case}: {what}")


@dataclass(frozen=True)
class OddSampler(PatchSampler):
    """Fails with what does not survive the way out of a process."""

    def batch(self, step: int) -> PatchBatch:
        raise OddError("b", "chunk 3 of the file is damaged")


def test_an_error_in_a_process_brings_its_cases_and_its_own_traceback(store: PreparedStore) -> None:
    cases = CaseCache(store, ("b", "c"), LARGE)
    sampler = OddSampler(cases, Augmentation.of(NONE, (4, 4, 4)), 8, 0.0, 0)
    stream = BatchStream(sampler, 7, 1)
    try:
        with pytest.raises(RunError) as caught:
            next(stream)
    finally:
        stream.close()
    message = str(caught.value)
    assert "step 7 could not be made of b, c: OddError: b: chunk 3 of the file is damaged" in message
    assert "--resume" in message
    assert "\n" not in message
    shown = "".join(traceback.format_exception(caught.value))  # what --debug prints
    assert 'raise OddError("b", "chunk 3 of the file is damaged")' in shown
    assert "_batch_of_held_sampler" in shown


def test_the_cases_of_a_step_are_known_without_reading_an_image(store: PreparedStore) -> None:
    cases = CaseCache(store, ("a", "b", "c"), LARGE)
    sampler = PatchSampler(cases, Augmentation.of(NONE, (4, 4, 4)), 6, 0.5, 3)
    read: list[str] = []

    class Watching(CaseCache):
        def image(self, name: str) -> Any:
            read.append(name)
            return super().image(name)

    watched = replace(sampler, cases=Watching(store, ("a", "b", "c"), LARGE))
    names = [watched.case_names(step) for step in range(3)]
    assert read == []
    assert len(set(names)) > 1
    for step in range(3):
        watched.batch(step)
    assert [tuple(read[6 * step : 6 * step + 6]) for step in range(3)] == names


def test_a_worker_that_was_killed_is_told_with_a_way_out(store: PreparedStore) -> None:
    cases = CaseCache(store, ("a",), LARGE)
    stream = BatchStream(FailingSampler(cases, Augmentation.of(NONE, (4, 4, 4)), 1, 0.0, 0, dies=True), 0, 1)
    try:
        with pytest.raises(RunError, match="killed"):
            for _ in range(4):
                next(stream)
    finally:
        stream.close()


def test_closing_a_stream_ends_its_thread(store: PreparedStore) -> None:
    stream = BatchStream(sampler_of(store), 0, 0)
    next(stream)
    stream.close()
    with pytest.raises(RuntimeError):
        next(stream), next(stream), next(stream), next(stream)


def test_a_batch_tells_which_classes_were_annotated_in_the_case_of_each_patch(tmp_path: Path, save: SaveCase) -> None:
    store = PreparedStore(tmp_path, (2, 2, 2))
    for name, value, annotated in (("a", 1, (1,)), ("b", 2, None)):
        save(store, name, np.full((1, 4, 4, 4), value), np.zeros((4, 4, 4)), annotated=annotated)
    sampler = sampler_of(store, (2, 2, 2), names=("a", "b"), batch_size=6)
    batches = [sampler.batch(step) for step in range(5)]
    assert any(len(np.unique(batch.image)) == 2 for batch in batches)
    for batch in batches:
        assert batch.annotated is not None
        expected = [[False, True] if image.max() == 1 else [True, True] for image in batch.image]
        assert batch.annotated.tolist() == expected
    assert sampler_of(store, (2, 2, 2), names=("b",)).batch(0).annotated is None
    mapped = copy.copy(sampler.cases).annotated(["a"])  # by what lets it travel to a worker
    assert mapped is not None
    assert mapped.tolist() == [[False, True]]


def test_a_class_that_was_not_annotated_is_never_asked_for(tmp_path: Path, save: SaveCase) -> None:
    store = PreparedStore(tmp_path, (1, 1, 1))
    label = np.ones((6, 6, 6))
    label[3] = 2
    save(store, "case", label[None], label, annotated=(0,))
    sampler = sampler_of(store, (1, 1, 1), names=("case",), batch_size=10, share=1.0)
    assert all((sampler.batch(step).label == 1).all() for step in range(10))


@pytest.mark.parametrize("patch", [(8, 6, 4), (12, 12, 12), (8, 6)])
@pytest.mark.parametrize("policy", ["light", "none", "unet2015"])
def test_left_to_the_device_a_batch_holds_what_is_needed_and_no_more(
    store: PreparedStore, patch: tuple[int, ...], policy: str
) -> None:
    augmentation = Augmentation.of(POLICIES[policy], patch)
    here = PatchSampler(CaseCache(store, ("a", "b", "c"), LARGE), augmentation, 3, 0.33, 4)
    there = dataclasses.replace(here, on_device=True)
    for step in range(6):
        batch = there.batch(step)
        assert batch.pending is not None
        assert batch.image.shape[2:] == batch.label.shape[1:] == batch.pending.spatial.region_size
        if not batch.pending.spatial.interpolated.any():
            assert batch.image.shape[2:] == patch
        image, label = workers.apply(batch.pending, batch.image, batch.label[:, None])
        assert np.array_equal(image, here.batch(step).image)
        assert np.array_equal(label[:, 0], here.batch(step).label)
        assert here.batch(step).pending is None


def test_unchanged_patches_are_those_that_the_batch_changes(store: PreparedStore) -> None:
    policy = Policy(spatial=Spatial(p_rotation=1e-12), intensity=(Brightness(p=1, factor=(0.5, 2)),), mirrors=False)
    sampler = PatchSampler(CaseCache(store, ("a", "b"), LARGE), Augmentation.of(policy, (6, 6, 6)), 3, 0.33, 1)
    before, after = sampler.unchanged(2), sampler.batch(2)
    assert np.array_equal(before.label, after.label)
    ratio = after.image / np.where(before.image == 0, np.nan, before.image)
    for sample in ratio:
        assert np.nanmax(sample) == pytest.approx(np.nanmin(sample), rel=1e-5)
        assert np.nanmax(sample) != pytest.approx(1.0)


@pytest.mark.parametrize("max_bytes", [LARGE, 0])
def test_what_an_earlier_stage_found_is_cut_where_the_label_is(store: PreparedStore, max_bytes: int) -> None:
    """Handed the label itself, each patch comes with its own label as further channels; in a worker too."""
    names = ("a", "b", "c")
    paths = {name: store.folder / "previous" / f"{name}.b2nd" for name in names}
    for name, path in paths.items():
        store.write_label(path, store.label(name)[:][0].astype(np.int16))
    labels = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))
    previous = PreviousStage(store, "low", labels, masks={}, paths=paths)
    policy = replace(NNUNET, intensity=(), previous=NONE.previous)
    augmentation = replace(Augmentation.of(policy, (8, 8, 8)), previous_values=labels.foreground_values)
    sampler = PatchSampler(CaseCache(store, names, max_bytes, previous), augmentation, 4, 0.5, 0)
    alone = PatchSampler(CaseCache(store, names, LARGE), replace(augmentation, previous_values=()), 4, 0.5, 0)
    for step in range(4):
        batch, plain = sampler.batch(step), alone.batch(step)
        assert batch.image.shape == (4, 3, 8, 8, 8)
        np.testing.assert_array_equal(batch.image[:, :1], plain.image)
        np.testing.assert_array_equal(batch.label, plain.label)
        np.testing.assert_array_equal(batch.image[:, 1], batch.label == 1)
        np.testing.assert_array_equal(batch.image[:, 2], batch.label == 2)
    travelled = pickle.loads(pickle.dumps(sampler))
    assert same(travelled.batch(3), sampler.batch(3))


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(-9, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_what_lies_outside_is_the_mirror_image(start: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    array = np.random.default_rng(0).integers(0, 9, (2, 4, 3, 5))
    wide = np.pad(array, [(0, 0), *[(20, 20)] * 3], mode="reflect")
    place = tuple(slice(20 + first, 20 + first + extent) for first, extent in zip(start, size, strict=True))
    assert np.array_equal(cut_mirrored(array, start, size), wide[(slice(None), *place)])


def test_windows_of_valid_convolutions_are_drawn_for_what_is_told(store: PreparedStore) -> None:
    cases = CaseCache(store, ("a", "b", "c"), LARGE)
    plain = PatchSampler(cases, Augmentation.of(NONE, (8, 8, 8)), 2, 0.5, seed=3)
    valid = PatchSampler(cases, Augmentation.of(NONE, (14, 16, 12)), 2, 0.5, seed=3, halo=(3, 4, 2))
    for step in range(4):
        told, seen = plain.batch(step), valid.batch(step)
        assert seen.image.shape[2:] == (14, 16, 12)
        inside = (..., slice(3, -3), slice(4, -4), slice(2, -2))
        # As without a halo, but for what lies outside the image.
        within = told.image != 0
        assert np.array_equal(seen.image[inside][within], told.image[within])
        assert within.mean() > 0.5
