"""A plan for people, as it comes out on a terminal: values, memory, time, reasons, edits, and the next command."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from autounet.planners.request import PlanRequest
from autounet.plans import Decision, MemoryEstimate, Plan, TimePlan
from autounet.report.plan import explanation, plan_table, rounded_patches, what_next

MakePlan = Callable[..., Plan]
MIB = 2**20
MEMORY = MemoryEstimate(
    weights_bytes=256 * MIB,
    optimizer_bytes=512 * MIB,
    activations_bytes=1024 * MIB,
    working_bytes=128 * MIB,
    reserve_bytes=128 * MIB,
)
TIME = TimePlan(
    step_seconds=0.25,
    num_steps=2400,
    total_seconds=600,
    max_seconds=600,
    device="cpu, 2 threads",
    expected_end=datetime(2026, 3, 6, 13, 45),
)
PATH = Path("preprocessed/Dataset001_Test/plan_nnunet.json")


def shown(content: RenderableType, width: int = 200) -> str:
    """What a terminal of that width shows, without its lines."""
    file = io.StringIO()
    Console(file=file, width=width).print(content)
    return file.getvalue()


def words(content: RenderableType, width: int = 200) -> str:
    """The same on one line, however it was wrapped."""
    return " ".join(shown(content, width).split())


def with_values(plan: Plan, name: str, **values: Any) -> Plan:
    entries = {**plan.configurations, name: plan.configuration(name).model_copy(update=values)}
    return plan.model_copy(update={"configurations": entries})


def with_decisions(plan: Plan, *decisions: Decision) -> Plan:
    return plan.model_copy(update={"decisions": decisions})


def test_the_table_shows_sizes_and_only_what_was_measured(make_plan: MakePlan) -> None:
    plan = make_plan(spacing_mm=(3, 0.5, 0.75))
    table = shown(plan_table(plan))
    for text in ("Dataset001_Test", "'nnunet'", "2d", "3d_fullres", "0.5 x 0.75", "3 x 0.5 x 0.75", "4 x 8", "plain"):
        assert text in table
    assert "memory" not in table
    assert "training" not in table
    (row,) = [line for line in shown(plan_table(with_values(plan, "2d", memory=MEMORY))).splitlines() if "mem" in line]
    assert "2.00 GiB" in row
    assert "-" in row  # of the configuration that was not measured
    (row,) = [line for line in shown(plan_table(with_values(plan, "2d", time=TIME))).splitlines() if "train" in line]
    assert "2400 x 0.25 s, 10 min" in row


def test_every_decision_is_explained_with_its_alternatives(make_plan: MakePlan) -> None:
    plan = with_decisions(
        make_plan(),
        Decision(name="dimensions", value="3D", reason="there are slices"),
        Decision(name="2d.patch_size", value="8 x 8", reason="it fits", alternatives=("16 x 16: 2 GiB", "4 x 4: less")),
        Decision(name="3d_fullres.batch_size", value="2", reason="no batch is smaller"),
        Decision(name="3d_lowres", value="none", reason="it sees enough"),
    )
    text = words(explanation(plan))
    assert "planned by 'nnunet' for 8 GiB" in text
    assert "dimensions 3D there are slices" in text
    assert "3d_lowres none it sees enough" in text
    assert "patch_size 8 x 8 it fits Else: 16 x 16: 2 GiB; 4 x 4: less." in text
    assert text.index("3d_lowres none") < text.index("patch_size") < text.index("no batch is smaller")
    assert "edited" not in text
    assert "axis order" not in text
    assert all(len(line) <= 60 for line in shown(explanation(plan), 60).splitlines())
    assert "it fits Else: 16 x 16: 2 GiB; 4 x 4: less." in words(explanation(plan), 60)


def test_memory_is_told_by_what_takes_it_and_time_by_its_steps(make_plan: MakePlan) -> None:
    text = words(explanation(with_values(make_plan(), "3d_fullres", memory=MEMORY, time=TIME)), 400)
    assert (
        "2.00 GiB: weights 0.25, optimiser 0.50, activations 1.00, gradients and workspace 0.12, reserve 0.12" in text
    )
    assert "2400 x 0.25 s, 10 min" in text


def test_a_value_that_was_edited_stands_beside_the_one_that_was_decided(make_plan: MakePlan) -> None:
    plan = with_decisions(
        make_plan(),
        Decision(name="2d.batch_size", value="2", reason="so many fit"),
        Decision(name="3d_fullres.batch_size", value="2", reason="so many fit"),
    )
    edited = with_values(plan, "3d_fullres", batch_size=5, memory=MEMORY)
    text = words(explanation(edited), 400)
    assert text.count("edited to") == 1
    assert "batch_size 2, edited to 5 so many fit" in text
    assert "2.00 GiB before it was edited" in text
    assert "before it was edited" not in words(explanation(with_values(plan, "3d_fullres", memory=MEMORY)), 400)


def test_a_configuration_of_the_users_own_is_told_by_what_differs(make_plan: MakePlan) -> None:
    plan = make_plan()
    own = plan.configuration("3d_fullres").model_copy(
        update={"name": "mine", "inherits_from": "3d_fullres", "batch_size": 7}
    )
    plan = plan.model_copy(update={"configurations": {**plan.configurations, "mine": own}})
    assert "mine · as 3d_fullres, but batch_size 7" in words(explanation(plan), 400)
    # What its parent takes says nothing of it, unless they have the same sizes.
    plan = with_values(with_values(plan, "3d_fullres", memory=MEMORY, time=TIME), "mine", memory=MEMORY, time=TIME)
    for told, times in ((plan, 1), (with_values(plan, "mine", batch_size=2), 2)):
        assert shown(plan_table(told)).count("2.00 GiB") == times
        assert words(explanation(told), 400).count("2.00 GiB") == times
        assert words(explanation(told), 400).count("training 2400") == times


def test_another_order_of_axes_is_told(make_plan: MakePlan) -> None:
    text = words(explanation(make_plan(transpose_forward=(2, 0, 1))))
    assert "Sizes are in the plan's axis order: x, z, y of the images." in text


def test_brackets_in_names_are_shown_as_they_are(make_plan: MakePlan) -> None:
    decision = Decision(name="use_mask of channel 0 ([red]T1[/])", value="[no]", reason="the [b]crop[/b] keeps all")
    text = words(explanation(with_decisions(make_plan(), decision)))
    for part in ("([red]T1[/])", "[no]", "the [b]crop[/b] keeps all"):
        assert part in text


def said(plan: Plan, waiting: dict[str, int]) -> str:
    return "\n".join(what_next(plan, PATH, waiting))


def test_what_comes_next_is_preparing_where_cases_wait(make_plan: MakePlan) -> None:
    text = said(make_plan(), {"2d": 0, "3d_fullres": 3})
    assert f"autounet plan 1 --planner nnunet --explain, or {PATH}" in text
    assert "To prepare: 3d_fullres." in text
    assert "Next: autounet preprocess 1 --planner nnunet" in text
    assert "autounet train" not in text


def test_what_comes_next_is_training_where_all_is_prepared(make_plan: MakePlan) -> None:
    plan, ready = make_plan(), {"2d": 0, "3d_fullres": 0}
    assert "Next: autounet train 1 3d_fullres 0 --planner nnunet --max-time 10m" in said(plan, ready)
    assert "Next: autounet train 1 2d 0" in said(plan, {"2d": 0})
    ours = with_values(plan.model_copy(update={"planner": "default"}), "3d_fullres", time=TIME)
    assert "Next: autounet train 1 3d_fullres 0 --max-time 600s" in said(ours, ready)


def test_a_low_resolution_comes_first_where_a_time_asks_for_it(make_plan: MakePlan) -> None:
    plan = make_plan()
    for time, first in ((None, "3d_fullres"), (TIME, "3d_lowres")):
        low = plan.configuration("3d_fullres").model_copy(update={"name": "3d_lowres", "time": time})
        both = plan.model_copy(update={"configurations": {**plan.configurations, "3d_lowres": low}})
        assert f"autounet train 1 {first} 0" in said(both, {"3d_lowres": 0, "3d_fullres": 0})


def test_nothing_is_next_where_only_a_second_stage_is_ready(make_plan: MakePlan) -> None:
    plan = with_values(make_plan(), "3d_fullres", previous_stage="2d")
    text = said(plan, {"3d_fullres": 0})
    assert "Prepared cases fit this plan" in text
    assert "Next" not in text


@pytest.mark.parametrize(
    ("request_", "lines"),
    [
        (PlanRequest(), []),
        (PlanRequest(patch_size=(8, 8, 8)), []),
        (PlanRequest(patch_size=(8, 7, 5)), ["3d_fullres: patch 8 x 7 x 5 rounded up to 8 x 8 x 8"]),
        (PlanRequest(patch_size=(7, 8)), ["2d: patch 7 x 8 rounded up to 8 x 8"]),
        (PlanRequest(patch_size=(7, 8), configurations=("3d_fullres",)), []),
    ],
)
def test_a_patch_that_was_rounded_is_told(make_plan: MakePlan, request_: PlanRequest, lines: list[str]) -> None:
    told = list(rounded_patches(make_plan(), request_))
    assert len(told) == len(lines)
    assert all(line.startswith(start) for line, start in zip(told, lines, strict=True))
    assert all("divisible by 2 x 2" in line for line in told)


def test_a_patch_is_compared_in_the_plans_order_of_axes(make_plan: MakePlan) -> None:
    plan = with_values(make_plan(transpose_forward=(2, 0, 1)), "3d_fullres", patch_size=(6, 2, 4))
    assert list(rounded_patches(plan, PlanRequest(patch_size=(2, 4, 6)))) == []
    (line,) = rounded_patches(plan, PlanRequest(patch_size=(2, 3, 6)))
    assert "patch 6 x 2 x 3 rounded up to 6 x 2 x 4" in line
