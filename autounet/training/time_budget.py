"""How long a step takes, and which size of network can use the time that is given.

Rule: a run needs some thousands of steps to converge, so a configuration whose steps are too slow for the time is made
smaller until enough of them fit, and no smaller. First the batch goes down to two (throughput hardly depends on it, and
more steps are then free), then the width to a half, then the patch, and the width to a quarter last.
Trials: docs/log.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from autounet.network_plan import NetworkPlan
from autounet.networks import NETWORKS
from autounet.networks.layout import set_fast_layout
from autounet.planners.constants import NNUNET, half_width
from autounet.plans import Configuration
from autounet.training.config import TrainConfig
from autounet.training.optimizers import make_optimizer
from autounet.training.precision import Precision

# Steps after which more of them bring less than a larger network would; measured on Hippocampus (docs/log.md).
ENOUGH_STEPS = 1800
_SMALLEST_BATCH = 2
# Batches of small patches grow no further: more samples a step bring less and less.
_LARGEST_BATCH = 16
# Of the seconds measured for a step, what batches, the loss and validation add.
_OVERHEAD = 1.1
# A candidate that by its FLOPs misses the goal by more than this is not worth timing. Wide networks are faster than
# their FLOPs: 32 features take half the time a voxel and channel that 8 take.
_HOPELESS = 4.0
# A step with more FLOPs than this is not timed itself to foretell its time, but with a smaller patch: some seconds.
_PROBE_FLOPS = 3e11
_MAX_TIMED_STEPS, _MAX_MEASURING_SECONDS = 8, 6.0

# Seconds of a step of a configuration; it may stop measuring once a step is as fast as the second argument.
Measure = Callable[[Configuration, float], float]
# Floating-point operations of one step of a configuration.
CountFlops = Callable[[Configuration], float]


@dataclass(frozen=True)
class Sizing:
    """A configuration for the time given.

    Attributes:
        configuration: As planned, or smaller.
        step_seconds: Measured for it, at its full patch.
        num_steps: How many steps fit, those with smaller patches included.
        changes: What was made smaller and why; empty if nothing.
    """

    configuration: Configuration
    step_seconds: float
    num_steps: int
    changes: tuple[str, ...]


@dataclass(frozen=True)
class GrowthStage:
    """Training up to a point of the run with one size of patch.

    Attributes:
        end: Share of the run at which the stage ends.
        patch_size: Of the network's input.
        batch_size: Patches a step.
    """

    end: float
    patch_size: tuple[int, ...]
    batch_size: int


def growth_stages(configuration: Configuration, config: TrainConfig) -> tuple[GrowthStage, ...]:
    """The sizes of patch over a run, the last one the configuration's own."""
    stages = []
    for end, factor in (*config.growth, (1.0, 1.0)):
        patch = with_patch(configuration, factor)
        ratio = round(np.prod(configuration.patch_size) / np.prod(patch) * config.growth_batch)
        batch = max(configuration.batch_size, min(configuration.batch_size * ratio, _LARGEST_BATCH))
        stages.append(GrowthStage(end, patch, batch))
    return tuple(stages)


def size_to_clock(
    configuration: Configuration,
    config: TrainConfig,
    measure: Measure,
    count_flops: CountFlops,
    *,
    keep_network: bool = False,
) -> Sizing:
    """Make a configuration as small as the time asks for, and no smaller; without a time it stays as it is.

    So do sizes that the user gave.

    Args:
        configuration: As planned.
        config: Tells the time or the number of steps, and how the patch grows.
        measure: Seconds of one step of a configuration.
        count_flops: Its arithmetic; foretells which candidates are not worth measuring.
        keep_network: Make only batch and patch smaller: trained weights fit no narrower network.
    """
    if config.max_seconds is None or configuration.fixed_sizes:
        step_seconds = foretell_step(configuration, measure, count_flops)
        num_steps = config.total_steps
        if config.max_seconds is not None:
            num_steps = steps_in_time(configuration, config, step_seconds)
        return Sizing(configuration, step_seconds, num_steps, ())
    candidates = _candidates(configuration, keep_network=keep_network)
    # The smallest is timed first, because a step of the largest may take as long as the whole run.
    reference = measure(candidates[-1], math.inf) / count_flops(candidates[-1])
    for candidate in candidates:
        is_last = candidate is candidates[-1]
        # Steps of the full patch that must fit, so that with the cheaper ones before them there are enough.
        needed = ENOUGH_STEPS / _steps_per_full_step(candidate, config)
        goal = config.max_seconds / needed / _OVERHEAD
        if not is_last and reference * count_flops(candidate) > _HOPELESS * goal:
            continue
        step_seconds = measure(candidate, goal) * _OVERHEAD
        if is_last or config.max_seconds / step_seconds >= needed:
            num_steps = steps_in_time(candidate, config, step_seconds)
            return Sizing(candidate, step_seconds, num_steps, tuple(_changes(configuration, candidate)))
    raise AssertionError("the last candidate is always taken")


def steps_in_time(configuration: Configuration, config: TrainConfig, step_seconds: float) -> int:
    """Steps that fit the time given, those with smaller patches included."""
    assert config.max_seconds is not None
    return round(config.max_seconds / step_seconds * _steps_per_full_step(configuration, config))


def foretell_step(configuration: Configuration, measure: Measure, count_flops: CountFlops) -> float:
    """Seconds of one step of a configuration, told from a real one with a smaller patch where it is large."""
    probe = configuration
    for factor in (1.0, 0.5, 0.25):
        update = {"patch_size": with_patch(configuration, factor), "batch_size": min(configuration.batch_size, 2)}
        probe = configuration.model_copy(update=update)
        if count_flops(probe) <= _PROBE_FLOPS:
            break
    return measure(probe, 0.0) * count_flops(configuration) / count_flops(probe)


def _steps_per_full_step(configuration: Configuration, config: TrainConfig) -> float:
    """Steps of a run in the time of one with the full patch, by the voxels of its stages."""
    full = np.prod(configuration.patch_size) * configuration.batch_size
    total, start = 0.0, 0.0
    for stage in growth_stages(configuration, config):
        total += (stage.end - start) * full / (np.prod(stage.patch_size) * stage.batch_size)
        start = stage.end
    return float(total)


def measure_step(
    configuration: Configuration,
    goal_seconds: float,
    *,
    config: TrainConfig,
    num_channels: int,
    num_outputs: int,
    device: torch.device,
    precision: Precision,
) -> float:
    """Seconds of one training step on random data: forward, backward and an update by the run's own optimiser.

    (To make updates orthogonal takes longer than all else where a network has many weights for its patch.) The least of
    several, after one to warm up: whatever else the machine does only adds. Ends as soon as a step is as fast as the
    goal.
    """
    network = NETWORKS.find(configuration.network.name)(configuration.network, num_channels, num_outputs).to(device)
    set_fast_layout(network, device, precision.dtype)
    network.deep_supervision = True
    optimizer = make_optimizer(network, config)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # steps on noise would end in NaN, which some kernels are slower with
    image = torch.randn(configuration.batch_size, num_channels, *configuration.patch_size, device=device)
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < 2 or (
        min(seconds) > goal_seconds
        and len(seconds) <= _MAX_TIMED_STEPS
        and time.perf_counter() - began < _MAX_MEASURING_SECONDS
    ):
        start = time.perf_counter()
        with precision.autocast(device):
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
    """The patch made smaller by a factor, each edge rounded up to what the network takes.

    The coarsest stage keeps two voxels an axis: of one voxel, instance norm knows nothing (on a GPU it refuses it).
    """
    network = configuration.network
    smaller = network.legal_size([round(edge * factor) for edge in configuration.patch_size])
    return tuple(map(min, configuration.patch_size, map(max, smaller, network.smallest_size)))


def _candidates(configuration: Configuration, *, keep_network: bool) -> list[Configuration]:
    """The configuration and its smaller versions, the largest first, without repeats."""
    small_batch = configuration.model_copy(update={"batch_size": min(configuration.batch_size, _SMALLEST_BATCH)})
    narrow = small_batch if keep_network else _narrowed(small_batch)
    candidates = [configuration, small_batch, narrow]
    for factor in (0.8, 0.65, 0.5):
        patch = with_patch(configuration, factor)
        if np.prod(patch) >= NNUNET.of(len(patch)).least_patch_edge ** len(patch):
            candidates.append(narrow.model_copy(update={"patch_size": patch}))
    if not keep_network:
        candidates.append(_narrowed(candidates[-1]))
    unique = []
    for candidate in candidates:
        if candidate not in unique:
            unique.append(candidate)
    return unique


def _narrowed(configuration: Configuration) -> Configuration:
    """With half the channels, or as near to it as the network takes; as it is where that would be too few."""
    network = configuration.network
    base, multiple = network.features[0], NETWORKS.find(network.name).design.width_multiple
    half = half_width(base, multiple)
    if not NNUNET.least_features <= half < base:
        return configuration
    features = tuple(round(width * half / (base * multiple)) * multiple for width in network.features)
    narrow: NetworkPlan = network.model_copy(update={"features": features})
    return configuration.model_copy(update={"network": narrow})


def _changes(planned: Configuration, chosen: Configuration) -> list[str]:
    pairs = [
        ("batch size", planned.batch_size, chosen.batch_size),
        ("features", planned.network.features, chosen.network.features),
        ("patch size", planned.patch_size, chosen.patch_size),
    ]
    return [
        f"{name} {before} -> {after}, so that more steps fit the time ({ENOUGH_STEPS} are enough)"
        for name, before, after in pairs
        if before != after
    ]
