"""Number formats and devices."""

from __future__ import annotations

import pytest
import torch

from autounet.errors import RequestError
from autounet.network_plan import NetworkPlan
from autounet.networks.choice import NetworkChoice
from autounet.planners.network import network_of_strides
from autounet.training.config import PrecisionName
from autounet.training.device import choose_device
from autounet.training.precision import Precision, _probe_cpu, choose_precision, precision_for

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_format_that_is_asked_for_is_taken(name: PrecisionName) -> None:
    precision = choose_precision(name, CPU)
    assert precision.dtype == getattr(torch, name)
    assert precision.reason == "asked for"


def test_the_format_of_a_cpu_is_measured_and_the_reason_told() -> None:
    num_threads = torch.get_num_threads()
    precision = choose_precision("auto", CPU)
    assert torch.get_num_threads() == num_threads, "it is measured on one"
    assert precision.dtype in (torch.float32, torch.bfloat16)
    assert "times the time of float32" in precision.reason


@pytest.mark.parametrize(
    ("slower", "runs", "expected"),
    [(60, 4, torch.float32), (9, 16, torch.float32), (1, 16, torch.float32), (0.5, 16, torch.bfloat16)],
)
def test_a_format_that_is_hopelessly_slow_is_timed_on_small_maps_only(
    slower: float, runs: int, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, sizes = 0.0, []

    class Convolution(torch.nn.Module):
        """Takes a second for every voxel in float32."""

        def __init__(self, *_: int, **__: int) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal now
            sizes.append(x[0, 0].numel())
            now += sizes[-1] * (slower if torch.is_autocast_enabled("cpu") else 1)
            return x * self.weight

    monkeypatch.setattr("autounet.training.precision.nn.Conv3d", Convolution)
    monkeypatch.setattr("autounet.training.precision.time.perf_counter", lambda: now)
    _probe_cpu.cache_clear()
    try:
        precision = choose_precision("auto", CPU)
        assert precision.dtype == expected
        assert f"takes {slower:.2f} times the time of float32" in precision.reason
        assert sizes == [8**3] * 4 + [16**3] * (runs - 4)
        assert choose_precision("auto", CPU) is precision, "measured once"
    finally:
        _probe_cpu.cache_clear()


def test_autocast_computes_in_the_format() -> None:
    layer, x = torch.nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2)
    with choose_precision("bfloat16", CPU).autocast(CPU):
        assert layer(x).dtype == torch.bfloat16
    with choose_precision("float32", CPU).autocast(CPU):
        assert layer(x).dtype == torch.float32


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["banana", "cuda:99", "meta"])
def test_a_device_that_cannot_compute_here_is_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(RequestError, match=f"device '{name}' cannot be used here: .*--device auto"):
        choose_device(name)


def network_of(name: str) -> NetworkPlan:
    return network_of_strides(NetworkChoice.of(name), ((1, 1), (2, 2)), base_features=4, flat_stages=False)


@pytest.mark.parametrize(
    ("name", "device", "is_asked", "expected"),
    [
        ("plain", "cpu", False, torch.bfloat16),
        ("mednext", "cpu", False, torch.float32),  # slower in bfloat16
        ("mednext", "cpu", True, torch.bfloat16),
        ("mednext", "cuda", False, torch.bfloat16),
    ],
)
def test_convolutions_of_single_channels_stay_in_float32_on_a_cpu(
    name: str, device: str, is_asked: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = Precision(torch.bfloat16, "test", is_asked)
    monkeypatch.setattr("autounet.training.precision.choose_precision", lambda *_: fast)
    assert precision_for(network_of(name), "auto", torch.device(device)).dtype == expected
