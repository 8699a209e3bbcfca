"""What was decided for a model: used as long as the weights are those that it was decided on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autounet.errors import RequestError
from autounet.evaluation.best import Candidate, choose
from autounet.evaluation.finish import Finish
from autounet.evaluation.postprocessing import KeepLargest, Postprocessing
from autounet.evaluation.tables import Table
from autounet.evaluation.thresholds import Thresholds
from autounet.models.archive import pack_model, unpack_model
from autounet.models.best import FINISH_FILE, Best, chosen_model, read_best, read_finish, write_best
from autounet.models.folder import finished_folds, fold_folder, save_weights, seal_fold
from autounet.training.checkpoint import load_tensors

FINISH = Finish(
    thresholds=Thresholds(values={"tumour": 0.3}),
    postprocessing=Postprocessing(steps=(KeepLargest(name="organ", values=(1,)),)),
)
SCORES: Table = np.full((3, 2), 0.8)


def choice_of(model: Path, finish: Finish = FINISH, num_models: int = 1) -> Path:
    """Write a choice of the model, once or more; its file."""
    best = Best(
        dataset_name="Dataset001_Test",
        models=(chosen_model(model, [0]),) * num_models,
        finish=finish,
        dice=0.8,
        num_cases=3,
        notes=(),
        choice=choose([Candidate("3d_fullres", ("3d_fullres",), 1.0, SCORES)]),
        threshold_trials=(),
        step_trials=(),
    )
    path = model.parent / "best.json"
    write_best(best, path)
    assert Best.read(path) == best
    return path


def train_anew(model: Path) -> None:
    """Other weights for fold 0."""
    fold = fold_folder(model, 0)
    weights, _ = load_tensors(fold / "weights.safetensors")
    save_weights(fold, {name: tensor + 1 for name, tensor in weights.items()})
    seal_fold(fold, finished_folds(model)["0"])


def test_what_is_done_in_a_few_words() -> None:
    assert FINISH.summary == "tumour from a probability of 0.3 on, largest component of organ"
    assert Finish().summary == ""


def test_a_model_chosen_alone_keeps_what_was_decided_for_it(model: Path) -> None:
    assert read_finish(model) == Finish()
    path = choice_of(model)
    assert read_finish(model) == FINISH
    assert read_best(path).finish == FINISH
    choice_of(model, Finish())
    assert not (model / FINISH_FILE).exists()


def test_what_was_decided_for_an_ensemble_is_not_of_its_members(model: Path) -> None:
    choice_of(model, num_models=2)
    assert read_finish(model) == Finish()


def test_weights_trained_anew_end_both(model: Path) -> None:
    path = choice_of(model)
    train_anew(model)
    assert read_finish(model) is None
    with pytest.raises(RequestError, match=r"fold_0 was trained anew .*autounet find_best 1;"):
        read_best(path)
    (model / "fold_0").rename(model / "fold_7")
    with pytest.raises(RequestError, match="fold_0 is gone"):
        read_best(path)


def test_it_travels_with_the_model_unless_it_is_of_other_weights(model: Path, tmp_path: Path) -> None:
    choice_of(model)
    pack_model(model, tmp_path / "a.zip")
    unpack_model(tmp_path / "a.zip", tmp_path / "a")
    assert read_finish(tmp_path / "a") == FINISH
    train_anew(model)
    pack_model(model, tmp_path / "b.zip")
    unpack_model(tmp_path / "b.zip", tmp_path / "b")
    assert not (tmp_path / "b" / FINISH_FILE).exists()


def test_a_damaged_finish_is_named(model: Path) -> None:
    choice_of(model)
    path = model / FINISH_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "finnish": {}}))
    with pytest.raises(RequestError, match=r"finish\.json.*Did you mean 'finish'"):
        read_finish(model)
