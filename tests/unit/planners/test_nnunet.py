"""nnU-Net's plans: worked examples, a plan that nnU-Net itself wrote, and random datasets."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelSchema
from autounet.planners.budget import FeatureMapBudget
from autounet.planners.nnunet import planner as plan
from autounet.planners.request import PlanRequest
from autounet.planners.topology import Topology
from autounet.plans import Configuration, IntensityStatistics, Plan

REAL_MODEL = Path(__file__).resolve().parents[4] / "shared" / "models" / "nnunet_hippocampus"
STATISTICS = IntensityStatistics(mean=0, std=1, minimum=-3, maximum=3, percentile_00_5=-2, median=0, percentile_99_5=2)


def fingerprint(
    spacings: Sequence[Triple], shapes: Sequence[Shape3], relative_size: float = 1.0, num_channels: int = 1
) -> Fingerprint:
    intensities = (STATISTICS,) * num_channels
    return Fingerprint.of_sizes("Dataset001_Test", spacings, shapes, intensities, relative_size)


def description(
    num_labels: int = 3, channels: tuple[str, ...] = ("MRI",), labels: dict[str, int | list[int]] | None = None
) -> DatasetDescription:
    """`num_labels` counts the background."""
    if labels is None:
        labels = {"background": 0, **{f"class {value}": value for value in range(1, num_labels)}}
    return DatasetDescription(
        name="Dataset001_Test",
        channel_names=channels,
        labels=LabelSchema.from_dataset_json(labels, [1, 2] if "whole" in labels else None, "dataset.json"),
        file_ending=".nii.gz",
    )


def plan_equal_cases(spacing: Triple, shape: Shape3, num_cases: int, num_labels: int, **wishes: Any) -> Plan:
    evidence = fingerprint([spacing] * num_cases, [shape] * num_cases)
    return plan(evidence, description(num_labels), PlanRequest.parse(wishes, "the request"))


def patch_and_batch(configuration: Configuration) -> tuple[tuple[int, ...], int]:
    return configuration.patch_size, configuration.batch_size


# Name, spacing, median shape, cases, labels with background; patch and batch in 3D and in 2D.
WORKED = [
    ("hippocampus", (1, 1, 1), (36, 50, 35), 260, 3, ((40, 56, 40), 9), ((56, 40), 366)),
    ("hippocampus, 220 cases", (1, 1, 1), (36, 50, 35), 220, 3, ((40, 56, 40), 8), ((56, 40), 309)),
    ("brats", (1, 1, 1), (138, 170, 138), 484, 4, ((128, 128, 128), 2), ((192, 160), 105)),
    ("acdc", (5, 1.5625, 1.5625), (18, 237, 208), 200, 4, ((20, 256, 224), 4), ((256, 224), 56)),
    ("lits", (1, 0.767, 0.767), (482, 512, 512), 131, 3, ((128, 128, 128), 2), ((512, 512), 12)),
    ("amos", (2, 0.68, 0.68), (238, 590, 590), 360, 16, ((64, 192, 160), 2), ((640, 640), 8)),
    ("prostate", (3.6, 0.62, 0.62), (20, 320, 319), 32, 3, ((20, 320, 256), 2), ((320, 320), 32)),
]


@pytest.mark.parametrize(
    ("spacing", "shape", "num_cases", "num_labels", "expected_3d", "expected_2d"),
    [example[1:] for example in WORKED],
    ids=[example[0] for example in WORKED],
)
def test_worked_examples_of_nnunet(
    spacing: Triple,
    shape: Shape3,
    num_cases: int,
    num_labels: int,
    expected_3d: tuple[tuple[int, ...], int],
    expected_2d: tuple[tuple[int, ...], int],
) -> None:
    started = time.perf_counter()
    result = plan_equal_cases(spacing, shape, num_cases, num_labels)
    assert time.perf_counter() - started < 0.5
    assert patch_and_batch(result.configurations["3d_fullres"]) == expected_3d
    assert patch_and_batch(result.configurations["2d"]) == expected_2d
    assert result.configurations["2d"].batch_dice
    # Pooled beside a cascade only.
    assert result.configurations["3d_fullres"].batch_dice == ("3d_lowres" in result.configurations)


@pytest.mark.skipif(not REAL_MODEL.exists(), reason="needs the model that nnU-Net trained")
def test_the_plan_that_nnunet_wrote_for_hippocampus() -> None:
    theirs = json.loads((REAL_MODEL / "plans.json").read_text())
    measured = json.loads((REAL_MODEL / "dataset_fingerprint.json").read_text())
    shapes = [tuple(shape) for shape in measured["shapes_after_crop"]]
    spacings = [tuple(spacing) for spacing in measured["spacings"]]
    ours = plan(fingerprint(spacings, shapes), description(num_labels=3))
    assert list(ours.transpose_forward) == theirs["transpose_forward"]
    assert set(ours.configurations) == set(theirs["configurations"])
    for name, expected in theirs["configurations"].items():
        configuration = ours.configurations[name].model_dump(mode="json")
        architecture = expected["architecture"]["arch_kwargs"]
        for key in ("batch_size", "patch_size", "spacing_mm", "median_shape", "batch_dice"):
            other = {"spacing_mm": "spacing", "median_shape": "median_image_size_in_voxels"}.get(key, key)
            assert configuration[key] == expected[other], f"{name}: {key}"
        network = configuration["network"]
        assert network["strides"] == architecture["strides"]
        assert network["kernel_sizes"] == architecture["kernel_sizes"]
        assert network["features"] == architecture["features_per_stage"]
        assert network["num_convs_encoder"] == architecture["n_conv_per_stage"]
        assert network["num_convs_decoder"] == architecture["n_conv_per_stage_decoder"]


def test_every_planned_value_has_a_reason() -> None:
    result = plan_equal_cases((6.7, 1, 1), (30, 256, 256), 20, 3)
    names = [decision.name for decision in result.decisions]
    keys = ("spacing_mm", "median_shape", "patch_size", "strides", "kernel_sizes", "features", "num_convs")
    expected = ["dimensions", "target_spacing_mm", "transpose_forward", "median_shape"]
    expected += ["normalization of channel 0 (MRI)", "use_mask of channel 0 (MRI)", "configurations"]
    for name in ("2d", "3d_fullres"):
        expected += [f"{name}.{key}" for key in (*keys, "batch_size", "batch_dice")]
    assert names == [*expected, "3d_lowres"]
    sentences = {decision.name: decision.reason for decision in result.decisions}
    assert "axis z is 6.7 times coarser than y, so it is not pooled until stage 4" in sentences["3d_fullres.strides"]


def test_images_of_one_slice_are_planned_in_2d_only() -> None:
    result = plan_equal_cases((1, 1, 1), (1, 512, 512), 24, 2)
    assert list(result.configurations) == ["2d"]
    assert result.transpose_forward == (0, 1, 2)
    assert patch_and_batch(result.configurations["2d"]) == ((512, 512), 2)
    assert result.decisions[0].value == "2D"
    with pytest.raises(RequestError, match="holds 2D images"):
        result.configuration("3d_fullres")


def test_pixels_finer_across_than_within_do_not_turn_a_2d_dataset() -> None:
    result = plan_equal_cases((1, 4, 4), (1, 300, 200), 50, 2)
    assert result.transpose_forward == (0, 1, 2)
    assert result.configurations["2d"].spacing_mm == (4, 4)


def test_volumes_whose_coarse_axis_has_one_slice_are_planned_in_2d() -> None:
    result = plan_equal_cases((1, 5, 1), (200, 1, 180), 10, 2)
    assert result.transpose_forward == (1, 0, 2)
    assert list(result.configurations) == ["2d"]
    assert result.configurations["2d"].median_shape == (200, 180)


def test_axes_are_turned_so_that_the_coarsest_is_first() -> None:
    result = plan_equal_cases((1.5625, 1.5625, 5), (237, 208, 18), 200, 4)
    assert result.transpose_forward == (2, 0, 1)
    assert result.transpose_backward == (1, 2, 0)
    assert result.median_spacing_mm == (5, 1.5625, 1.5625)
    assert result.configurations["3d_fullres"].patch_size == (20, 256, 224)
    strides = {decision.name: decision.reason for decision in result.decisions}["3d_fullres.strides"]
    assert "axis x is 3.2 times coarser than z" in strides


def test_a_requested_spacing_decides_all_shapes() -> None:
    result = plan_equal_cases((1, 1, 1), (100, 100, 100), 20, 2, spacing_mm=(2.0, 2.0, 4.0))
    assert result.transpose_forward == (2, 0, 1)
    assert result.configurations["3d_fullres"].median_shape == (25, 50, 50)


def test_more_memory_gives_no_smaller_patch_and_batch() -> None:
    sizes = []
    for memory_gib in (4.0, 8.0, 16.0, 40.0):
        configuration = plan_equal_cases((1, 0.8, 0.8), (400, 512, 512), 100, 3, memory_gib=memory_gib)
        patch, batch = patch_and_batch(configuration.configurations["3d_fullres"])
        sizes.append(math.prod(patch) * batch)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_a_patch_too_large_for_the_memory_is_told() -> None:
    result = plan_equal_cases((1, 1, 1), (64, 64, 64), 20, 2, memory_gib=1e-7)
    sentences = {decision.name: decision.reason for decision in result.decisions}
    assert "no axis can be shortened any further, so it may not fit" in sentences["3d_fullres.patch_size"]
    assert "but no batch is smaller than 2" in sentences["3d_fullres.batch_size"]


def test_labels_are_counted_with_background_regions_and_ignore() -> None:
    # Two regions, background and ignore are four maps; the sentences cite the size that follows.
    labels: dict[str, int | list[int]] = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    given_regions = plan(fingerprint([(1, 1, 1)] * 99, [(1, 1024, 1024)] * 99), description(labels=labels))
    four_labels = plan(fingerprint([(1, 1, 1)] * 99, [(1, 1024, 1024)] * 99), description(num_labels=4))
    assert given_regions.configurations == four_labels.configurations
    assert given_regions.decisions == four_labels.decisions


def test_channels_take_their_normalisation_and_statistics() -> None:
    evidence = fingerprint([(1, 1, 1)] * 5, [(50, 50, 50)] * 5, relative_size=0.5, num_channels=2)
    result = plan(evidence, description(channels=("CT", "T2")))
    assert [channel.normalization for channel in result.channels] == ["ct", "zscore"]
    assert [channel.use_mask for channel in result.channels] == [False, True]
    assert result.channels[0].statistics == STATISTICS


@pytest.mark.parametrize("memory_gib", [0.0, -1.0, math.nan])
def test_memory_must_be_positive(memory_gib: float) -> None:
    with pytest.raises(RequestError, match="'memory_gib': Input should be"):
        plan_equal_cases((1, 1, 1), (36, 50, 35), 5, 3, memory_gib=memory_gib)


def test_a_requested_spacing_must_be_positive() -> None:
    with pytest.raises(RequestError, match="spacing_mm must be three positive numbers"):
        plan_equal_cases((1, 1, 1), (36, 50, 35), 5, 3, spacing_mm=(1.0, 0.0, 1.0))


def test_no_case_is_refused() -> None:
    with pytest.raises(RequestError, match="no training cases"):
        plan(fingerprint([], []), description())


def test_channels_of_another_dataset_json_are_refused() -> None:
    with pytest.raises(RequestError, match=r"measured 1 channel, .*names 2: CT, PET.*fingerprint again"):
        plan(fingerprint([(1, 1, 1)], [(9, 9, 9)]), description(channels=("CT", "PET")))


# Spacings that differ by up to 400, shapes from one voxel, and cases that differ among each other.
millimetre = st.floats(min_value=0.05, max_value=20, allow_nan=False)
edge = st.integers(min_value=1, max_value=1000)


@st.composite
def datasets(draw: st.DrawFn) -> Fingerprint:
    kinds = draw(
        st.lists(
            st.tuples(st.tuples(millimetre, millimetre, millimetre), st.tuples(edge, edge, edge)),
            min_size=1,
            max_size=4,
        )
    )
    num_cases = draw(st.integers(min_value=2, max_value=200))
    chosen = [kinds[index % len(kinds)] for index in range(num_cases)]
    return fingerprint([spacing for spacing, _ in chosen], [shape for _, shape in chosen])


@settings(max_examples=60, deadline=None)
@given(evidence=datasets(), num_labels=st.integers(min_value=2, max_value=20), memory_gib=st.floats(0.1, 80))
def test_any_dataset_is_planned_within_its_budget(evidence: Fingerprint, num_labels: int, memory_gib: float) -> None:
    result = plan(evidence, description(num_labels), PlanRequest(memory_gib=memory_gib))
    assert all(decision.reason for decision in result.decisions)
    budget = FeatureMapBudget(num_labels, memory_gib)
    for configuration in result.configurations.values():
        network = configuration.network
        assert all(size % factor == 0 for size, factor in zip(configuration.patch_size, network.divisor, strict=True))
        assert min(configuration.patch_size) >= 1
        assert configuration.batch_size >= 2
        topology = Topology(configuration.patch_size, network.strides, network.kernel_sizes)
        assert configuration.batch_size <= budget.held(topology) or configuration.batch_size == 2
