"""Which number format a device is fast in: measured once, chosen, and the reason told."""

from __future__ import annotations

import functools
import math
import time
from dataclasses import dataclass

import torch
from torch import nn

from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.training.config import FormatName, PrecisionName

# Half precision must win by this much: it costs some exactness, so a draw goes to float32.
_REQUIRED_SPEEDUP = 1.2
_PROBE_CHANNELS, _PROBE_EDGE, _PROBE_RUNS = 32, 16, 6
_TRIAL_EDGE, _TRIAL_RUNS = 8, 2
# So many times as long as float32 is no noise.
_HOPELESS = 10
_LARGEST_ERROR = 0.02


@dataclass(frozen=True)
class Precision:
    """A number format for the convolutions.

    Attributes:
        dtype: What autocast computes in; float32 means no autocast.
        reason: Why, for the log.
        is_asked: The user named it, and so it is not to be replaced by another.
    """

    dtype: torch.dtype
    reason: str
    is_asked: bool = False

    @property
    def name(self) -> FormatName:
        """`bfloat16` and so on."""
        name: FormatName = str(self.dtype).removeprefix("torch.")  # type: ignore[assignment]
        return name

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context to run the network in."""
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)


def choose_precision(name: PrecisionName, device: torch.device) -> Precision:
    """The format of that name, or for `auto` the one that the device is fast in."""
    if name != "auto":
        return Precision(getattr(torch, name), "asked for", is_asked=True)
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision(torch.bfloat16, "the GPU has bfloat16 units, which need no loss scaling")
        return Precision(torch.float16, "the GPU has no bfloat16 units")
    if device.type != "cpu":
        return Precision(torch.float32, f"nothing faster was tested on {device.type}")
    return _probe_cpu()


def precision_for(plan: NetworkPlan, name: PrecisionName, device: torch.device) -> Precision:
    """`choose_precision` for a network that is not built yet."""
    with torch.device("meta"):
        network = NETWORKS.find(plan.name)(plan, 1, 2)
    return fitting(network, device, choose_precision(name, device))


def fitting(network: nn.Module, device: torch.device, precision: Precision) -> Precision:
    """A format that nobody asked for, unless the network is slower in it than in float32.

    MedNeXt, which convolves channels one by one, takes 1.2 to 2.2 times as long in bfloat16 on a CPU that computes
    other convolutions twice as fast in it (docs/decisions/0005).
    """
    if device.type != "cpu" or precision.is_asked or precision.dtype == torch.float32:
        return precision
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]
    if any(module.groups == module.in_channels > 1 for module in convolutions):
        return Precision(torch.float32, "convolutions of single channels are slower in bfloat16 on a CPU")
    return precision


@functools.cache
def _probe_cpu() -> Precision:
    """Time a convolution, forward and backward, in both formats: flags of the processor do not tell its speed.

    A small one first, as a CPU without instructions for bfloat16 takes seventy times as long.
    """
    seconds, error = _race(_TRIAL_EDGE, _TRIAL_RUNS)
    if seconds[torch.bfloat16] < _HOPELESS * seconds[torch.float32]:
        seconds, error = _race(_PROBE_EDGE, _PROBE_RUNS)
    speedup = seconds[torch.float32] / seconds[torch.bfloat16]
    measured = f"a convolution in bfloat16 takes {1 / speedup:.2f} times the time of float32 on this CPU"
    if speedup >= _REQUIRED_SPEEDUP and error < _LARGEST_ERROR:
        return Precision(torch.bfloat16, measured)
    return Precision(torch.float32, measured)


def _race(edge: int, num_runs: int) -> tuple[dict[torch.dtype, float], float]:
    """The least seconds of a convolution of `edge` voxels in each format, and how far bfloat16 is off, of the largest.

    On one thread, in turn: on a busy machine two threads wait for each other, which takes as long in either format.
    """
    generator = torch.Generator().manual_seed(0)
    convolution = nn.Conv3d(_PROBE_CHANNELS, _PROBE_CHANNELS, 3, padding=1)
    x = torch.randn(2, _PROBE_CHANNELS, *(edge,) * 3, generator=generator)
    seconds, outputs = dict.fromkeys((torch.float32, torch.bfloat16), math.inf), {}
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for dtype in [*seconds] * num_runs:
            start = time.perf_counter()
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                output = convolution(x)
            output.float().sum().backward()
            outputs[dtype] = output.detach().float()
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    finally:
        torch.set_num_threads(num_threads)
    exact = outputs[torch.float32]
    return seconds, float((outputs[torch.bfloat16] - exact).abs().max() / exact.abs().max())
