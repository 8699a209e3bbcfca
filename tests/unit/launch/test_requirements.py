"""Before a run: what must be there, and what must not be lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autounet.data.dataset import RawDataset
from autounet.errors import RequestError
from autounet.launch.requirements import require_free, require_prepared, split_of
from autounet.models.folder import ModelRecord, record_path
from autounet.plans import Plan
from autounet.preprocessing.dataset import prepare_dataset
from autounet.training.config import TrainConfig

MakePlan = Callable[..., Plan]


@pytest.fixture
def raw(write_dataset: Callable[..., RawDataset]) -> RawDataset:
    """Five small cases."""
    generator = np.random.default_rng(0)
    return write_dataset(
        {f"c{index}": (generator.random((1, 2, 8, 8)), generator.integers(0, 3, (2, 8, 8))) for index in range(5)}
    )


def test_cases_that_are_not_prepared_are_counted_and_the_command_is_named(
    raw: RawDataset, make_plan: MakePlan, tmp_path: Path
) -> None:
    plan = make_plan()
    full = plan.configuration("3d_fullres")
    with pytest.raises(RequestError, match=r"5 of 5 .*\(first: c0\).* preprocess 1 -c 3d_fullres --planner nnunet"):
        require_prepared(raw, plan, full, tmp_path / "out")
    prepare_dataset(raw, plan, [full], tmp_path / "out")
    require_prepared(raw, plan, full, tmp_path / "out")
    ours = plan.model_copy(update={"planner": "default"})
    with pytest.raises(RequestError, match=r"preprocess 1 -c 2d$"):
        require_prepared(raw, ours, ours.configuration("2d"), tmp_path / "out")


def test_a_fold_splits_the_cases_and_all_holds_every_case_twice(raw: RawDataset, tmp_path: Path) -> None:
    names = tuple(f"c{index}" for index in range(5))
    folds = [split_of(tmp_path, raw, fold) for fold in range(5)]
    assert sorted(name for split in folds for name in split.validation) == list(names)
    for split in folds:
        assert sorted((*split.train, *split.validation)) == list(names)
    everything = split_of(tmp_path, raw, "all")
    assert everything.train == everything.validation == names
    with pytest.raises(RequestError, match="fold 5 does not exist: there are folds 0 to 4, and 'all'"):
        split_of(tmp_path, raw, 5)


def test_splits_of_the_users_own_are_obeyed(raw: RawDataset, tmp_path: Path) -> None:
    own = [{"train": ["c0", "c1", "c2"], "val": ["c3", "c4"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(own))
    assert split_of(tmp_path, raw, 0).validation == ("c3", "c4")
    with pytest.raises(RequestError, match="folds 0 to 0"):
        split_of(tmp_path, raw, 1)


@pytest.fixture
def write_record(make_plan: MakePlan, tmp_path: Path) -> Callable[[bool], Path]:
    """Writes the record of a run that is finished or not."""

    def write(finished: bool) -> Path:
        plan = make_plan()
        configuration = plan.configuration("2d")
        record = ModelRecord(
            plan=plan,
            configuration=configuration,
            fold=0,
            mirror_axes=(0, 1),
            config=TrainConfig(),
            finished=finished,
        )
        record.write(record_path(tmp_path / "fold_0"))
        return tmp_path / "fold_0"

    return write


def test_an_empty_place_is_free(tmp_path: Path) -> None:
    require_free(tmp_path, resume=False, overwrite=False)
    require_free(tmp_path, resume=False, overwrite=True)
    with pytest.raises(RequestError, match="no run to go on with"):
        require_free(tmp_path, resume=True, overwrite=False)


def test_a_finished_run_is_not_lost(write_record: Callable[[bool], Path]) -> None:
    folder = write_record(True)
    with pytest.raises(RequestError, match=r"is finished.*--overwrite"):
        require_free(folder, resume=False, overwrite=False)
    with pytest.raises(RequestError, match=r"is finished.*--overwrite"):
        require_free(folder, resume=True, overwrite=False)
    require_free(folder, resume=False, overwrite=True)


def test_a_run_that_was_not_finished_goes_on_or_is_overwritten(write_record: Callable[[bool], Path]) -> None:
    folder = write_record(False)
    with pytest.raises(RequestError, match=r"was not finished.*--resume.*--overwrite"):
        require_free(folder, resume=False, overwrite=False)
    require_free(folder, resume=True, overwrite=False)
    require_free(folder, resume=False, overwrite=True)
    with pytest.raises(RequestError, match="exclude each other"):
        require_free(folder, resume=True, overwrite=True)
