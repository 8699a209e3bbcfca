"""What the first stage of a cascade makes of cases that it was not trained on: the second stage's further input.

The first stage's final validation leaves masks of a fold's validation cases; those are taken, and what is missing is
predicted now, by the network that has not seen the case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from autounet.data.dataset import RawCase
from autounet.data.io import label_ending
from autounet.data.splits import Split
from autounet.errors import RequestError
from autounet.inference.predictor import Predictor
from autounet.launch.fold_run import FoldRun
from autounet.launch.validation import predict_case
from autounet.models.folder import FoldName, ModelRecord, fold_folder, model_folder, record_path, trained_models
from autounet.planners import training_command
from autounet.plans import Configuration, Plan
from autounet.preprocessing.previous import PreviousStage
from autounet.progress import Reporter
from autounet.workspace import Workspace


@dataclass(frozen=True)
class OutOfFold:
    """Which fold of the first stage tells of which case.

    Attributes:
        model: The first stage's model folder.
        fold_of: The fold that was not trained on the case; `all` only where the second stage learns from all cases
            and there is nothing better.
    """

    model: Path
    fold_of: Mapping[str, FoldName]

    @property
    def has_seen(self) -> bool:
        """Whether the first stage was trained on the cases that it tells of."""
        return "all" in self.fold_of.values()

    def mask(self, case: str, file_ending: str) -> Path:
        """The first stage's prediction of a case, on the raw image's grid."""
        return fold_folder(self.model, self.fold_of[case]) / "validation" / f"{case}{label_ending(file_ending)}"


def find_out_of_fold(
    workspace: Workspace,
    plan: Plan,
    configuration: Configuration,
    fold: FoldName,
    names: Sequence[str],
    splits: Sequence[Split],
) -> OutOfFold:
    """Find, for every case of a fold, the network of the first stage that has not seen it.

    Args:
        workspace: Where trained models are.
        plan: The dataset's plan.
        configuration: The second stage.
        fold: Of the second stage.
        names: Its training and validation cases.
        splits: The folds of the dataset.

    Raises:
        RequestError: Folds of the first stage are missing, or were trained on other cases or labels.
    """
    model = first_stage_model(workspace, plan, configuration)
    wanted = {name: _unseen_by(name, splits, 0 if fold == "all" else fold) for name in names}
    if fold == "all" and _missing(model, wanted) and not _missing(model, dict.fromkeys(names, fold)):
        wanted = dict.fromkeys(names, fold)
    missing = _missing(model, wanted)
    assert configuration.previous_stage is not None
    command = training_command(plan, configuration.previous_stage, "all-folds")
    if missing:
        raise RequestError(
            f"{configuration.name} is trained on what {configuration.previous_stage} makes of cases that it has not "
            f"seen, and fold{'s' * (len(missing) > 1)} {', '.join(missing)} of {model} "
            f"{'are' if len(missing) > 1 else 'is'} not trained to the end. Train what is missing with: {command}"
        )
    for number in sorted(set(wanted.values()), key=str):
        require_same(model, number, plan, splits)
    return OutOfFold(model, wanted)


def previous_stage(
    run: FoldRun, workspace: Workspace, splits: Sequence[Split], reporter: Reporter
) -> PreviousStage | None:
    """The first stage's predictions of a run's cases, made by the main process; `None` where the run has one stage.

    Args:
        run: Of the second stage.
        workspace: Where trained models are.
        splits: The folds of the dataset.
        reporter: Shows the progress.

    Raises:
        RequestError: Folds of the first stage are missing, or were trained on other cases or labels.
    """
    if run.configuration.previous_stage is None:
        return None
    names = sorted({*run.split.train, *run.split.validation})
    out_of_fold = find_out_of_fold(workspace, run.plan, run.configuration, run.fold, names, splits)
    masks = {name: out_of_fold.mask(name, run.plan.file_ending) for name in names}
    if run.replicas.is_main:
        if out_of_fold.has_seen:
            reporter.say(f"fold all of {out_of_fold.model.name} tells of cases that it was trained on")
        # Runs side by side begin at different cases, so that they share the work.
        first = 0 if run.fold == "all" else run.fold * len(names) // len(splits)
        names = [*names[first:], *names[:first]]
        ordered = {name: masks[name] for name in names}
        predict_missing(out_of_fold, run.cases, ordered, run.replicas.device, reporter)
    run.replicas.tell("predicted")
    previous = PreviousStage.of(run.store, out_of_fold.model.name, run.plan.labels, masks)
    if run.replicas.is_main:
        for name in reporter.track(names, "take over the first stage's masks", len(names)):
            previous.prepare(name, run.plan)
    run.replicas.tell("prepared")
    return previous


def require_first_stage(
    workspace: Workspace, plan: Plan, configuration: Configuration, folds: Sequence[int], splits: Sequence[Split]
) -> None:
    """The folds of the first stage that these folds of the second stage need must be there.

    Raises:
        RequestError: Some are missing.
    """
    if configuration.previous_stage is None:
        return
    for fold in folds:
        names = (*splits[fold].train, *splits[fold].validation)
        find_out_of_fold(workspace, plan, configuration, fold, names, splits)


def predict_missing(
    out_of_fold: OutOfFold,
    cases: Mapping[str, RawCase],
    masks: Mapping[str, Path],
    device: torch.device,
    reporter: Reporter,
) -> None:
    """Predict the cases whose mask the first stage's own validation left out, having had no time for them.

    Args:
        out_of_fold: Which fold tells of which case.
        cases: The raw cases by name.
        masks: Where each mask belongs, in the order to work in.
        device: Where to predict.
        reporter: Shows the progress.
    """
    waiting = [name for name in masks if not masks[name].exists()]
    folds = sorted({str(out_of_fold.fold_of[name]) for name in waiting})
    predictors = {fold: Predictor.load(out_of_fold.model, folds=[fold], device=device) for fold in folds}
    for name in reporter.track(waiting, f"predict by {out_of_fold.model.name}", len(waiting)) if waiting else ():
        if not masks[name].exists():  # another run may have made it meanwhile
            predictor = predictors[str(out_of_fold.fold_of[name])]
            predict_case(predictor, cases[name], masks[name])


def first_stage_model(workspace: Workspace, plan: Plan, configuration: Configuration) -> Path:
    """The first stage's model folder: of the second's network if there is one, else of the plan's, else any."""
    assert configuration.previous_stage is not None
    planned = plan.configuration(configuration.previous_stage)
    same = planned.model_copy(
        update={"network": planned.network.model_copy(update={"name": configuration.network.name})}
    )
    wanted = [model_folder(workspace, plan, same), model_folder(workspace, plan, planned)]
    there = [
        path
        for path in trained_models(workspace, plan.dataset_name, planned.name)
        if path.name.startswith(f"{plan.planner}__")
    ]
    return next((path for path in (*wanted, *there) if path in there), wanted[1])


def _unseen_by(case: str, splits: Sequence[Split], fold: int) -> FoldName:
    """The fold whose network was not trained on a case; the given one where that is true of it."""
    order = (fold, *range(len(splits)))
    found: list[FoldName] = [number for number in order if case in splits[number].validation]
    found += [number for number in order if case not in splits[number].train]
    if not found:
        raise RequestError(
            f"case {case} is trained on in every fold, so no network can tell of it what it would of a new one. "
            "Give every case a place among the validation cases of a fold (splits_final.json)."
        )
    return found[0]


def _missing(model: Path, wanted: Mapping[str, FoldName]) -> list[str]:
    """The wanted folds that are not trained to their end."""
    paths = {str(fold): record_path(fold_folder(model, fold)) for fold in wanted.values()}
    return sorted(fold for fold, path in paths.items() if not path.exists() or not ModelRecord.read(path).finished)


def require_same(model: Path, fold: FoldName, plan: Plan, splits: Sequence[Split]) -> None:
    """A fold must have been trained on the cases that the folds name now, and on the plan's labels."""
    folder = fold_folder(model, fold)
    record = ModelRecord.read(record_path(folder))
    anew = f"Train it anew: {training_command(plan, record.configuration.name, fold)} --overwrite"
    if record.plan.labels != plan.labels or record.plan.channels != plan.channels:
        raise RequestError(f"{folder} was trained with other labels or channels than the plan's. {anew}")
    if isinstance(fold, int) and record.training_digest not in (None, splits[fold].training_digest):
        raise RequestError(
            f"{folder} was trained on other cases than fold {fold} has now (splits_final.json), perhaps on those that "
            f"it would tell of. {anew}"
        )
