"""How long training takes on a device, and a plan made smaller for the time that is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import torch

from autounet.errors import RequestError
from autounet.geometry import permuted
from autounet.planners.cascade import FULL, LOW, SECOND, covering_spacing
from autounet.planners.configuration import decided_values
from autounet.planners.constants import NNUNET
from autounet.planners.measured import memory_estimate
from autounet.planners.memory import TrainingCost, training_cost
from autounet.planners.reasons import by_axis, number
from autounet.planners.request import PlanRequest
from autounet.plans import Configuration, Decision, Plan, TimePlan
from autounet.progress import Reporter, duration
from autounet.training.config import TrainConfig
from autounet.training.device import describe_device
from autounet.training.precision import Precision
from autounet.training.time_budget import ENOUGH_STEPS, measure_step, size_to_clock

# Each makes the patch smaller; more would leave nothing to see.
_MAX_COARSENINGS = 4


def with_time(
    plan: Plan,
    configuration: Configuration,
    config: TrainConfig,
    device: torch.device,
    precision: Precision,
    *,
    keep_network: bool = False,
) -> Configuration:
    """A configuration as it will be trained: sized to the time given, if any, with the time and memory it takes.

    Sizes that the user gave are kept.

    Args:
        plan: It belongs to.
        configuration: As planned.
        config: Tells the time, or the number of epochs.
        device: Where it is measured.
        precision: What the network computes in.
        keep_network: Training starts from trained weights, which fit no narrower network.
    """
    inputs = plan.num_inputs(configuration)
    measure = partial(
        measure_step,
        config=config,
        num_channels=inputs,
        num_outputs=plan.labels.num_outputs,
        device=device,
        precision=precision,
    )

    def cost_of(candidate: Configuration) -> TrainingCost:
        return training_cost(
            candidate.network,
            candidate.patch_size,
            num_channels=inputs,
            labels=plan.labels,
            batch_dice=candidate.batch_dice,
            half_precision=precision.dtype != torch.float32,
            partially_annotated=plan.partially_annotated,
            loss=config.loss,
        )

    def count_flops(candidate: Configuration) -> float:
        return float(cost_of(candidate).flops_per_sample * candidate.batch_size)

    sizing = size_to_clock(configuration, config, measure, count_flops, keep_network=keep_network)
    if sizing.num_steps < 1:
        raise RequestError(
            f"the time given, {duration(config.max_seconds or 0)}, is too short to train {configuration.name}: a step "
            f"takes {sizing.step_seconds:.2g} s. Give time for some hundred steps at least."
        )
    total_seconds = config.max_seconds or sizing.num_steps * sizing.step_seconds
    time = TimePlan(
        step_seconds=sizing.step_seconds,
        num_steps=sizing.num_steps,
        total_seconds=total_seconds,
        max_seconds=config.max_seconds,
        device=describe_device(device),
        expected_end=(datetime.now().astimezone() + timedelta(seconds=total_seconds)).replace(microsecond=0),
        changes=sizing.changes,
    )
    memory = memory_estimate(cost_of(sizing.configuration), sizing.configuration.batch_size)
    return sizing.configuration.model_copy(update={"time": time, "memory": memory})


def fit_plan_to_time(
    plan: Plan,
    names: Sequence[str],
    config: TrainConfig,
    device: torch.device,
    precision: Precision,
    replan: Callable[[PlanRequest], Plan],
    reporter: Reporter,
) -> Plan:
    """A plan whose configurations can use the time given, each for itself, and tell how long they take.

    Where the patch of `3d_fullres` that the time affords covers too little of the median case, `3d_lowres` is planned
    for that patch, by the same rule as for memory. The second stage of a cascade is left out, being a run of its own.

    Args:
        plan: For the device's memory.
        names: Configurations to size.
        config: Tells the time.
        device: Where it is measured.
        precision: What networks compute in.
        replan: Plans the dataset anew for a request, for another resolution.
        reporter: Shows what is measured.
    """
    configurations, decisions = dict(plan.configurations), list(plan.decisions)
    if config.max_seconds is not None and SECOND in configurations:
        del configurations[SECOND]
        decisions = [entry for entry in decisions if not entry.name.startswith(f"{SECOND}.")]
    for name in names:
        if name not in configurations or configurations[name].previous_stage is not None:
            continue
        reporter.say(f"{name}: timing steps of training on {describe_device(device)}")
        sized = with_time(plan, configurations[name], config, device, precision)
        configurations[name] = sized
        decisions = _with_sizes(decisions, sized)
        may_coarsen = name == FULL and config.max_seconds is not None and not sized.fixed_sizes
        if may_coarsen and _coverage(sized) < NNUNET.lowres_coverage:
            low, its_decisions = _low_resolution(plan, sized, config, device, precision, replan)
            configurations.pop(LOW, None)
            if low is not None:
                configurations[LOW] = low
            decisions = [entry for entry in decisions if not entry.name.startswith(LOW)] + its_decisions
    planned = {"value": ", ".join(configurations)}
    decisions = [entry.model_copy(update=planned) if entry.name == "configurations" else entry for entry in decisions]
    return plan.model_copy(update={"configurations": configurations, "decisions": tuple(decisions)})


def _coverage(configuration: Configuration) -> float:
    """Share of the median case that a patch covers."""
    return float(np.prod(configuration.patch_size) / np.prod(configuration.median_shape))


def _low_resolution(
    plan: Plan,
    full: Configuration,
    config: TrainConfig,
    device: torch.device,
    precision: Precision,
    replan: Callable[[PlanRequest], Plan],
) -> tuple[Configuration | None, list[Decision]]:
    """`3d_lowres` at the spacing at which the patch that the time affords covers enough of the median case.

    At a coarser spacing the network has other strides, and its steps another time, so that the patch may shrink again.
    `None` where it has hardly fewer voxels.
    """
    low = full
    for _ in range(_MAX_COARSENINGS):
        patch_size = low.patch_size
        coarse = replan(_coarser_request(plan, low, half_precision=precision.dtype != torch.float32))
        low = coarse.configuration(FULL).model_copy(update={"name": LOW, "batch_dice": False, "fixed_sizes": False})
        low = with_time(plan, low, config, device, precision)
        if low.patch_size == patch_size:
            break
    evidence = (
        f"the patch of {FULL} that the time affords, {by_axis(full.patch_size)}, covers "
        f"{number(100 * _coverage(full))} % of the median case, less than {number(100 * NNUNET.lowres_coverage)} %"
    )
    reduction = float(np.prod(full.median_shape) / np.prod(low.median_shape))
    if reduction < NNUNET.lowres_min_reduction:
        why = f"{evidence}; but {number(reduction)} times fewer voxels would do, too little to gain from"
        return None, [Decision(name=LOW, value="none", reason=why)]
    reason = f"{evidence}; the spacing grew until the same patch covered as much"
    decisions = []
    for entry in coarse.decisions:
        if entry.name.startswith(f"{FULL}."):
            key = entry.name.removeprefix(f"{FULL}.")
            update = {"name": f"{LOW}.{key}", **({"reason": reason} if key == "spacing_mm" else {})}
            decisions.append(entry.model_copy(update=update))
    return low, _with_sizes(decisions, low)


def _coarser_request(plan: Plan, configuration: Configuration, *, half_precision: bool) -> PlanRequest:
    """A request for the spacing at which the patch of a configuration covers enough, with the sizes it has."""
    spacing = covering_spacing(plan.median_spacing_mm, plan.median_shape, configuration.patch_size)
    return PlanRequest(
        memory_gib=plan.memory_gib,
        half_precision=half_precision,
        spacing_mm=permuted(spacing, plan.transpose_backward),
        patch_size=permuted(configuration.patch_size, plan.transpose_backward),
        batch_size=configuration.batch_size,
        features=configuration.network.features[0],
        network=plan.network or configuration.network.name,
        configurations=(FULL,),
    )


def _with_sizes(decisions: Sequence[Decision], sized: Configuration) -> list[Decision]:
    """Decisions with what the time changed of them, and one more for the time."""
    assert sized.time is not None
    values = {f"{sized.name}.{key}": value for key, value in decided_values(sized).items()}
    result, last = [], 0
    for entry in decisions:
        value = values.get(entry.name, entry.value)
        why = f"; {entry.value} for the memory, then made smaller for the time" if value != entry.value else ""
        result.append(entry.model_copy(update={"value": value, "reason": entry.reason + why}))
        last = len(result) if entry.name.startswith(f"{sized.name}.") else last
    rule = "sizes are kept as they were requested"
    if not sized.fixed_sizes:
        changes = "; ".join(sized.time.changes) or "nothing had to be made smaller"
        rule = (
            f"below {ENOUGH_STEPS} steps a smaller network that converges beats a larger one that does not, so until "
            f"as many fit: batch to two, width to a half, patch smaller, width to a quarter: {changes}"
        )
    value = f"{duration(sized.time.total_seconds)}, {sized.time.num_steps} steps of {sized.time.step_seconds:.2g} s"
    result.insert(last, Decision(name=f"{sized.name}.time", value=value, reason=rule))
    return result
