"""Estimates of memory and time: by hand, and never below what the arrays alone take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from autounet.errors import RunError
from autounet.inference.needs import CaseNeeds, Pace, Room, memory_bytes, require_room, slab_bytes_within
from autounet.inference.predictor import Predictor
from autounet.models.folder import ModelRecord
from autounet.networks.base import SegmentationNetwork
from autounet.training.precision import Precision

MakeRecord = Callable[..., ModelRecord]
MIB = 2**20


def test_memory_holds_at_least_what_lies_side_by_side(
    record: MakeRecord, point_wise: Callable[[int], SegmentationNetwork]
) -> None:
    model = Predictor.of(
        record(num_channels=2), (point_wise(3),), device=torch.device("cpu"), precision=Precision(torch.float32, "test")
    )
    model = replace(model, window=replace(model.window, batch_size=1))
    shape = (100, 110, 120)
    one = memory_bytes([model], (2, *shape), [shape], 0)
    voxels = 100 * 110 * 120
    assert one > voxels * 4 * (2 + 2)  # the input and the logits
    assert one < voxels * 4 * (2 + 2) * 2
    # A second model's logits are held beside those of the first.
    assert memory_bytes([model, model], (2, *shape), [shape, shape], 0) >= one + voxels * 4 * 2


def test_the_larger_stage_of_a_cascade_counts(
    record: MakeRecord, point_wise: Callable[[int], SegmentationNetwork]
) -> None:
    cpu, float32 = torch.device("cpu"), Precision(torch.float32, "test")
    alone = Predictor.of(record(num_channels=2), (point_wise(3),), device=cpu, precision=float32)
    alone = replace(alone, window=replace(alone.window, batch_size=1))
    cascade = replace(alone, first=alone)
    image, shape = (2, 100, 110, 120), (100, 110, 120)
    raw = 4 * 2 * 100 * 110 * 120
    without = memory_bytes([alone], image, [shape], 0)
    small = memory_bytes([cascade], image, [shape], 0, [(10, 11, 12)])
    assert small == without + raw  # which stays for the first stage
    large = memory_bytes([cascade], image, [shape], 0, [(200, 220, 240)])
    assert large > 8 * 4 * (2 + 2) * 100 * 110 * 120  # the first stage's input and logits alone
    # After another model, the logits of that one are there too.
    assert memory_bytes([alone, cascade], image, [shape] * 2, 0, [None, (200, 220, 240)]) > large + raw


def test_time_is_that_of_the_cases_before() -> None:
    pace = Pace()
    assert pace.seconds([10], 0) is None
    pace.predicted(0, 4, 2.0)
    assert pace.seconds([10], 0) == 5.0
    assert pace.seconds([10, 1], 0) is None
    pace.predicted(1, 1, 3.0)
    pace.exported(1000, 0.5)
    assert pace.seconds([10, 2], 4000) == 5.0 + 6.0 + 2.0


@pytest.mark.parametrize(
    ("needs", "text", "told"),
    [
        (CaseNeeds(int(1.1 * 2**30), 40.0), "1.1 GiB, 40 s", True),
        (CaseNeeds(200 * MIB, 2.0), "0.2 GiB, 2 s", False),
        (CaseNeeds(200 * MIB, 150.0), "0.2 GiB, 2 min 30 s", True),
        (CaseNeeds(3 * 2**30, None), "3.0 GiB", True),
    ],
)
def test_what_is_told(needs: CaseNeeds, text: str, told: bool) -> None:
    assert str(needs) == text
    assert needs.is_worth_telling == told


def test_room() -> None:
    require_room(CaseNeeds(MIB, None), MIB)
    with pytest.raises(RunError, match="--max-ram-gib"):
        require_room(CaseNeeds(MIB + 1, None), MIB)
    assert slab_bytes_within(2**40) == 256 * MIB
    assert slab_bytes_within(800 * MIB) == 100 * MIB
    assert slab_bytes_within(MIB) == 16 * MIB


def test_a_case_waits_until_there_is_room_unless_it_is_alone() -> None:
    room, told = Room(10), []

    def work(num_bytes: int) -> None:
        with room.taken(num_bytes):
            told.append(num_bytes)

    with room.taken(12):  # more than there is, but nobody else is there
        waiting = threading.Thread(target=work, args=(1,))
        waiting.start()
        waiting.join(0.05)
        assert told == []
    waiting.join(5)
    assert told == [1]
    with room.taken(6), room.taken(4):
        waiting = threading.Thread(target=work, args=(2,))
        waiting.start()
        waiting.join(0.05)
        assert told == [1]
    waiting.join(5)
    assert told == [1, 2]
