"""What `find_best` chose for a dataset: which models, their thresholds, and what is done to finished label maps.

results/DATASET/best.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from autounet import __version__
from autounet.errors import RequestError
from autounet.evaluation.best import Choice
from autounet.evaluation.postprocessing import Postprocessing, StepTrial
from autounet.evaluation.thresholds import Thresholds, ThresholdTrial
from autounet.models.folder import fold_folder
from autounet.models.integrity import weights_digest
from autounet.records import SCHEMA_VERSION, Record
from autounet.workspace import Workspace

BEST_FILE = "best.json"


class ChosenModel(Record):
    """A model that was chosen.

    Attributes:
        folder: Name of its folder, beside `best.json`.
        folds: SHA-256 of the weights of each fold that was scored, by its name: what was decided is of these weights.
    """

    folder: str
    folds: dict[str, str]


class Best(Record):
    """What `predict` uses where no model is named.

    Attributes:
        models: Their probabilities are averaged, if they are several.
        thresholds: From which probability on a class is there; empty where one half is.
        postprocessing: What is done to a label map before it is written.
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
    thresholds: Thresholds
    postprocessing: Postprocessing
    dice: float
    num_cases: int
    notes: tuple[str, ...]
    choice: Choice
    threshold_trials: tuple[ThresholdTrial, ...]
    step_trials: tuple[StepTrial, ...]

    @property
    def finish(self) -> str:
        """What is done besides averaging, in a few words; empty where nothing is."""
        said = [f"{name} from a probability of {value:g} on" for name, value in self.thresholds.values.items()]
        said += [f"largest component of {step.name}" for step in self.postprocessing.steps]
        return ", ".join(said)


def best_path(workspace: Workspace, dataset: str) -> Path:
    """Where the choice for a dataset lies."""
    return workspace.results / dataset / BEST_FILE


def chosen_model(folder: Path, folds: list[int]) -> ChosenModel:
    """A model folder with the state of the folds that were scored."""
    return ChosenModel(
        folder=folder.name, folds={str(fold): weights_digest(fold_folder(folder, fold)) for fold in folds}
    )


def read_best(path: Path) -> Best:
    """The choice, whose models must be as they were when it was made.

    Raises:
        RequestError: A model is gone or was trained anew.
    """
    best = Best.read(path)
    for model in best.models:
        for name, digest in model.folds.items():
            fold = path.parent / model.folder / f"fold_{name}"
            if not fold.is_dir() or weights_digest(fold) != digest:
                what = "was trained anew" if fold.is_dir() else "is gone"
                raise RequestError(
                    f"{fold} {what} since find_best chose it ({path}). Choose again with: "
                    f"autounet find_best {int(best.dataset_name[7:10])}; or name a model with -c or --model."
                )
    return best
