"""Predictions of cases by the fold that has not seen them: those that validation left out are made now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from autounet.allocator import keep_large_blocks
from autounet.data.dataset import RawCase
from autounet.inference.cascade import first_stage_of
from autounet.inference.cases import OutputOptions, is_finished, predict_cases
from autounet.inference.failures import error_of
from autounet.inference.predictor import Predictor, prediction_precision
from autounet.inference.probabilities import ProbabilityFormat
from autounet.launch.contenders import median_shape
from autounet.models.folder import FoldName, ModelRecord, fold_folder
from autounet.progress import Reporter, duration
from autounet.training.precision import Precision

# Reading, resampling and writing add to what the network takes.
_MARGIN = 1.3


@dataclass(frozen=True)
class Unseen:
    """Cases that a fold of a model has not seen, and has not predicted yet.

    Attributes:
        model: The model folder.
        name: Of the model, for people.
        record: Of the fold.
        cases: To predict.
    """

    model: Path
    name: str
    record: ModelRecord
    cases: tuple[RawCase, ...]

    @property
    def folder(self) -> Path:
        """Where the fold's predictions lie."""
        return fold_folder(self.model, self.record.fold) / "validation"

    def predictor(self, device: torch.device, precision: Precision) -> Predictor:
        """The fold alone; in a cascade, with that fold of the first stage, which has not seen the cases either."""
        folds = [str(self.record.fold)]
        chosen = Predictor.load(self.model, folds=folds, device=device, precision=precision)
        first = first_stage_of(self.model, self.record)
        if first is None:
            return chosen
        return replace(chosen, first=Predictor.load(first, folds=folds, device=device, precision=precision))


def find_unpredicted(
    model: Path,
    name: str,
    records: Iterable[ModelRecord],
    fold_of: Mapping[str, FoldName],
    cases: Mapping[str, RawCase],
    form: ProbabilityFormat | None = None,
) -> list[Unseen]:
    """What the final validations of a model's folds left out.

    Args:
        model: The model folder.
        name: Of the model, for people.
        records: Of its folds.
        fold_of: Of each case, the fold that was not trained on it.
        cases: That are asked for, by name.
        form: Of the probabilities, where they are needed too.
    """
    found = []
    for record in records:
        entry = Unseen(model, name, record, ())
        waiting = tuple(
            case
            for case_name, case in cases.items()
            if fold_of[case_name] == record.fold
            and not is_finished(entry.folder, case_name, record.plan.file_ending, form)
        )
        if waiting:
            found.append(replace(entry, cases=waiting))
    return found


def predict_unseen(
    waiting: Sequence[Unseen], *, form: ProbabilityFormat | None = None, device: torch.device, reporter: Reporter
) -> tuple[str, ...]:
    """Predict cases by folds that have not seen them, into the `validation` folders of these.

    Args:
        waiting: Which by which.
        form: Of the probabilities, where they are needed too; written slab by slab.
        device: Where to predict.
        reporter: Told how much is missing, and how long it will take, before the start.

    Returns:
        What was done, in sentences.

    Raises:
        DataError: Some cases cannot be read; all others were predicted.
        WorkError: Some failed.
    """
    if not waiting:
        return ()
    if device.type == "cpu":
        keep_large_blocks()
    precision = prediction_precision(device)
    told, seconds = [], 0.0
    for name in dict.fromkeys(entry.name for entry in waiting):
        own = [entry for entry in waiting if entry.name == name]
        count = sum(len(entry.cases) for entry in own)
        seconds += _MARGIN * count * _seconds_a_case(own[0].predictor(device, precision))
        what = "masks" if form is None else "probabilities or masks"
        told.append(f"{name}: {what} of {count} case{'s' * (count > 1)} were missing and are predicted")
        reporter.say(told[-1])
    reporter.say(f"that takes about {duration(seconds)} on {device.type}; stopped and run again, it goes on")
    for entry in waiting:
        lane = (entry.predictor(device, precision),)
        failures = predict_cases([lane], entry.cases, entry.folder, OutputOptions(form), reporter)
        if failures:
            raise error_of(failures, f"fold {entry.record.fold} of {entry.name}")
    return tuple(told)


def _seconds_a_case(predictor: Predictor) -> float:
    """Of a case of median size, by timed tiles."""
    seconds = 0.0
    stage: Predictor | None = predictor
    while stage is not None:
        views = stage.num_views(median_shape(stage.plan, stage.configuration))
        seconds += views * stage.seconds_per_view(stage.plan.num_inputs(stage.configuration))
        stage = stage.first
    return seconds
