"""What every planner must hold, whatever its rules: a planner added to `PLANNERS` is tested here as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autounet.data.description import DatasetDescription
from autounet.fingerprint import Fingerprint
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelClass, LabelSchema
from autounet.planners import PLANNERS
from autounet.planners.request import PlanRequest
from autounet.plans import IntensityStatistics, Plan

STATISTICS = IntensityStatistics(
    mean=40, std=20, minimum=-1000, maximum=3000, percentile_00_5=-50, median=38, percentile_99_5=160
)
# Voxel size and shape of a dataset's cases.
DATASETS: dict[str, tuple[tuple[Triple, Shape3], ...]] = {
    "isotropic": (((1, 1, 1), (36, 50, 35)), ((1, 1, 1), (40, 47, 34))),
    "anisotropic": (((5, 0.8, 0.8), (30, 400, 400)), ((3, 0.7, 0.7), (48, 512, 512))),
    "turned": (((0.8, 0.8, 3), (512, 512, 60)),),
    "mixed": (((1, 1, 1), (200, 200, 200)), ((6, 0.5, 0.5), (20, 640, 640)), ((2, 2, 2), (90, 90, 90))),
    "tiny": (((1, 1, 1), (3, 4, 5)),),
    "images": (((1, 1, 1), (1, 512, 700)), ((1, 1, 1), (1, 256, 320))),
}
WORTH_A_DECISION = ("spacing_mm", "median_shape", "patch_size", "strides", "kernel_sizes", "features", "batch_size")


DESCRIPTION = DatasetDescription(
    name="Dataset001_Test",
    channel_names=("CT", "PET"),
    labels=LabelSchema(
        classes=(LabelClass(name="liver", values=(1,)), LabelClass(name="tumour", values=(2,))), ignore_value=3
    ),
    file_ending=".nii.gz",
)
Planning = Callable[..., Plan]


@pytest.fixture
def planned(planner: str, dataset: str, make_fingerprint: Callable[..., Fingerprint]) -> Planning:
    """Plans the dataset anew at each call, for this memory."""
    cases = DATASETS[dataset] * 12
    evidence = make_fingerprint(
        [spacing for spacing, _ in cases],
        [shape for _, shape in cases],
        num_channels=2,
        relative_size_after_crop=0.6,
        statistics=STATISTICS,
    )

    def plan(memory_gib: float = 8.0) -> Plan:
        return PLANNERS.find(planner)(evidence, DESCRIPTION, PlanRequest(memory_gib=memory_gib))

    return plan


@pytest.fixture(params=sorted(PLANNERS))
def planner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=sorted(DATASETS))
def dataset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_same_evidence_gives_the_same_plan(planned: Planning) -> None:
    assert planned() == planned()


def test_a_plan_survives_the_disk(planned: Planning) -> None:
    made = planned()
    assert Plan.parse(made.model_dump(mode="json"), "memory") == made


def test_the_plan_says_who_made_it_and_for_what(planner: str, planned: Planning) -> None:
    made = planned()
    assert made.planner == planner
    assert made.dataset_name == "Dataset001_Test"
    assert [channel.name for channel in made.channels] == ["CT", "PET"]
    assert sorted(made.transpose_forward) == [0, 1, 2]
    assert all(name == configuration.name for name, configuration in made.configurations.items())


def test_patches_are_divisible_by_the_strides(planned: Planning) -> None:
    for configuration in planned().configurations.values():
        sizes = zip(configuration.patch_size, configuration.network.divisor, strict=True)
        assert all(size >= factor and size % factor == 0 for size, factor in sizes)


def test_networks_have_one_entry_a_stage_and_an_axis(planned: Planning) -> None:
    for configuration in planned().configurations.values():
        network = configuration.network
        num_axes = len(configuration.patch_size)
        assert len(configuration.spacing_mm) == len(configuration.median_shape) == num_axes
        assert network.strides[0] == (1,) * num_axes
        assert {len(stage) for stage in (*network.strides, *network.kernel_sizes)} == {num_axes}
        assert all(size % 2 == 1 for kernel in network.kernel_sizes for size in kernel)


def test_batches_hold_two_or_more(planned: Planning) -> None:
    assert all(entry.batch_size >= 2 for entry in planned().configurations.values())


def test_every_value_has_a_decision_with_a_reason(planned: Planning) -> None:
    made = planned()
    names = [decision.name for decision in made.decisions]
    assert len(names) == len(set(names))
    assert all(decision.value and decision.reason for decision in made.decisions)
    for name, configuration in made.configurations.items():
        own = ("previous_stage",) if configuration.inherits_from else WORTH_A_DECISION
        assert {f"{name}.{key}" for key in own} <= set(names)


def test_images_are_planned_in_2d_and_volumes_in_3d_too(dataset: str, planned: Planning) -> None:
    dimensions = {entry.num_spatial_dims for entry in planned().configurations.values()}
    assert dimensions == ({2} if dataset == "images" else {2, 3})


def test_more_memory_never_gives_less_work_a_step(planned: Planning) -> None:
    small, large = (planned(memory_gib).configurations for memory_gib in (8.0, 24.0))
    # With more memory a cascade may not be needed any more, and its grid is another one.
    for name, configuration in small.items():
        if name not in ("2d", "3d_fullres"):
            continue
        assert _voxels_a_step(large[name].patch_size, large[name].batch_size) >= _voxels_a_step(
            configuration.patch_size, configuration.batch_size
        )


def _voxels_a_step(patch_size: tuple[int, ...], batch_size: int) -> int:
    voxels = batch_size
    for size in patch_size:
        voxels *= size
    return voxels
