"""What the verbs of planning tell one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autounet.errors import RequestError
from autounet.pipeline.planning import planned_seconds
from autounet.plans import Plan, plan_path
from autounet.workspace import Workspace

MakePlan = Callable[..., Plan]


def test_a_plan_for_a_network_alone_is_enough_to_train_by(tmp_path: Path, make_plan: MakePlan) -> None:
    plan, workspace = make_plan(), Workspace.at(tmp_path)
    folder = workspace.preprocessed / plan.dataset_name
    folder.mkdir(parents=True)
    with pytest.raises(RequestError, match="does not exist"):
        planned_seconds(workspace, plan.dataset_name, "3d_fullres", "default", "vnet")
    plan.model_copy(update={"network": "vnet"}).write(plan_path(folder, "default", "vnet"))
    assert planned_seconds(workspace, plan.dataset_name, "3d_fullres", "default", "vnet") is None
