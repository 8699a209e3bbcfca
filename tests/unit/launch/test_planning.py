"""Planning on a machine: its memory, its clock, and the plan file, in which nothing of the user's is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autounet.data.dataset import RawDataset
from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.labels import LabelSchema
from autounet.launch import timing
from autounet.launch.plan_files import (
    RULED,
    must_prepare,
    read_plan,
    with_own_configurations,
    without_own,
    write_plan,
)
from autounet.launch.planning import make_plan
from autounet.planners.request import PlanRequest
from autounet.plans import Configuration, Plan, plan_path
from autounet.preprocessing.dataset import prepare_dataset
from autounet.progress import SILENT, Silent
from autounet.training import device as device_module
from autounet.training.precision import Precision

MakePlan = Callable[..., Plan]
DESCRIPTION = DatasetDescription(
    name="Dataset001_Test",
    channel_names=("MR",),
    labels=LabelSchema.from_dataset_json({"background": 0, "organ": 1}, None, "test"),
    file_ending=".nii",
)


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def planned(make_fingerprint: Callable[..., Fingerprint], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Plans cases of one shape; steps take no time, and the CPU has 3 GiB for training."""

    def measure(configuration: Configuration, goal_seconds: float, **_: Any) -> float:
        return float(np.prod(configuration.patch_size)) * 1e-9

    monkeypatch.setattr(timing, "measure_step", measure)
    monkeypatch.setattr(device_module, "device_memory_gib", lambda device: 3.0)
    fingerprint = make_fingerprint([(1, 1, 1)] * 5, [(100, 100, 100)] * 5)

    def plan(planner: str = "default", max_seconds: float | None = None, device: str = "cpu", **wishes: Any) -> Plan:
        request = PlanRequest(**wishes)
        return make_plan(planner, fingerprint, DESCRIPTION, request, max_seconds, device=device, reporter=SILENT)

    return plan


def test_the_default_planner_plans_for_the_devices_memory(planned: Callable[..., Plan]) -> None:
    assert planned().memory_gib == 3
    assert planned(memory_gib=2.5).memory_gib == 2.5
    assert planned("nnunet").memory_gib == 8  # a preset's own, whatever the device


def test_a_gpu_that_is_not_here_needs_its_memory_named_and_is_not_timed(
    planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("autounet.training.precision._probe_cpu", lambda: Precision(torch.float32, "test"))
    with pytest.raises(RequestError, match=r"no cuda here.*--memory-gib 24.*--device cpu"):
        planned(device="cuda")
    with pytest.raises(RequestError, match="cannot be used here"):
        planned(device="cuda", memory_gib=4, max_seconds=60)
    there = planned(device="cuda", memory_gib=4, patch_size=(32, 32, 32)).configuration("3d_fullres")
    here = planned(device="cpu", memory_gib=4, patch_size=(32, 32, 32)).configuration("3d_fullres")
    assert there.time is None
    assert here.time is not None
    assert there.memory is not None
    assert here.memory is not None
    half, full = (entry.memory.activations_bytes / entry.batch_size for entry in (there, here) if entry.memory)
    assert half < 0.7 * full  # 16 bits


def test_time_is_told_where_sizes_or_a_time_were_given(planned: Callable[..., Plan]) -> None:
    def timed(plan: Plan) -> list[str]:
        return [name for name, entry in plan.configurations.items() if entry.time is not None]

    assert timed(planned()) == []
    assert timed(planned(patch_size=(32, 32))) == ["2d"]
    assert timed(planned(batch_size=3, configurations=("3d_fullres",))) == ["3d_fullres"]
    assert timed(planned(max_seconds=60, configurations=("2d",))) == ["2d"]
    plan = planned(max_seconds=60, patch_size=(32, 32))
    assert timed(plan) == list(plan.configurations)
    assert plan.configuration("2d").patch_size == (32, 32)


def test_an_unknown_planner_is_refused(planned: Callable[..., Plan]) -> None:
    with pytest.raises(RequestError, match="Did you mean 'nnunet'"):
        planned("nnunt")


def test_a_plan_that_is_not_there_names_those_that_are(make_plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"plan_default\.json does not exist.*plan_and_preprocess -d 4\.$"):
        read_plan(tmp_path, "default", "4")
    write_plan(make_plan(), tmp_path, SILENT)
    (tmp_path / "plan_nnunet.previous.json").write_text("{}")
    with pytest.raises(RequestError, match=r"-d 4\. There are plans by: nnunet \(--planner\)\.$"):
        read_plan(tmp_path, "default", "4")
    with pytest.raises(RequestError, match=r"-d 4 --planner other\."):
        read_plan(tmp_path, "other", "4")
    assert read_plan(tmp_path, "nnunet", "4") == make_plan()


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    content = json.loads(path.read_text())
    change(content["configurations"])
    path.write_text(json.dumps(content))
    return path.read_text()


def test_a_plan_of_another_content_is_kept_beside_the_new_one(make_plan: MakePlan, tmp_path: Path) -> None:
    told, plan = Told(), make_plan()
    assert write_plan(plan, tmp_path, told) == (plan, plan_path(tmp_path, "nnunet"))
    write_plan(plan, tmp_path, told)
    assert told.lines == []
    path = plan_path(tmp_path, "nnunet")
    for name, spoil in {"previous": with_batch_of_nine, "previous-2": torn}.items():
        spoiled = spoil(path)
        write_plan(plan, tmp_path, told)
        assert Plan.read(path) == plan
        assert (tmp_path / f"plan_nnunet.{name}.json").read_text() == spoiled
    assert len(told.lines) == 2
    assert "plan_nnunet.previous.json" in told.lines[0]


def with_batch_of_nine(path: Path) -> str:
    return edit(path, lambda entries: entries["2d"].update(batch_size=9))


def torn(path: Path) -> str:
    path.write_text(path.read_text()[:200])
    return path.read_text()


def test_a_configuration_of_the_users_own_follows_its_parent_into_the_new_plan(
    make_plan: MakePlan, tmp_path: Path
) -> None:
    _, path = write_plan(make_plan(), tmp_path, SILENT)
    edit(path, lambda entries: entries.update(mine={"inherits_from": "3d_fullres", "batch_size": 5}))
    told = Told()
    plan, _ = write_plan(make_plan(spacing_mm=(2, 1, 1)), tmp_path, told)
    assert plan == Plan.read(path)
    mine = plan.configuration("mine")
    assert (mine.name, mine.batch_size, mine.spacing_mm) == ("mine", 5, (2, 1, 1))
    assert len(told.lines) == 1  # the plan did change
    write_plan(make_plan(spacing_mm=(2, 1, 1)), tmp_path, told)
    assert len(told.lines) == 1


def test_a_configuration_whose_parent_is_gone_is_not_lost_in_silence(make_plan: MakePlan) -> None:
    content = make_plan().model_dump(mode="json")
    content["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 5}
    earlier = Plan.parse(content, "test")
    with pytest.raises(RequestError, match=r"of your own \(mine\).*3d_fullres.*give them all values"):
        with_own_configurations(make_plan(names=("2d",)), earlier)


def test_ruled_configurations_that_are_planned_no_more_go(make_plan: MakePlan) -> None:
    assert with_own_configurations(make_plan(names=("2d",)), make_plan()) == make_plan(names=("2d",))


def test_a_planner_is_not_asked_for_a_configuration_of_the_users_own(make_plan: MakePlan, tmp_path: Path) -> None:
    _, path = write_plan(make_plan(), tmp_path, SILENT)
    request = PlanRequest(configurations=("mine", "2d"))
    assert without_own(request, path) == request  # not there, so that the planner will refuse it
    assert without_own(request, tmp_path / "missing.json") == request
    edit(path, lambda entries: entries.update(mine={"inherits_from": "3d_fullres"}))
    assert without_own(request, path).configurations == ("2d",)
    with pytest.raises(RequestError, match=r"mine is a configuration of your own: write its sizes into .*json"):
        without_own(request.model_copy(update={"batch_size": 3}), path)


def test_cases_must_be_prepared_after_a_change_of_theirs(
    write_dataset: Callable[..., RawDataset], make_plan: MakePlan, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    raw = write_dataset(
        {name: (generator.random((1, 4, 10, 12)), generator.integers(0, 3, (4, 10, 12))) for name in ("a", "b")}
    )
    plan, folder = make_plan(), tmp_path / "out"
    full = plan.configuration("3d_fullres")
    assert must_prepare(raw, plan, full, folder) == ["a", "b"]
    assert not folder.exists()
    prepare_dataset(raw, plan, [full], folder)
    assert must_prepare(raw, plan, full, folder) == []
    assert must_prepare(raw, plan, full.model_copy(update={"patch_size": (4, 4, 4)}), folder) == []
    assert must_prepare(raw, plan, plan.configuration("2d"), folder) == ["a", "b"]
    other = make_plan(spacing_mm=(2, 1, 1))
    assert must_prepare(raw, other, other.configuration("3d_fullres"), folder) == ["a", "b"]
    image = raw.cases[1].images[0]
    os.utime(image, ns=(image.stat().st_atime_ns, image.stat().st_mtime_ns + 10**9))
    assert must_prepare(raw, plan, full, folder) == ["b"]


def test_what_is_planned_by_rule_is_what_planners_name(planned: Callable[..., Plan]) -> None:
    assert set(planned(memory_gib=0.1).configurations) == set(RULED)
