"""Plans for a time, by a clock that is made up: seconds of a step follow from its voxels and widths."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from autounet.data.description import DatasetDescription
from autounet.fingerprint import Fingerprint
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelSchema
from autounet.launch import timing
from autounet.launch.timing import fit_plan_to_time, with_time
from autounet.planners.default import planner
from autounet.planners.measured import memory_estimate
from autounet.planners.memory import training_cost
from autounet.planners.request import PlanRequest
from autounet.plans import Configuration, Plan, TimePlan
from autounet.progress import SILENT
from autounet.training.config import TrainConfig
from autounet.training.precision import Precision
from autounet.training.time_budget import steps_in_time

CPU = torch.device("cpu")
FLOAT32 = Precision(torch.float32, "test")
DESCRIPTION = DatasetDescription(
    name="Dataset001_Test",
    channel_names=("MR",),
    labels=LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2}, None, "test"),
    file_ending=".nii",
)
MakeFingerprint = Callable[..., Fingerprint]


def seconds_of(configuration: Configuration) -> float:
    voxels = configuration.batch_size * float(np.prod(configuration.patch_size))
    return voxels * configuration.network.features[0] ** 2 * 1e-9


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Configuration]:
    """What was measured, by the clock that is made up."""
    configurations: list[Configuration] = []

    def measure(configuration: Configuration, goal_seconds: float, **inputs: Any) -> float:
        assert (inputs["num_outputs"], inputs["device"]) == (3, CPU)
        configurations.append(configuration)
        return seconds_of(configuration)

    monkeypatch.setattr(timing, "measure_step", measure)
    return configurations


@pytest.fixture
def make(make_fingerprint: MakeFingerprint) -> Callable[..., tuple[Plan, Callable[[PlanRequest], Plan]]]:
    """Plans cases of one shape and spacing; also what plans them anew."""

    def make(
        shape: Shape3, spacing_mm: Triple = (1, 1, 1), memory_gib: float = 4.0, **wishes: Any
    ) -> tuple[Plan, Callable[[PlanRequest], Plan]]:
        fingerprint = make_fingerprint([spacing_mm] * 40, [shape] * 40)
        replan = partial(planner, fingerprint, DESCRIPTION)
        return replan(PlanRequest(memory_gib=memory_gib, **wishes)), replan

    return make


Make = Callable[..., tuple[Plan, Callable[[PlanRequest], Plan]]]


def reasons(plan: Plan) -> dict[str, tuple[str, str]]:
    return {entry.name: (entry.value, entry.reason) for entry in plan.decisions}


def test_without_a_time_epochs_are_counted_and_nothing_is_made_smaller(make: Make) -> None:
    plan, _ = make((40, 48, 48))
    planned = plan.configuration("3d_fullres")
    timed = with_time(plan, planned, TrainConfig(num_epochs=3, steps_per_epoch=7), CPU, FLOAT32)
    assert timed.time is not None
    assert timed.model_copy(update={"time": None, "memory": planned.memory}) == planned
    assert timed.time.num_steps == 21
    assert timed.time.total_seconds == pytest.approx(21 * timed.time.step_seconds)
    assert timed.time.max_seconds is None
    assert timed.time.changes == ()
    assert timed.time.device.startswith("cpu")
    later = timed.time.expected_end - datetime.now().astimezone()
    assert abs(later - timedelta(seconds=timed.time.total_seconds)) < timedelta(seconds=10)


def test_steps_are_counted_where_they_were_asked_for(make: Make) -> None:
    plan, _ = make((40, 48, 48))
    timed = with_time(plan, plan.configuration("3d_fullres"), TrainConfig(num_steps=600), CPU, FLOAT32)
    assert timed.time is not None
    assert timed.time.num_steps == 600


def test_a_short_time_makes_it_smaller_and_memory_follows(make: Make) -> None:
    plan, _ = make((40, 48, 48))
    planned = plan.configuration("3d_fullres")
    sized = with_time(plan, planned, TrainConfig(max_seconds=60), CPU, FLOAT32)
    assert sized.network.features[0] < planned.network.features[0]
    assert sized.time is not None
    assert sized.time.total_seconds == sized.time.max_seconds == 60
    assert sized.time.num_steps == pytest.approx(60 / sized.time.step_seconds, abs=1)
    assert any("features" in change for change in sized.time.changes)
    cost = training_cost(
        sized.network,
        sized.patch_size,
        num_channels=1,
        labels=plan.labels,
        batch_dice=sized.batch_dice,
        half_precision=False,
    )
    assert sized.memory == memory_estimate(cost, sized.batch_size)
    assert planned.memory is not None
    assert sized.memory.total_bytes < planned.memory.total_bytes


def test_sizes_that_were_asked_for_are_kept_whatever_the_time(make: Make) -> None:
    plan, _ = make((40, 48, 48), patch_size=(40, 48, 48), batch_size=6)
    planned, config = plan.configuration("3d_fullres"), TrainConfig.for_clock(5)
    timed = with_time(plan, planned, config, CPU, FLOAT32)
    assert (timed.patch_size, timed.batch_size, timed.network) == ((40, 48, 48), 6, planned.network)
    assert timed.time is not None
    assert timed.time.changes == ()
    assert timed.time.num_steps == steps_in_time(planned, config, timed.time.step_seconds)


def test_a_step_that_would_take_long_is_told_from_a_smaller_one(make: Make, measured: list[Configuration]) -> None:
    plan, _ = make((512, 512, 512), memory_gib=40)
    planned = plan.configuration("3d_fullres")
    with_time(plan, planned, TrainConfig(), CPU, FLOAT32)
    (probe,) = measured
    assert np.prod(probe.patch_size) < np.prod(planned.patch_size)


def test_decisions_tell_what_the_time_changed(make: Make) -> None:
    plan, replan = make((40, 48, 48))
    fitted = fit_plan_to_time(plan, ("3d_fullres",), TrainConfig(max_seconds=60), CPU, FLOAT32, replan, SILENT)
    before, after, sized = reasons(plan), reasons(fitted), fitted.configuration("3d_fullres")
    features = ", ".join(map(str, sized.network.features))
    assert after["3d_fullres.features"][0] == features
    assert after["3d_fullres.features"][1].endswith("then made smaller for the time")
    assert before["3d_fullres.features"][0] in after["3d_fullres.features"][1]
    assert after["3d_fullres.strides"] == before["3d_fullres.strides"]
    assert after["3d_fullres.time"][0].startswith("60 s, ")
    assert sized.time is not None
    assert all(change in after["3d_fullres.time"][1] for change in sized.time.changes)
    names = [entry.name for entry in fitted.decisions]
    assert set(names) - {entry.name for entry in plan.decisions} == {"3d_fullres.time"}
    assert names[names.index("3d_fullres.time") - 1].startswith("3d_fullres.")


def test_only_the_configurations_that_are_meant_are_timed(make: Make, measured: list[Configuration]) -> None:
    plan, replan = make((40, 48, 48))
    fitted = fit_plan_to_time(plan, ("2d",), TrainConfig(max_seconds=60), CPU, FLOAT32, replan, SILENT)
    assert fitted.configuration("2d").time is not None
    assert fitted.configuration("3d_fullres") == plan.configuration("3d_fullres")
    assert {entry.name for entry in measured} == {"2d"}


def test_a_second_stage_stays_without_a_time_and_goes_with_one(make: Make) -> None:
    plan, replan = make((300, 400, 400), memory_gib=2.0)
    assert "3d_cascade_fullres" in plan.configurations
    for config, stays in ((TrainConfig(), True), (TrainConfig.for_clock(60), False)):
        fitted = fit_plan_to_time(plan, tuple(plan.configurations), config, CPU, FLOAT32, replan, SILENT)
        assert ("3d_cascade_fullres" in fitted.configurations) == stays
        assert ("3d_cascade_fullres.previous_stage" in reasons(fitted)) == stays
        assert reasons(fitted)["configurations"][0] == ", ".join(fitted.configurations)
        Plan.parse(fitted.model_dump(mode="json"), "test")


@pytest.mark.parametrize(("shape", "spacing"), [((120, 128, 128), (1.0, 1.0, 1.0)), ((160, 160, 40), (0.8, 0.8, 3.0))])
def test_where_the_patch_that_the_time_affords_sees_too_little_a_low_resolution_is_planned(
    make: Make, shape: Shape3, spacing: Triple
) -> None:
    plan, replan = make(shape, spacing, memory_gib=16.0)
    assert "3d_lowres" not in plan.configurations
    names = tuple(plan.configurations)
    fitted = fit_plan_to_time(plan, names, TrainConfig.for_clock(30), CPU, FLOAT32, replan, SILENT)
    full, low = fitted.configuration("3d_fullres"), fitted.configuration("3d_lowres")
    assert np.prod(full.patch_size) < 0.25 * np.prod(full.median_shape)
    assert np.prod(low.patch_size) >= 0.24 * np.prod(low.median_shape)  # but for the rounding of the shape
    assert low.name == "3d_lowres"
    assert low.time is not None
    assert low.time.max_seconds == 30
    assert not low.fixed_sizes
    # The same field of view, in the plan's order of axes.
    extents = [
        np.multiply(entry.spacing_mm, entry.median_shape) for entry in (low, full, plan.configuration("3d_fullres"))
    ]
    np.testing.assert_allclose(extents[0], extents[1], rtol=0.1)
    np.testing.assert_allclose(extents[1], extents[2], rtol=0.1)
    assert all(coarse >= fine for coarse, fine in zip(low.spacing_mm, full.spacing_mm, strict=True))
    told = reasons(fitted)
    assert "3d_lowres" not in told  # "none" is no longer true
    assert "that the time affords" in told["3d_lowres.spacing_mm"][1]
    assert told["3d_lowres.time"][1].startswith("below ")
    assert len(told) == len(fitted.decisions)
    assert told["configurations"][0] == ", ".join(fitted.configurations)
    Plan.parse(fitted.model_dump(mode="json"), "test")


def test_a_low_resolution_of_hardly_fewer_voxels_is_not_planned(make: Make) -> None:
    plan, replan = make((54, 54, 54), memory_gib=16.0)  # 32^3 are 21 % of it
    names = tuple(plan.configurations)
    fitted = fit_plan_to_time(plan, names, TrainConfig.for_clock(2), CPU, FLOAT32, replan, SILENT)
    assert fitted.configuration("3d_fullres").patch_size == (32, 32, 32)
    assert "3d_lowres" not in fitted.configurations
    value, reason = reasons(fitted)["3d_lowres"]
    assert value == "none"
    assert "covers 20.8" in reason
    assert "too little to gain from" in reason


def test_enough_time_needs_no_low_resolution(make: Make) -> None:
    plan, replan = make((120, 128, 128), memory_gib=16.0)
    names = tuple(plan.configurations)
    fitted = fit_plan_to_time(plan, names, TrainConfig.for_clock(1e9), CPU, FLOAT32, replan, SILENT)
    assert list(fitted.configurations) == list(plan.configurations)
    for name, entry in fitted.configurations.items():
        assert entry.patch_size == plan.configuration(name).patch_size


@pytest.mark.parametrize(("seconds", "end"), [(90.0, "at 13:45"), (3 * 86400.0, "at Fri 06 Mar 13:45")])
def test_the_end_is_told_with_its_day_where_it_is_another(seconds: float, end: str) -> None:
    time = TimePlan(
        step_seconds=0.25,
        num_steps=360,
        total_seconds=seconds,
        device="cpu, 2 threads",
        expected_end=datetime(2026, 3, 6, 13, 45),
    )
    told = time.summary
    assert told.startswith("0.25 s a step on cpu, 2 threads; about 360 steps in ")
    assert end in told
