"""What `find_best` chose for a dataset, and what belongs to a model that it chose alone.

results/DATASET/best.json             the models, their thresholds and postprocessing, all scores and the reasons
results/DATASET/MODEL/finish.json     thresholds and postprocessing of a model chosen alone, which travel with it
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from autounet import __version__
from autounet.errors import RequestError
from autounet.evaluation.best import Choice
from autounet.evaluation.finish import Finish
from autounet.evaluation.postprocessing import StepTrial
from autounet.evaluation.thresholds import ThresholdTrial
from autounet.models.folder import finished_folds, fold_folder
from autounet.models.integrity import CHECKSUMS, weights_digest
from autounet.records import SCHEMA_VERSION, Record
from autounet.workspace import Workspace, dataset_number

BEST_FILE, FINISH_FILE = "best.json", "finish.json"


class ChosenModel(Record):
    """A model that was chosen.

    Attributes:
        folder: Name of its folder, beside `best.json`.
        folds: SHA-256 of the weights of each fold that was scored, by its name: what was decided is of these weights.
    """

    folder: str
    folds: dict[str, str]


class ModelFinish(Record):
    """What was decided for a model alone.

    Attributes:
        finish: Thresholds and postprocessing.
        folds: SHA-256 of the weights of each fold that it was decided on.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    finish: Finish
    folds: dict[str, str]


class Best(Record):
    """What `predict` uses where no model is named.

    Attributes:
        models: Their probabilities are averaged, if they are several.
        finish: Thresholds and postprocessing.
        dice: Mean foreground Dice of what was chosen, thresholds and postprocessing included.
        num_cases: Scored cases.
        notes: What was missing, left out or made anew, in sentences.
        choice: All candidates and why this one was chosen.
        threshold_trials: What came of each threshold; empty where none was tried.
        step_trials: What came of each step of postprocessing.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    autounet_version: str = __version__
    dataset_name: str
    models: tuple[ChosenModel, ...]
    finish: Finish
    dice: float
    num_cases: int
    notes: tuple[str, ...]
    choice: Choice
    threshold_trials: tuple[ThresholdTrial, ...]
    step_trials: tuple[StepTrial, ...]


def best_path(workspace: Workspace, dataset: str) -> Path:
    """Where the choice for a dataset lies."""
    return workspace.results / dataset / BEST_FILE


def chosen_model(folder: Path, folds: Iterable[int]) -> ChosenModel:
    """A model folder with the state of the folds that were scored."""
    return ChosenModel(
        folder=folder.name, folds={str(fold): weights_digest(fold_folder(folder, fold)) for fold in folds}
    )


def write_best(best: Best, path: Path) -> None:
    """Write the choice, and what belongs to a model that was chosen alone into its folder."""
    best.write(path)
    if len(best.models) == 1:
        (model,) = best.models
        finish_path = path.parent / model.folder / FINISH_FILE
        if best.finish.summary:
            ModelFinish(finish=best.finish, folds=model.folds).write(finish_path)
        else:
            finish_path.unlink(missing_ok=True)


def read_best(path: Path) -> Best:
    """The choice, whose models must be as they were when it was made.

    Raises:
        RequestError: A model is gone or was trained anew.
    """
    best = Best.read(path)
    for model in best.models:
        for name, digest in model.folds.items():
            fold = path.parent / model.folder / f"fold_{name}"
            if _digest(fold) != digest:
                what = "was trained anew" if fold.is_dir() else "is gone"
                raise RequestError(
                    f"{fold} {what} since find_best chose it ({path}). Choose again with: "
                    f"autounet find_best {dataset_number(best.dataset_name)}; or name a model with -c or --model."
                )
    return best


def read_finish(model: Path) -> Finish | None:
    """What was decided for a model alone: nothing, or `None` where it was decided on other weights than there are.

    Folds that had no say, such as `all`, or one that was trained later, are finished like the others.
    """
    path = model / FINISH_FILE
    if not path.exists():
        return Finish()
    known = ModelFinish.read(path)
    there = {name: _digest(fold_folder(model, record.fold)) for name, record in finished_folds(model).items()}
    judged = known.folds.keys() & there.keys()
    return known.finish if judged and all(known.folds[name] == there[name] for name in judged) else None


def _digest(fold: Path) -> str | None:
    """Of the weights; `None` where they are not there, or a run is under way."""
    return weights_digest(fold) if (fold / CHECKSUMS).is_file() else None
