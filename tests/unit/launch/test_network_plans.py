"""Plans for a network that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autounet.data.dataset import RawDataset
from autounet.errors import RequestError
from autounet.launch.network_plans import PlanPlace, asked_network, ensure_plan
from autounet.planners import planner_option
from autounet.progress import SILENT


@pytest.mark.parametrize(
    ("planner", "typed", "asked"),
    [
        ("default", None, None),
        ("default", "plain", None),
        ("default", "resenc", "resenc"),
        ("default", " vnet , variant=released ", "vnet,variant=released"),
        ("default", "plain,norm=batch", "plain,norm=batch"),
        ("nnunet_resenc_l", "resenc", None),
        ("nnunet-imported", "plain", "plain"),
    ],
)
def test_a_planners_own_network_is_its_usual_plan(planner: str, typed: str | None, asked: str | None) -> None:
    assert asked_network(planner, typed) == asked


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(RequestError, match="Did you mean 'vnet'"):
        asked_network("default", "vnets")


def test_the_options_that_a_command_needs_for_a_plan() -> None:
    assert planner_option("default") == ""
    assert planner_option("nnunet") == " --planner nnunet"
    assert planner_option("default", "vnet") == " --network vnet"
    assert planner_option("mine", "vnet") == " --planner mine --network vnet"


def test_without_any_plan_the_way_to_the_one_that_was_asked_for_is_told(
    write_dataset: Callable[..., RawDataset], tmp_path: Path
) -> None:
    raw = write_dataset({"a": (np.ones((1, 4, 5, 6)), np.zeros((4, 5, 6)))})
    place = PlanPlace(tmp_path, "default", "7")
    for network, option in (("vnet", " --network vnet"), ("plain", ""), (None, "")):
        with pytest.raises(RequestError, match=f"plan_and_preprocess -d 7{option}\\."):
            ensure_plan(raw, place, network, device="cpu", reporter=SILENT)
