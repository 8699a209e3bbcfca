"""Which models can be compared on which cases, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autounet.data.splits import make_splits
from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.launch.contenders import Contest, find_contest, median_shape
from autounet.models.folder import FoldName, ModelRecord, fold_folder, model_folder, record_path
from autounet.plans import Plan
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

SPLITS = make_splits([f"case_{index}" for index in range(9)], num_folds=3)
DATASET = "Dataset001_Test"


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    return make_plan(names=("2d", "3d_fullres", "3d_lowres"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path)


@pytest.fixture
def trained(workspace: Workspace, plan: Plan) -> Callable[..., None]:
    """Writes the records of folds of a configuration; nothing reads weights."""

    def write(name: str, *folds: FoldName, **changes: Any) -> None:
        configuration = plan.configuration(name)
        for fold in folds:
            digest = SPLITS[fold].training_digest if isinstance(fold, int) else None
            record = ModelRecord(
                plan=plan,
                configuration=configuration,
                fold=fold,
                mirror_axes=(),
                config=TrainConfig(),
                finished=True,
                training_digest=digest,
            ).model_copy(update=changes)
            record.write(record_path(fold_folder(model_folder(workspace, plan, configuration), fold)))

    return write


def contest_of(workspace: Workspace, plan: Plan, **wishes: Any) -> Contest:
    return find_contest(workspace, DATASET, plan.labels, SPLITS, **wishes)


def test_cases_are_told_of_by_the_fold_that_validates_on_them(
    workspace: Workspace, plan: Plan, trained: Callable[..., None]
) -> None:
    trained("2d", 0, 1, 2)
    trained("3d_fullres", 0, 1, 2)
    contest = contest_of(workspace, plan)
    assert contest.notes == ()
    assert contest.cases == tuple(f"case_{index}" for index in range(9))
    for contender in contest.contenders:
        for case, fold in contender.fold_of.items():
            assert case in SPLITS[fold].validation
            assert case not in SPLITS[fold].train


def test_only_cases_that_all_have_not_seen_are_compared(
    workspace: Workspace, plan: Plan, trained: Callable[..., None]
) -> None:
    trained("2d", 0, 1, 2)
    trained("3d_fullres", 1, 2)
    contest = contest_of(workspace, plan)
    assert set(contest.cases) == {*SPLITS[1].validation, *SPLITS[2].validation}
    missing, more = contest.notes
    assert "1, 2 of 3 folds compared, 0 missing; train with: autounet train 1 3d_fullres 0 --planner nnunet" in missing
    assert "2d can tell of 9 cases" in more


@pytest.mark.parametrize(
    ("fold", "changes", "said"),
    [
        ("all", {}, "has seen every case"),
        (2, {"finished": False, "stopped_by": "the user"}, "autounet train 1 2d 2 --planner nnunet --resume"),
        (2, {"training_digest": "another"}, "was trained on other cases"),
        (2, {"training_digest": None}, None),
    ],
)
def test_folds_that_can_tell_nothing_are_left_out_and_named(
    workspace: Workspace,
    plan: Plan,
    trained: Callable[..., None],
    fold: FoldName,
    changes: dict[str, Any],
    said: str | None,
) -> None:
    trained("2d", 0, 1)
    trained("2d", fold, **changes)
    contest = contest_of(workspace, plan)
    assert list(contest.contenders[0].records) == ([0, 1] if said else [0, 1, 2])
    assert said is None or said in contest.notes[0]


def test_folds_of_other_labels_are_left_out(workspace: Workspace, plan: Plan, trained: Callable[..., None]) -> None:
    trained("2d", 0, 1, 2)
    other = LabelSchema.from_dataset_json({"background": 0, "organ": 1}, None, "test")
    with pytest.raises(RequestError, match=r"(?s)nnunet__plain__2d with 0, 1, 2.*autounet train 1 .*with other labels"):
        find_contest(workspace, DATASET, other, SPLITS)


def test_a_second_stage_needs_the_same_fold_of_its_first(
    workspace: Workspace, plan: Plan, trained: Callable[..., None]
) -> None:
    second = plan.configuration("3d_fullres").model_copy(update={"previous_stage": "3d_lowres"})
    first = {"configuration": second, "previous_model": "nnunet__plain__3d_lowres"}
    trained("3d_lowres", 0, 1)
    trained("3d_fullres", 0, 1, 2, **first)
    contest = contest_of(workspace, plan, configurations=["3d_fullres"])
    assert list(contest.contenders[0].records) == [0, 1]
    assert "needs fold 2 of its first stage, 3d_lowres" in " ".join(contest.notes)


def test_cost_grows_with_folds_and_counts_both_stages(
    workspace: Workspace, plan: Plan, trained: Callable[..., None]
) -> None:
    trained("3d_lowres", 0)
    trained("3d_fullres", 0, 1)
    trained("2d", 0, 1, mirror_axes=(0, 1))
    low, full = contest_of(workspace, plan, configurations=["3d_lowres", "3d_fullres"]).contenders[::-1]
    assert full.cost == pytest.approx(2 * low.cost), "both are the same network"
    plain = contest_of(workspace, plan, configurations=["2d"]).contenders[0].cost
    trained("2d", 0, 1, mirror_axes=())
    assert plain == pytest.approx(4 * contest_of(workspace, plan, configurations=["2d"]).contenders[0].cost)
    second = plan.configuration("3d_fullres").model_copy(update={"previous_stage": "3d_lowres"})
    trained("3d_fullres", 0, configuration=second, previous_model="nnunet__plain__3d_lowres")
    cascade = contest_of(workspace, plan, configurations=["3d_fullres"]).contenders[0]
    assert cascade.cost > full.cost


def test_the_median_case_of_a_2d_configuration_has_its_slices(plan: Plan) -> None:
    assert median_shape(plan, plan.configuration("2d")) == (8, 16, 16)
    assert median_shape(plan, plan.configuration("3d_fullres")) == (16, 16, 16)


def test_a_single_fold_is_not_taken_for_cross_validation(
    workspace: Workspace, plan: Plan, trained: Callable[..., None]
) -> None:
    trained("2d", 1)
    trained("3d_fullres", 1)
    with pytest.raises(RequestError, match=r"only fold 1 .*all-folds --planner nnunet; or .*find_best 1 -f 1"):
        contest_of(workspace, plan)
    assert set(contest_of(workspace, plan, folds=[1]).cases) == set(SPLITS[1].validation)


def test_models_of_different_folds_have_no_case_in_common(
    workspace: Workspace, plan: Plan, trained: Callable[..., None]
) -> None:
    trained("2d", 0)
    trained("3d_fullres", 1)
    with pytest.raises(RequestError, match=r"trained on other folds \(2d: 0; 3d_fullres: 1\)"):
        contest_of(workspace, plan)
