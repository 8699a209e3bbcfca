"""Sizing to the clock, with a clock that is made up: seconds follow from a configuration's arithmetic."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autounet.network_plan import NetworkPlan
from autounet.plans import Configuration
from autounet.training import time_budget
from autounet.training.config import TrainConfig
from autounet.training.precision import Precision
from autounet.training.time_budget import ENOUGH_STEPS, Sizing, measure_step, size_to_clock, with_patch


def configuration_of(
    patch: tuple[int, ...] = (96, 160, 160), batch_size: int = 4, width: int = 32, num_stages: int = 4
) -> Configuration:
    dims = len(patch)
    return Configuration(
        name="3d_fullres" if dims == 3 else "2d",
        spacing_mm=(1.0,) * dims,
        median_shape=tuple(map(float, patch)),
        patch_size=patch,
        batch_size=batch_size,
        batch_dice=False,
        network=NetworkPlan(
            name="plain",
            features=tuple(width * 2**stage for stage in range(num_stages)),
            kernel_sizes=((3,) * dims,) * num_stages,
            strides=((1,) * dims, *((2,) * dims,) * (num_stages - 1)),
            num_convs_encoder=(2,) * num_stages,
            num_convs_decoder=(2,) * (num_stages - 1),
        ),
    )


def arithmetic(configuration: Configuration) -> float:
    width = configuration.network.features[0]
    return float(configuration.batch_size * np.prod(configuration.patch_size) * width**2)


def sized(
    configuration: Configuration, speedup: float, *, keep_network: bool = False
) -> tuple[Sizing, list[Configuration]]:
    """Size to a time in which the plan would take `speedup` times too long; also what was measured."""
    measured = []

    def measure(candidate: Configuration, goal: float) -> float:
        assert goal > 0
        measured.append(candidate)
        return arithmetic(candidate) / arithmetic(configuration)

    config = TrainConfig(max_seconds=ENOUGH_STEPS * 1.15 / speedup)
    return size_to_clock(configuration, config, measure, arithmetic, keep_network=keep_network), measured


def what(sizing: Sizing) -> tuple[int, int, tuple[int, ...]]:
    chosen = sizing.configuration
    return chosen.batch_size, chosen.network.features[0], chosen.patch_size


def test_a_plan_that_is_fast_enough_is_kept() -> None:
    configuration = configuration_of()
    sizing, measured = sized(configuration, 1.0)
    assert sizing.configuration == configuration
    assert sizing.changes == ()
    assert measured[1:] == [configuration]  # after the smallest
    assert sizing.step_seconds >= 1.0


def test_first_the_batch_then_the_width_then_the_patch_and_the_width_last() -> None:
    configuration = configuration_of()
    whole = (96, 160, 160)
    # The batch of 4 goes to 2 (twice as fast), the width to a half (four times), the patch edge by edge.
    assert what(sized(configuration, 1.9)[0]) == (2, 32, whole)
    assert what(sized(configuration, 7.9)[0]) == (2, 16, whole)
    assert what(sized(configuration, 13)[0]) == (2, 16, (80, 128, 128))
    assert what(sized(configuration, 24)[0]) == (2, 16, (64, 104, 104))
    assert what(sized(configuration, 60)[0]) == (2, 16, (48, 80, 80))
    assert what(sized(configuration, 1000)[0]) == (2, 8, (48, 80, 80))


@pytest.mark.parametrize(
    ("name", "planned", "half", "least"),
    [
        ("swin_unet", (96, 96, 192, 384, 768), (64, 64, 128, 256, 512), (32, 32, 64, 128, 256)),
        ("swin_unetr", (48, 48, 96, 192, 384), (32, 32, 64, 128, 256), (16, 16, 32, 64, 128)),
        ("plain", (32, 64, 128, 256, 320), (16, 32, 64, 128, 160), (8, 16, 32, 64, 80)),
    ],
)
def test_a_network_of_heads_is_narrowed_to_what_they_take(
    name: str, planned: tuple[int, ...], half: tuple[int, ...], least: tuple[int, ...]
) -> None:
    configuration = configuration_of((512, 512), batch_size=2, num_stages=5)
    network = configuration.network.model_copy(update={"name": name, "features": planned})
    configuration = configuration.model_copy(update={"network": network})
    assert sized(configuration, 2.2)[0].configuration.network.features == half
    assert sized(configuration, 10_000)[0].configuration.network.features == least


def test_every_change_is_told() -> None:
    sizing, _ = sized(configuration_of(), 60)
    assert len(sizing.changes) == 3
    assert sizing.changes[0].startswith("batch size 4 -> 2")
    assert "(96, 160, 160) -> (48, 80, 80)" in sizing.changes[2]


def test_no_more_steps_are_promised_than_fit() -> None:
    """It said "at least 1800 steps fit the time" above a line that foretold 741."""
    sizing, _ = sized(configuration_of(), 10_000)
    assert sizing.num_steps < ENOUGH_STEPS
    assert sizing.changes
    assert all(change.endswith("so that more steps fit the time (1800 are enough)") for change in sizing.changes)


def test_hopeless_candidates_are_not_measured() -> None:
    sizing, measured = sized(configuration_of(), 10_000)
    assert set(map(arithmetic, measured)) == {arithmetic(sizing.configuration)}  # a step of the plan might take hours


@pytest.mark.parametrize("speedup", [1, 10, 1000])
def test_a_plan_that_is_small_already_is_kept_at_the_limits(speedup: float) -> None:
    smallest = configuration_of((32, 32, 32), batch_size=2, width=8)
    assert sized(smallest, speedup)[0].configuration == smallest


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 3).flatmap(lambda dims: st.tuples(*[st.integers(1, 14)] * dims)),
    st.integers(1, 12),
    st.sampled_from([8, 12, 16, 24, 32]),
    st.floats(0.1, 1e5),
)
def test_whatever_the_time_the_result_is_a_sound_configuration_no_larger_than_planned(
    multiples: tuple[int, ...], batch_size: int, width: int, speedup: float
) -> None:
    configuration = configuration_of(tuple(8 * edge for edge in multiples), batch_size, width)
    sizing, _ = sized(configuration, speedup)
    chosen = sizing.configuration
    Configuration.model_validate(chosen.model_dump())  # the patch is divisible by the network's strides
    assert all(edge <= planned for edge, planned in zip(chosen.patch_size, configuration.patch_size, strict=True))
    smallest = 128**2 if len(multiples) == 2 else 32**3
    assert math.prod(chosen.patch_size) >= min(smallest, math.prod(configuration.patch_size))
    assert min(2, batch_size) <= chosen.batch_size <= batch_size
    assert 8 <= chosen.network.features[0] <= width
    assert bool(sizing.changes) == (chosen != configuration)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 1e4), st.floats(1, 10))
def test_less_time_never_gives_a_larger_network(speedup: float, factor: float) -> None:
    configuration = configuration_of()
    more, less = sized(configuration, speedup)[0], sized(configuration, speedup * factor)[0]
    assert arithmetic(less.configuration) <= arithmetic(more.configuration)


@pytest.mark.parametrize("speedup", [0.1, 10, 1e5])
def test_a_network_that_is_kept_loses_batch_and_patch_only(speedup: float) -> None:
    planned = configuration_of()
    chosen = sized(planned, speedup, keep_network=True)[0].configuration
    assert chosen.network == planned.network
    if speedup == 1e5:
        assert (chosen.batch_size, chosen.patch_size) == (2, with_patch(planned, 0.5))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1.0, (40, 56, 48)), (0.8, (32, 48, 40)), (0.5, (24, 32, 24)), (0.01, (16, 16, 16))],
)
def test_a_smaller_patch_is_rounded_up_to_what_the_network_takes(factor: float, expected: tuple[int, ...]) -> None:
    assert with_patch(configuration_of((40, 56, 48)), factor) == expected


def timed(goal: float = 0.0) -> float:
    return measure_step(
        configuration_of((8, 8, 8), 1, width=4, num_stages=2),
        goal,
        config=TrainConfig(),
        num_channels=2,
        num_outputs=3,
        device=torch.device("cpu"),
        precision=Precision(torch.float32, "test"),
    )


def test_a_step_is_measured_in_seconds() -> None:
    assert 0 < timed() < 5
    assert 0 < timed(goal=1e9) < 5


def test_a_step_is_measured_with_the_update_of_the_runs_own_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Muon's can take longer than forward and backward: a run was foretold 1,013 steps and made 342."""

    class Slow(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            time.sleep(0.05)

    monkeypatch.setattr(time_budget, "make_optimizer", lambda network, config: Slow(network.parameters(), 0.1))
    assert timed() > 0.05
