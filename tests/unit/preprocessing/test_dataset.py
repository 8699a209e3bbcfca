"""Many cases: only what is missing or changed is prepared, each case read once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autounet.data.dataset import RawDataset
from autounet.data.io import read_image, read_label
from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.plans import Plan
from autounet.preprocessing import dataset as module
from autounet.preprocessing.case import prepare_case
from autounet.preprocessing.dataset import PreparedCount, class_locations, prepare_dataset, recipe, store_for

MakePlan = Callable[..., Plan]
Cases = dict[str, tuple[np.ndarray, np.ndarray]]

IGNORING = LabelSchema.from_dataset_json(
    {"background": 0, "whole": [1, 2], "core": 2, "absent": 3, "ignore": 4}, [1, 2, 3], "test"
)


def cases_named(*names: str, high: float = 200) -> Cases:
    generator = np.random.default_rng(0)
    return {name: (generator.uniform(1, high, (1, 4, 10, 12)), generator.integers(0, 3, (4, 10, 12))) for name in names}


@pytest.fixture
def dataset(write_dataset: Callable[..., RawDataset]) -> RawDataset:
    return write_dataset(cases_named("a", "b", "c"), spacing_mm=(2, 1, 1))


@pytest.fixture
def read_cases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that are read from now on."""
    names: list[str] = []

    def noting(paths: tuple[Path, ...], num_channels: int | None = None) -> object:
        names.append(paths[0].name)
        return read_image(paths, num_channels)

    monkeypatch.setattr(module, "read_image", noting)
    return names


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_every_location_has_its_class(seed: int) -> None:
    label = np.random.default_rng(seed).integers(-1, 5, (3, 4, 5)).astype(np.int16)
    label[label == 3] = 1
    found = class_locations(label, IGNORING)
    for locations, values in zip(found.per_class, ((1, 2), (2,), (3,)), strict=True):
        assert locations.dtype == np.int32
        assert {tuple(voxel) for voxel in locations} == {tuple(voxel) for voxel in np.argwhere(np.isin(label, values))}
    assert found.annotated is not None
    annotated = np.argwhere((label >= 0) & (label != 4))
    assert {tuple(voxel) for voxel in found.annotated} == {tuple(voxel) for voxel in annotated}


def test_a_large_class_is_thinned_out_the_same_way_each_time() -> None:
    labels = LabelSchema.from_dataset_json({"background": 0, "organ": 1}, None, "test")
    label = np.zeros((12, 100, 100), dtype=np.int16)
    label[1:] = 1
    (locations,) = class_locations(label, labels).per_class
    assert locations.shape == (10_000, 3)
    assert len(np.unique(locations, axis=0)) == 10_000
    assert locations[:, 0].min() == 1
    np.testing.assert_array_equal(locations, class_locations(label, labels).per_class[0])
    assert class_locations(label, labels).annotated is None


def test_one_voxel_in_a_hundred_of_a_huge_class_is_kept() -> None:
    labels = LabelSchema.from_dataset_json({"background": 0, "organ": 1}, None, "test")
    (locations,) = class_locations(np.ones((11, 320, 320), dtype=np.int16), labels).per_class
    assert len(locations) == 11_264  # 1,126,400 / 100, more than 10,000


def test_all_configurations_are_prepared_from_one_reading(
    dataset: RawDataset, make_plan: MakePlan, read_cases: list[str], tmp_path: Path
) -> None:
    plan = make_plan(spacing_mm=(1, 1, 1))
    both = list(plan.configurations.values())
    counts = prepare_dataset(dataset, plan, both, tmp_path / "out")
    assert counts == {"2d": PreparedCount(3, 0), "3d_fullres": PreparedCount(3, 0)}
    assert sorted(read_cases) == ["a_0000.nii", "b_0000.nii", "c_0000.nii"]
    assert store_for(tmp_path / "out", plan, both[0]).image("a").shape == (1, 4, 10, 12)
    assert store_for(tmp_path / "out", plan, both[1]).image("a").shape == (1, 8, 10, 12)


def test_what_is_stored_is_what_was_prepared(dataset: RawDataset, make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan(spacing_mm=(1, 1.2, 1))
    configuration = plan.configuration("3d_fullres")
    prepare_dataset(dataset, plan, [configuration], tmp_path / "out")
    case = dataset.cases[1]
    assert case.label is not None
    expected = prepare_case(read_image(case.images), read_label(case.label)[0], plan, configuration)
    store = store_for(tmp_path / "out", plan, configuration)
    np.testing.assert_allclose(store.image("b")[:], expected.image, atol=2e-3)
    assert expected.label is not None
    np.testing.assert_array_equal(store.label("b")[0], expected.label)
    assert store.record("b").properties == expected.properties
    for index, locations in enumerate(store.locations("b").per_class):
        assert len(locations) > 0
        np.testing.assert_array_equal(expected.label[tuple(locations.T)], index + 1)


def test_a_second_run_has_nothing_to_do(
    dataset: RawDataset, make_plan: MakePlan, read_cases: list[str], tmp_path: Path
) -> None:
    plan = make_plan()
    configurations = [plan.configuration("3d_fullres")]
    prepare_dataset(dataset, plan, configurations, tmp_path / "out")
    read_cases.clear()
    assert prepare_dataset(dataset, plan, configurations, tmp_path / "out") == {"3d_fullres": PreparedCount(0, 3)}
    assert read_cases == []


def test_only_what_is_missing_is_prepared(
    dataset: RawDataset, make_plan: MakePlan, read_cases: list[str], tmp_path: Path
) -> None:
    plan = make_plan()
    both = list(plan.configurations.values())
    prepare_dataset(dataset, plan, [both[1]], tmp_path / "out")
    (store_for(tmp_path / "out", plan, both[1]).folder / "b.json").unlink()
    read_cases.clear()
    counts = prepare_dataset(dataset, plan, both, tmp_path / "out")
    assert counts == {"2d": PreparedCount(3, 0), "3d_fullres": PreparedCount(1, 2)}
    assert sorted(read_cases) == ["a_0000.nii", "b_0000.nii", "c_0000.nii"]


@pytest.mark.parametrize("part", ["imagesTr/b_0000.nii", "labelsTr/b.nii"])
def test_a_case_is_prepared_again_when_a_raw_file_changed(
    part: str, dataset: RawDataset, make_plan: MakePlan, read_cases: list[str], tmp_path: Path
) -> None:
    plan = make_plan()
    configurations = [plan.configuration("2d")]
    prepare_dataset(dataset, plan, configurations, tmp_path / "out")
    read_cases.clear()
    changed = dataset.folder / part
    later = changed.stat().st_mtime_ns + 1_000_000
    os.utime(changed, ns=(later, later))
    assert prepare_dataset(dataset, plan, configurations, tmp_path / "out") == {"2d": PreparedCount(1, 2)}
    assert read_cases == ["b_0000.nii"]


def test_a_recipe_follows_what_the_plan_does_to_a_case_and_nothing_else(
    dataset: RawDataset, make_plan: MakePlan
) -> None:
    def of(plan: Plan, name: str = "3d_fullres") -> str:
        return recipe(dataset.cases[0], plan, plan.configuration(name))

    first = make_plan()
    assert of(first) == of(make_plan())
    assert of(first) == of(first.model_copy(update={"decisions": (), "median_shape": (1.0, 1.0, 1.0)}))
    assert recipe(dataset.cases[1], first, first.configuration("2d")) != of(first, "2d")
    others = (
        make_plan(spacing_mm=(1, 1, 1.1)),
        make_plan(normalizations=("ct",)),
        make_plan(use_mask=True),
        make_plan(transpose_forward=(2, 0, 1)),
        make_plan(labels=IGNORING),
    )
    assert len({of(first), *map(of, others)}) == 1 + len(others)


def test_configurations_that_ask_for_the_same_share_a_store_that_is_filled_once(
    dataset: RawDataset, make_plan: MakePlan, read_cases: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(spacing_mm=(1, 1.2, 1))
    full = plan.configuration("3d_fullres")
    # What training does with a case does not make it another one.
    small = full.model_copy(update={"name": "mine", "patch_size": (4, 4, 4), "batch_size": 7})
    prepared: list[str] = []

    def noting(*arguments: Any) -> object:
        prepared.append(arguments[-1].name)
        return prepare_case(*arguments)

    monkeypatch.setattr(module, "prepare_case", noting)
    counts = prepare_dataset(dataset, plan, [full, small], tmp_path / "out")
    assert counts == {"3d_fullres": PreparedCount(3, 0), "mine": PreparedCount(3, 0)}
    assert len(prepared) == len(read_cases) == 3
    assert len(list((tmp_path / "out").iterdir())) == 1
    stores = [store_for(tmp_path / "out", plan, entry) for entry in (full, small)]
    assert stores[0].folder == stores[1].folder
    assert prepare_dataset(dataset, plan, [small], tmp_path / "out") == {"mine": PreparedCount(0, 3)}


def test_planners_share_stores_as_far_as_they_agree(make_plan: MakePlan, tmp_path: Path) -> None:
    def folder(plan: Plan, name: str = "3d_fullres") -> str:
        return store_for(tmp_path, plan, plan.configuration(name)).folder.name

    first = make_plan(spacing_mm=(1, 1.25, 0.5))
    assert folder(first) == folder(first.model_copy(update={"planner": "other", "memory_gib": 80.0, "decisions": ()}))
    assert folder(first).startswith("prepared_3d_1x1.25x0.5mm_")
    assert folder(first, "2d").startswith("prepared_2d_1.25x0.5mm_")
    others = (
        make_plan(spacing_mm=(1, 1.25, 0.50001)),  # the same to three digits
        make_plan(spacing_mm=(1, 1.25, 0.5), normalizations=("ct",)),
        make_plan(spacing_mm=(1, 1.25, 0.5), transpose_forward=(2, 0, 1)),
        make_plan(spacing_mm=(1, 1.25, 0.5), labels=IGNORING),
    )
    assert len({folder(first), *map(folder, others)}) == 1 + len(others)


def test_workers_prepare_the_same_as_one_process(dataset: RawDataset, make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan(spacing_mm=(1, 1.2, 1))
    configuration = plan.configuration("3d_fullres")
    for jobs in (1, 2):
        counts = prepare_dataset(dataset, plan, [configuration], tmp_path / str(jobs), jobs=jobs)
        assert counts == {"3d_fullres": PreparedCount(3, 0)}
    one, two = (store_for(tmp_path / str(jobs), plan, configuration) for jobs in (1, 2))
    for name in ("a", "b", "c"):
        np.testing.assert_array_equal(one.image(name)[:], two.image(name)[:])
        np.testing.assert_array_equal(one.label(name)[:], two.label(name)[:])
        assert one.record(name) == two.record(name)


def test_a_case_that_does_not_fit_the_plan_is_named(
    write_dataset: Callable[..., RawDataset], make_plan: MakePlan, tmp_path: Path
) -> None:
    dataset = write_dataset({**cases_named("good"), **cases_named("too_bright", high=900)})
    plan = make_plan(normalizations=("rgb_to_0_1",))
    with pytest.raises(RequestError, match="case too_bright: channel 'c0' is declared rgb_to_0_1"):
        prepare_dataset(dataset, plan, [plan.configuration("2d")], tmp_path / "out")


def test_a_prepared_case_keeps_which_classes_were_annotated(
    dataset: RawDataset, make_plan: MakePlan, tmp_path: Path
) -> None:
    plan = make_plan(spacing_mm=(2, 1, 1))
    full, out = plan.configuration("3d_fullres"), tmp_path / "out"
    prepare_dataset(dataset, plan, [full], out)
    assert store_for(out, plan, full).record("b").annotated is None
    b = dataset.cases[1].model_copy(update={"annotated": ("tumour",)})
    changed = dataset.model_copy(update={"cases": (dataset.cases[0], b, dataset.cases[2])})
    assert prepare_dataset(changed, plan, [full], out) == {"3d_fullres": PreparedCount(1, 2)}
    assert store_for(out, plan, full).record("b").annotated == (1,)
    assert prepare_dataset(changed, plan, [full], out) == {"3d_fullres": PreparedCount(0, 3)}
