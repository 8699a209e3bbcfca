"""Which network of the first stage tells of which case: none that was trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autounet.data.splits import Split, make_splits
from autounet.errors import RequestError
from autounet.launch.out_of_fold import _unseen_by, find_out_of_fold, require_first_stage
from autounet.models.folder import FoldName, ModelRecord, fold_folder, model_folder, record_path
from autounet.plans import Configuration, Plan
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

NAMES = ("a", "b", "c", "d", "e", "f")
SPLITS = make_splits(NAMES, num_folds=3)


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    """A plan with a cascade."""
    plan = make_plan(names=("3d_fullres", "3d_lowres"))
    second = plan.configuration("3d_fullres").model_copy(
        update={"name": "3d_cascade_fullres", "previous_stage": "3d_lowres"}
    )
    return plan.model_copy(update={"configurations": {**plan.configurations, second.name: second}})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path)


def second_of(plan: Plan) -> Configuration:
    return plan.configuration("3d_cascade_fullres")


def train_first(
    workspace: Workspace, plan: Plan, fold: FoldName, *, network: str = "plain", finished: bool = True, digest: str = ""
) -> Path:
    """Write the record of a fold of the first stage; returns the model folder."""
    low = plan.configuration("3d_lowres")
    low = low.model_copy(update={"network": low.network.model_copy(update={"name": network})})
    model = model_folder(workspace, plan, low)
    own = SPLITS[fold].training_digest if isinstance(fold, int) else None
    record = ModelRecord(
        plan=plan,
        configuration=low,
        fold=fold,
        mirror_axes=(),
        config=TrainConfig(),
        finished=finished,
        stopped_by=None if finished else "the user",
        training_digest=digest or own,
    )
    record.write(record_path(fold_folder(model, fold)))
    return model


@given(fold=st.integers(0, 4), num_cases=st.integers(5, 20))
def test_no_case_is_told_of_by_a_network_that_was_trained_on_it(fold: int, num_cases: int) -> None:
    splits = make_splits([f"case_{index}" for index in range(num_cases)])
    for name in (*splits[fold].train, *splits[fold].validation):
        told_by = _unseen_by(name, splits, fold)
        assert isinstance(told_by, int)
        assert name not in splits[told_by].train
        assert name in splits[told_by].validation


def test_folds_of_your_own_may_overlap_or_leave_cases_out() -> None:
    splits = (
        Split(train=("a", "b"), validation=("c", "d")),
        Split(train=("a", "c"), validation=("d",)),
        Split(train=("b", "c", "d"), validation=("d",)),
    )
    assert [_unseen_by("d", splits, fold) for fold in range(2)] == [0, 1]
    assert _unseen_by("a", splits, 0) == 2  # validated nowhere, but left out of the last
    with pytest.raises(RequestError, match="case e is trained on in every fold"):
        _unseen_by("e", (Split(train=("e",), validation=()),), 0)


def test_every_fold_that_is_needed_must_be_there(plan: Plan, workspace: Workspace) -> None:
    second = second_of(plan)
    with pytest.raises(RequestError, match=r"folds 0, 1, 2 of .*nnunet__plain__3d_lowres are not .* all-folds --plan"):
        find_out_of_fold(workspace, plan, second, 0, NAMES, SPLITS)
    train_first(workspace, plan, 0)
    train_first(workspace, plan, 1, finished=False)
    train_first(workspace, plan, 2)
    with pytest.raises(RequestError, match="and fold 1 of"):
        require_first_stage(workspace, plan, second, [0, 2], SPLITS)
    model = train_first(workspace, plan, 1)
    found = find_out_of_fold(workspace, plan, second, 1, NAMES, SPLITS)
    assert found.model == model
    assert not found.has_seen
    assert {name: SPLITS[int(fold)].validation for name, fold in found.fold_of.items()} == {
        name: next(split.validation for split in SPLITS if name in split.validation) for name in NAMES
    }
    case = SPLITS[1].validation[0]
    assert found.mask(case, ".nii") == model / "fold_1" / "validation" / f"{case}.nii"
    require_first_stage(workspace, plan, plan.configuration("3d_fullres"), [0], SPLITS)


def test_all_cases_are_told_of_by_all_only_where_there_is_nothing_better(plan: Plan, workspace: Workspace) -> None:
    train_first(workspace, plan, "all")
    assert find_out_of_fold(workspace, plan, second_of(plan), "all", NAMES, SPLITS).has_seen
    with pytest.raises(RequestError, match="folds 0, 1, 2"):
        find_out_of_fold(workspace, plan, second_of(plan), 0, NAMES, SPLITS)
    for fold in range(3):
        train_first(workspace, plan, fold)
    assert not find_out_of_fold(workspace, plan, second_of(plan), "all", NAMES, SPLITS).has_seen


def test_the_first_stage_of_the_same_network_is_taken(plan: Plan, workspace: Workspace) -> None:
    second = second_of(plan)
    resenc = second.model_copy(update={"network": second.network.model_copy(update={"name": "resenc"})})
    for fold in range(3):
        plain = train_first(workspace, plan, fold)
    assert find_out_of_fold(workspace, plan, resenc, 0, NAMES, SPLITS).model == plain
    for fold in range(3):
        other = train_first(workspace, plan, fold, network="resenc")
    assert find_out_of_fold(workspace, plan, resenc, 0, NAMES, SPLITS).model == other
    assert find_out_of_fold(workspace, plan, second, 0, NAMES, SPLITS).model == plain


def test_a_first_stage_of_other_folds_or_labels_is_refused(plan: Plan, workspace: Workspace) -> None:
    for fold in range(3):
        train_first(workspace, plan, fold)
    train_first(workspace, plan, 2, digest=SPLITS[0].training_digest)
    with pytest.raises(RequestError, match=r"other cases than fold 2 has now .* 1 3d_lowres 2 --planner nnunet --o"):
        find_out_of_fold(workspace, plan, second_of(plan), 0, NAMES, SPLITS)
    train_first(workspace, plan, 2)
    channel = plan.channels[0].model_copy(update={"normalization": "nonorm"})
    other = plan.model_copy(update={"channels": (channel,)})
    with pytest.raises(RequestError, match="other labels or channels"):
        find_out_of_fold(workspace, other, second_of(other), 0, NAMES, SPLITS)
