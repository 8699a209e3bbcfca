"""How long a step takes, and which size of network can use the time that is given.

Rule: a run needs some thousands of steps to converge, so a configuration whose steps are too slow for the time is made
smaller until enough of them fit, and no smaller. First the batch goes down to two (throughput hardly depends on it, and
more steps are then free), then the width to a half, then the patch, and the width to a quarter last.
Trials: docs/log.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from autounet.networks import NETWORKS
from autounet.plans import Configuration, NetworkPlan

# Steps after which more of them bring less than a larger network would; measured on Hippocampus.
ENOUGH_STEPS = 1500
_SMALLEST_BATCH = 2
_SMALLEST_WIDTH = 8
_SMALLEST_PATCH_VOXELS = {2: 128**2, 3: 32**3}
# Of the seconds measured for a step, what batches, optimiser and clock add to forward and backward.
_OVERHEAD = 1.1
_MAX_TIMED_STEPS, _MAX_MEASURING_SECONDS = 8, 6.0

# Seconds of a step of a configuration; it may stop measuring once a step is as fast as the second argument.
Measure = Callable[[Configuration, float], float]


@dataclass(frozen=True)
class Sizing:
    """A configuration for the time given.

    Attributes:
        configuration: As planned, or smaller.
        step_seconds: Measured for it.
        changes: What was made smaller and why; empty if nothing.
    """

    configuration: Configuration
    step_seconds: float
    changes: tuple[str, ...]


def size_to_clock(configuration: Configuration, seconds: float, measure: Measure) -> Sizing:
    """Make a configuration as small as the time asks for, and no smaller.

    Args:
        configuration: As planned.
        seconds: Time for training.
        measure: Seconds of one step of a configuration.
    """
    candidates = _candidates(configuration)
    chosen, step_seconds = candidates[0], 0.0
    reference: tuple[float, float] | None = None
    for index, candidate in enumerate(candidates):
        cost = _relative_cost(candidate)
        is_last = index == len(candidates) - 1
        # A candidate that would miss the goal threefold by its arithmetic is not worth a measurement.
        if reference and not is_last and seconds / (reference[0] * cost / reference[1]) < ENOUGH_STEPS / 3:
            continue
        step_seconds = measure(candidate, seconds / ENOUGH_STEPS / _OVERHEAD) * _OVERHEAD
        reference = (step_seconds, cost)
        chosen = candidate
        if seconds / step_seconds >= ENOUGH_STEPS:
            break
    return Sizing(chosen, step_seconds, tuple(_changes(configuration, chosen)))


def measure_step(
    configuration: Configuration,
    goal_seconds: float,
    *,
    num_channels: int,
    num_outputs: int,
    device: torch.device,
    autocast: torch.autocast,
) -> float:
    """Seconds of one training step on random data: forward, backward and an update.

    The least of several, after one to warm up: whatever else the machine does only adds. Ends as soon as a step is
    as fast as the goal.
    """
    network = NETWORKS.find(configuration.network.name)(configuration.network, num_channels, num_outputs).to(device)
    network.deep_supervision = True
    optimizer = torch.optim.SGD(network.parameters(), 0.0)
    image = torch.randn(configuration.batch_size, num_channels, *configuration.patch_size, device=device)
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < 2 or (
        min(seconds) > goal_seconds
        and len(seconds) <= _MAX_TIMED_STEPS
        and time.perf_counter() - began < _MAX_MEASURING_SECONDS
    ):
        start = time.perf_counter()
        with autocast:
            outputs = network(image)
        loss = sum(torch.logsumexp(output.float(), dim=1).mean() for output in outputs)
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def with_patch(configuration: Configuration, factor: float) -> tuple[int, ...]:
    """The patch made smaller by a factor, each edge rounded up to what the network takes."""
    return tuple(
        min(edge, max(divisor, -(-round(edge * factor) // divisor) * divisor))
        for edge, divisor in zip(configuration.patch_size, configuration.network.divisor, strict=True)
    )


def _candidates(configuration: Configuration) -> list[Configuration]:
    """The configuration and its smaller versions, the largest first, without repeats."""
    small_batch = configuration.model_copy(update={"batch_size": min(configuration.batch_size, _SMALLEST_BATCH)})
    narrow = _with_width(small_batch, 0.5)
    candidates = [configuration, small_batch, narrow]
    for factor in (0.8, 0.65, 0.5):
        patch = with_patch(configuration, factor)
        if np.prod(patch) >= _SMALLEST_PATCH_VOXELS[len(patch)]:
            candidates.append(narrow.model_copy(update={"patch_size": patch}))
    candidates.append(_with_width(candidates[-1], 0.5))
    unique = []
    for candidate in candidates:
        if candidate not in unique:
            unique.append(candidate)
    return unique


def _with_width(configuration: Configuration, factor: float) -> Configuration:
    network = configuration.network
    if network.features[0] * factor < _SMALLEST_WIDTH:
        return configuration
    features = tuple(round(width * factor) for width in network.features)
    narrow: NetworkPlan = network.model_copy(update={"features": features})
    return configuration.model_copy(update={"network": narrow})


def _relative_cost(configuration: Configuration) -> float:
    """Arithmetic of a step up to a constant: width squared, voxels, batch."""
    width = configuration.network.features[0]
    return float(width**2 * np.prod(configuration.patch_size) * configuration.batch_size)


def _changes(planned: Configuration, chosen: Configuration) -> list[str]:
    pairs = [
        ("batch size", planned.batch_size, chosen.batch_size),
        ("features", planned.network.features, chosen.network.features),
        ("patch size", planned.patch_size, chosen.patch_size),
    ]
    return [
        f"{name} {before} -> {after}, so that at least {ENOUGH_STEPS} steps fit the time"
        for name, before, after in pairs
        if before != after
    ]
