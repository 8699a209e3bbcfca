"""Patch and batch within a memory, on costs made up so that they can be reckoned by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from autounet.errors import RequestError
from autounet.labels import LabelClass, LabelSchema
from autounet.planners import measured
from autounet.planners.measured import GIB, MeasuredBudget, memory_estimate
from autounet.planners.memory import TrainingCost
from autounet.planners.patch import PatchSearch

LABELS = LabelSchema(classes=(LabelClass(name="organ", values=(1,)),))
AXES = ("z", "y", "x")
# Cubes of 64 voxels an edge, and what follows them: (64, 64, 56), as 56 = 7 x 8.
SEARCH = PatchSearch((1, 1, 1), (64, 64, 64), AXES)
# Bytes a voxel, so that a batch of two of the first takes nine tenths of one GiB.
A_VOXEL = math.floor(0.9 * GIB) // (2 * 64**3)


@pytest.fixture(autouse=True)
def made_up_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network takes `A_VOXEL` bytes a voxel and nothing else."""

    def cost(network: Any, patch_size: Sequence[int], **inputs: Any) -> TrainingCost:
        sample = A_VOXEL * math.prod(patch_size)
        return TrainingCost(
            num_parameters=7_000_000,
            parameter_bytes=0,
            optimizer_bytes=0,
            activation_bytes_per_sample=sample // 2,
            moments=((0, sample),),
            flops_per_sample=1,
        )

    monkeypatch.setattr(measured, "training_cost", cost)


def fit(memory_gib: float, search: PatchSearch = SEARCH, batch_size: int | None = None, voxels: float = 1e12) -> Any:
    return MeasuredBudget(memory_gib, LABELS, False).fit(search, voxels, batch_size=batch_size, num_inputs=1)


def test_the_first_patch_that_fits_twice_is_taken() -> None:
    found = fit(1.0)
    assert found.topology.patch_size == (64, 64, 64)
    assert found.batch_size == 2
    assert "training network 'plain' with 7.0 million parameters takes 1 GiB at batch size 2" in found.patch_reason


def test_a_little_less_takes_the_next_patch() -> None:
    found = fit(0.99)
    second = list(SEARCH.sizes())[1].patch_size
    assert found.topology.patch_size == second
    assert found.batch_size == 2
    assert "training would take 1 GiB at batch size 2, more than 0.99 GiB, so it was shortened" in found.patch_reason
    assert found.patch_alternatives[0] == "64 x 64 x 64 at batch size 2: 1 GiB"


def test_twice_the_memory_holds_twice_the_batch() -> None:
    found = fit(4.0)
    assert found.batch_size == 8
    assert found.patch_alternatives == ("the same patch at batch size 4: 2 GiB",)
    assert "4 GiB hold 8 patches" in found.batch_reason


def test_a_batch_covers_at_most_a_share_of_the_dataset() -> None:
    # 5 % of 60 patches are 3; of 20 patches one, and no batch is smaller than two.
    assert fit(4.0, voxels=60 * 64**3).batch_size == 3
    small = fit(4.0, voxels=20 * 64**3)
    assert small.batch_size == 2
    assert small.batch_reason.endswith("but no batch is smaller than 2")


def test_no_batch_has_more_voxels_than_two_of_the_next_larger_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    def costly_first(network: Any, patch_size: Sequence[int], **inputs: Any) -> TrainingCost:
        # Two of the first take 1.2 GiB, a ninth of them reserved; the second takes a twentieth of it.
        sample = int((0.6 if tuple(patch_size) == (1, 1, 2) else 0.03) * 0.9 * GIB)
        return TrainingCost(1, 0, 0, 0, ((0, sample),), 1)

    monkeypatch.setattr(measured, "training_cost", costly_first)
    found = fit(1.0, PatchSearch((1, 1, 1), (1, 1, 2), AXES))
    assert found.topology.patch_size == (1, 1, 1)
    assert found.batch_size == 4
    assert "1 GiB hold 33 patches" in found.batch_reason
    assert "4 hold no more voxels than 2 of the next larger patch" in found.batch_reason


def test_a_requested_patch_may_be_alone_in_a_batch() -> None:
    search = PatchSearch((1, 1, 1), (64, 64, 64), AXES, requested=(64, 64, 64))
    assert fit(0.5, search).batch_size == 1
    assert fit(1.0, search).batch_size == 2


def test_a_requested_batch_decides_the_patch() -> None:
    found = fit(1.0, batch_size=4)
    assert found.batch_size == 4
    assert 4 * math.prod(found.topology.patch_size) <= 2 * 64**3
    assert found.batch_reason.startswith("requested by the user; 1 GiB hold ")


def test_too_little_memory_says_how_much_would_do() -> None:
    search = PatchSearch((1, 1, 1), (64, 64, 64), AXES, requested=(64, 64, 64))
    with pytest.raises(RequestError) as refusal:
        fit(0.25, search, batch_size=3)
    # Three patches of half a GiB each.
    assert str(refusal.value) == (
        "0.25 GiB of memory are too little to train network 'plain': the requested patch, 64 x 64 x 64 at batch size "
        "3, needs 1.5 GiB with 32 channels at full resolution. Plan for that with --memory-gib 1.5, or for a narrower "
        "network with --features 16."
    )
    assert fit(1.5, search, batch_size=3).batch_size == 3


def test_a_large_need_is_written_in_full() -> None:
    search = PatchSearch((1, 1, 1), (64, 64, 64), AXES, requested=(64, 64, 64))
    with pytest.raises(RequestError, match=r"needs 999891\.5 GiB"):
        fit(1.0, search, batch_size=2_000_000)


def test_the_smallest_patch_is_named_where_none_fits() -> None:
    with pytest.raises(RequestError, match=r"the smallest patch, 1 x 1 x 1 at batch size 2, needs 0.01 GiB"):
        fit(1e-9)


def test_a_patch_may_be_held_where_it_is_no_larger_than_the_memory() -> None:
    budget = MeasuredBudget(1.0, LABELS, False)
    assert budget.may_hold(SEARCH, 64**3, batch_size=None, num_inputs=1)
    assert not budget.may_hold(SEARCH, 64**3, batch_size=5, num_inputs=1)
    assert not budget.may_hold(SEARCH, 3 * 64**3, batch_size=None, num_inputs=1)


def test_parts_of_the_estimate_add_up() -> None:
    cost = TrainingCost(
        num_parameters=25,
        parameter_bytes=100,
        optimizer_bytes=200,
        activation_bytes_per_sample=30,
        moments=((400, 40), (300, 50)),
        flops_per_sample=1,
    )
    # Batch 4 of half the voxels: the peak is 400 + 4 * 20 = 480; activations take 4 * 15.
    estimate = memory_estimate(cost, 4, 0.5)
    assert (estimate.weights_bytes, estimate.optimizer_bytes, estimate.activations_bytes) == (100, 200, 60)
    assert estimate.working_bytes == 480 - 100 - 200 - 60
    assert estimate.reserve_bytes == math.ceil(480 / 0.9) - 480
    assert estimate.total_bytes == math.ceil(480 / 0.9)
