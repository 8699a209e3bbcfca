"""Plans on disk and the checks that they hold when they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autounet.errors import RequestError
from autounet.plans import Plan, plan_path

MakePlan = Callable[..., Plan]


def test_a_plan_comes_back_from_disk_byte_for_byte(make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan(normalizations=("ct", "zscore"), spacing_mm=(1 / 3, 0.1, 5))
    path = plan_path(tmp_path, plan.planner)
    assert path.name == "plan_nnunet.json"
    plan.write(path)
    written = path.read_bytes()
    assert Plan.read(path) == plan
    Plan.read(path).write(path)
    assert path.read_bytes() == written


def changed(plan: Plan, change: Callable[[dict[str, Any]], object]) -> Plan:
    content = plan.model_dump(mode="json")
    change(content)
    return Plan.parse(content, "plan.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda plan: plan.update(median_spacing=1),
            "'median_spacing' is not a known key. Did you mean 'median_spacing_mm'",
        ),
        (
            lambda plan: plan["configurations"]["2d"].update(patch=1),
            r"'configurations\.2d': 'patch' is not a known key",
        ),
        (lambda plan: plan.update(schema_version=2), r"'schema_version': Input should be 1 \(got 2\)"),
        (lambda plan: plan.pop("labels"), "'labels' is missing"),
        (
            lambda plan: plan.update(laterality={"axis": 2, "pairs": [[1, 5]], "confirmed": True}),
            r"the pairs of left and right labels hold \[5\], which no class has",
        ),
        (
            lambda plan: plan["configurations"]["2d"].update(patch_size=[8, 9]),
            r"patch_size \(8, 9\) must be divisible by \(2, 2\)",
        ),
        (
            lambda plan: plan["configurations"]["2d"].update(patch_size=[8, 0]),
            r"patch_size \(8, 0\) must be divisible by \(2, 2\)",
        ),
        (
            lambda plan: plan["configurations"]["2d"].update(patch_size=[8, 8, 8]),
            r"patch_size \(8, 8, 8\) has 3 axes, but the network has 2",
        ),
        (lambda plan: plan["configurations"]["2d"]["network"]["features"].append(16), "3 stages by its features"),
        (lambda plan: plan["configurations"]["2d"]["network"].update(num_convs_decoder=[]), "2 stages by its features"),
        (lambda plan: plan["configurations"]["2d"]["network"].update(features=[4, 0]), "must be 1 or more"),
        (lambda plan: plan["configurations"]["2d"]["network"].update(strides=[[2, 2], [2, 2]]), "begin with ones"),
        (
            lambda plan: plan["configurations"]["2d"]["network"].update(kernel_sizes=[[3, 3], [2, 3]]),
            r"kernel_sizes must be odd.* got \(2, 3\)",
        ),
        (lambda plan: plan["configurations"]["2d"].update(batch_size=0), "greater than or equal to 1"),
        (
            lambda plan: plan["configurations"]["2d"].update(spacing_mm=[1, -1]),
            r"spacing_mm must be 2 positive numbers, got \(1.0, -1.0\)",
        ),
        (lambda plan: plan["configurations"]["2d"].update(name="3d"), "'2d' calls itself '3d'"),
        (
            lambda plan: plan["configurations"]["2d"].update(previous_stage="low"),
            "'2d' follows 'low', which the plan does not hold",
        ),
        (
            lambda plan: plan["configurations"].update(mine={"inherits_from": "2D"}),
            "'mine' inherits from '2D', which the plan does not hold",
        ),
        (
            lambda plan: plan["configurations"].update({"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}),
            "inherit in a circle: a from b from a",
        ),
        (lambda plan: plan.update(transpose_forward=[0, 1, 1]), r"must order the axes 0, 1 and 2, got \(0, 1, 1\)"),
    ],
)
def test_a_plan_that_does_not_hold_together_is_refused(
    change: Callable[[dict[str, Any]], object], message: str, make_plan: MakePlan
) -> None:
    with pytest.raises(RequestError, match=rf"^plan\.json is no valid Plan: .*{message}"):
        changed(make_plan(), change)


def test_a_child_takes_from_its_parents_what_it_does_not_say_itself(make_plan: MakePlan) -> None:
    plan = make_plan()
    content = plan.model_dump(mode="json")
    content["configurations"]["large_batch"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    content["configurations"]["grandchild"] = {"inherits_from": "large_batch", "batch_dice": True}
    read = Plan.parse(content, "plan.json")
    parent, child, grandchild = (read.configuration(name) for name in ("3d_fullres", "large_batch", "grandchild"))
    assert child == parent.model_copy(update={"name": "large_batch", "inherits_from": "3d_fullres", "batch_size": 7})
    assert (grandchild.batch_size, grandchild.batch_dice, grandchild.patch_size) == (7, True, parent.patch_size)


def test_what_is_inherited_is_not_written_so_that_an_edit_of_the_parent_holds_for_the_child(
    make_plan: MakePlan,
) -> None:
    content = make_plan().model_dump(mode="json")
    content["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    written = Plan.parse(content, "plan.json").model_dump(mode="json")
    assert written["configurations"]["mine"] == {"name": "mine", "inherits_from": "3d_fullres", "batch_size": 7}
    written["configurations"]["3d_fullres"]["batch_dice"] = True
    assert Plan.parse(written, "plan.json").configuration("mine").batch_dice


def test_the_second_stage_of_a_cascade_has_a_further_input_for_each_class(make_plan: MakePlan) -> None:
    content = make_plan(normalizations=("ct", "zscore")).model_dump(mode="json")
    content["configurations"]["second"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_fullres"}
    plan = Plan.parse(content, "plan.json")
    assert plan.num_inputs(plan.configuration("3d_fullres")) == 2
    assert plan.num_inputs(plan.configuration("second")) == 2 + 2


def test_a_network_states_its_stages_and_its_divisor(make_plan: MakePlan) -> None:
    network = make_plan().configuration("3d_fullres").network
    three = network.model_copy(
        update={"strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)), "features": (4, 8, 16), "kernel_sizes": ((3, 3, 3),) * 3}
    )
    assert (three.num_stages, three.num_spatial_dims, three.divisor) == (3, 3, (2, 4, 4))


def test_a_configuration_is_found_by_its_name(make_plan: MakePlan) -> None:
    plan = make_plan()
    assert plan.configuration("3d_fullres").num_spatial_dims == 3
    with pytest.raises(RequestError) as caught:
        plan.configuration("3d_fulres")
    assert str(caught.value) == (
        "Dataset001_Test has no configuration '3d_fulres'. Did you mean '3d_fullres'? Planned: 2d, 3d_fullres."
    )


def test_three_dimensions_asked_of_images_are_explained(make_plan: MakePlan) -> None:
    with pytest.raises(RequestError, match=r"'3d_fullres'\. The dataset holds 2D images\. Planned: 2d\."):
        make_plan(names=("2d",)).configuration("3d_fullres")
    with pytest.raises(RequestError) as caught:
        make_plan().configuration("3d_lowres")
    assert "2D images" not in str(caught.value)


def test_slices_keep_their_distance_in_2d(make_plan: MakePlan) -> None:
    plan = make_plan(spacing_mm=(3, 0.5, 0.7))
    assert plan.configuration("2d").target_spacing_mm((7, 1, 1)) == (7, 0.5, 0.7)
    assert plan.configuration("3d_fullres").target_spacing_mm((7, 1, 1)) == (3, 0.5, 0.7)


@given(st.permutations([0, 1, 2]))
def test_transposing_there_and_back_changes_nothing(make_plan: MakePlan, order: list[int]) -> None:
    plan = make_plan(transpose_forward=tuple(order))
    array = np.zeros((2, 3, 4))
    assert array.transpose(plan.transpose_forward).transpose(plan.transpose_backward).shape == array.shape
