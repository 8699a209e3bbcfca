"""Predictions of cases by the fold that has not seen them: those that validation left out are made now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from autounet.allocator import keep_large_blocks
from autounet.data.dataset import RawCase
from autounet.inference.cascade import first_stage_of
from autounet.inference.cases import OutputOptions, is_finished, predict_cases
from autounet.inference.failures import error_of
from autounet.inference.predictor import Predictor, prediction_precision
from autounet.inference.probabilities import ProbabilityFormat
from autounet.launch.contenders import Contender, median_shape
from autounet.models.folder import fold_folder
from autounet.progress import Reporter, duration
from autounet.training.device import choose_device
from autounet.training.precision import Precision

# Reading, resampling and writing add to what the network takes.
_MARGIN = 1.3


@dataclass(frozen=True)
class _Missing:
    """Cases that a fold has to predict."""

    contender: Contender
    fold: int
    cases: tuple[RawCase, ...]

    def predictor(self, device: torch.device, precision: Precision) -> Predictor:
        """The fold alone; in a cascade, with that fold of the first stage, which has not seen the cases either."""
        folds = [str(self.fold)]
        chosen = Predictor.load(self.contender.folder, folds=folds, device=device, precision=precision)
        first = first_stage_of(self.contender.folder, self.contender.records[self.fold])
        if first is None:
            return chosen
        return replace(chosen, first=Predictor.load(first, folds=folds, device=device, precision=precision))


def predict_unseen(
    contenders: Sequence[Contender],
    cases: Mapping[str, RawCase],
    *,
    with_probabilities: bool,
    device: str,
    reporter: Reporter,
) -> tuple[str, ...]:
    """Predict every case that lacks its out-of-fold prediction, into the `validation` folder of its fold.

    Args:
        contenders: The models.
        cases: To be compared on, by name.
        with_probabilities: They are needed too, for ensembles and thresholds; written slab by slab.
        device: Where to predict.
        reporter: Told how much is missing, and how long it will take, before the start.

    Returns:
        What was done, in sentences.

    Raises:
        DataError: Some cases cannot be read; all others were predicted.
        WorkError: Some failed.
    """
    form: ProbabilityFormat | None = "b2nd" if with_probabilities else None
    waiting = [entry for contender in contenders for entry in _missing(contender, cases, form)]
    if not waiting:
        return ()
    chosen = choose_device(device)
    if chosen.type == "cpu":
        keep_large_blocks()
    precision = prediction_precision(chosen)
    told, seconds = [], 0.0
    for contender in contenders:
        own = [entry for entry in waiting if entry.contender is contender]
        count = sum(len(entry.cases) for entry in own)
        if own:
            seconds += _MARGIN * count * _seconds_a_case(own[0].predictor(chosen, precision))
            what = "probabilities or masks" if with_probabilities else "masks"
            told.append(f"{contender.name}: {what} of {count} of {len(cases)} cases were missing and are predicted")
            reporter.say(told[-1])
    reporter.say(f"that takes about {duration(seconds)} on {chosen.type}; stopped and run again, it goes on")
    for entry in waiting:
        folder = fold_folder(entry.contender.folder, entry.fold) / "validation"
        lane = (entry.predictor(chosen, precision),)
        failures = predict_cases([lane], entry.cases, folder, OutputOptions(form), reporter)
        if failures:
            raise error_of(failures, f"fold {entry.fold} of {entry.contender.name}")
    return tuple(told)


def _missing(contender: Contender, cases: Mapping[str, RawCase], form: ProbabilityFormat | None) -> Iterator[_Missing]:
    for fold in contender.records:
        folder = fold_folder(contender.folder, fold) / "validation"
        missing = tuple(
            case
            for name, case in cases.items()
            if contender.fold_of[name] == fold and not is_finished(folder, name, contender.plan.file_ending, form)
        )
        if missing:
            yield _Missing(contender, fold, missing)


def _seconds_a_case(predictor: Predictor) -> float:
    """Of a case of median size, by timed tiles."""
    seconds = 0.0
    stage: Predictor | None = predictor
    while stage is not None:
        views = stage.num_views(median_shape(stage.plan, stage.configuration))
        seconds += views * stage.seconds_per_view(stage.plan.num_inputs(stage.configuration))
        stage = stage.first
    return seconds
