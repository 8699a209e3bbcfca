"""Choosing by cross-validation: the model or ensemble, then its thresholds, then its postprocessing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from autounet.data.dataset import RawCase
from autounet.data.io import label_ending
from autounet.errors import RequestError
from autounet.evaluation.best import Candidate, Choice, choose
from autounet.evaluation.finish import Finish
from autounet.evaluation.postprocessing import KeepLargest, Postprocessing, StepTrial, decide_postprocessing
from autounet.evaluation.tables import Table, foreground_mean
from autounet.evaluation.thresholds import Thresholds, ThresholdTrial, helps, judge_thresholds
from autounet.inference.probabilities import SUFFIX
from autounet.labels import LabelSchema
from autounet.launch.contenders import Contender, Contest
from autounet.launch.scoring import CaseFiles, Finishing, score_finishing, score_members, score_thresholds
from autounet.models.best import Best, chosen_model
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import Reporter

EnsembleName = Literal["pairs", "all", "none"]

# Cases of a single fold are parted into so many groups, each judged by thresholds of the others.
_NUM_GROUPS = 5
# Workers start anew for each of several rounds, so that they pay for it later by this factor.
_STARTS = 4

Item = TypeVar("Item", CaseFiles, Finishing)


@dataclass(frozen=True)
class Wishes:
    """What takes part.

    Attributes:
        ensembles: Of two models each, of any number, or none.
        thresholds: See whether other thresholds than one half help.
    """

    ensembles: EnsembleName = "pairs"
    thresholds: bool = True

    def need_probabilities(self, num_models: int) -> bool:
        """Whether masks alone do not tell."""
        return self.thresholds or (self.ensembles != "none" and num_models > 1)


@dataclass(frozen=True)
class _Judge:
    """Scores cases in processes.

    Attributes:
        labels: What label values mean.
        files: Of every case, all models.
        jobs: Processes.
        reporter: Shows the progress.
    """

    labels: LabelSchema
    files: tuple[CaseFiles, ...]
    jobs: int
    reporter: Reporter

    def tables(
        self, function: Callable[[Item], npt.NDArray[np.float64]], items: Sequence[Item], description: str
    ) -> npt.NDArray[np.float64]:
        """What the function gives of every case, the cases along the last axis but one."""
        paths = (path for files in self.files for path in files.files)
        jobs = max(1, worthwhile_jobs(_STARTS * self.jobs, paths) // _STARTS)
        found = map_ordered(function, items, jobs=jobs, reporter=self.reporter, description=description)
        return np.stack(list(found), axis=-2)


def decide(
    dataset: str,
    labels: LabelSchema,
    contest: Contest,
    cases: Mapping[str, RawCase],
    wishes: Wishes,
    *,
    jobs: int,
    reporter: Reporter,
) -> Best:
    """Decide all that prediction will do.

    Args:
        dataset: Full name.
        labels: What label values mean.
        contest: What is compared on what; all predictions are there.
        cases: The raw cases by name.
        wishes: What takes part.
        jobs: Processes.
        reporter: Shows the progress.
    """
    contenders = contest.contenders
    has_probabilities = wishes.need_probabilities(len(contenders))
    files = tuple(_files(cases[name], contenders, has_probabilities) for name in contest.cases)
    judge = _Judge(labels, files, jobs, reporter)
    choice = _choose(judge, contenders, wishes.ensembles)
    members = [index for index, entry in enumerate(contenders) if entry.name in choice.members]
    chosen = replace(judge, files=tuple(entry.of(members) for entry in files))
    groups = _groups(contenders[members[0]], contest.cases)
    trials = _try_thresholds(chosen, groups) if wishes.thresholds and max(groups) > 0 else ()
    works = [_unseen(entry, trials, group) for entry, group in zip(chosen.files, groups, strict=True)]
    postprocessing, steps, dice = _postprocessing(chosen, works)
    values = {trial.name: trial.threshold for trial in trials if trial.accepted}
    return Best(
        dataset_name=dataset,
        models=tuple(chosen_model(contenders[index].folder, contenders[index].records) for index in members),
        finish=Finish(thresholds=Thresholds(values=values) if values else None, postprocessing=postprocessing),
        dice=dice,
        num_cases=len(contest.cases),
        notes=contest.notes,
        choice=choice,
        threshold_trials=trials,
        step_trials=steps,
    )


def _files(case: RawCase, contenders: Sequence[Contender], has_probabilities: bool) -> CaseFiles:
    assert case.label is not None
    folders = [contender.validation(case.name) for contender in contenders]
    ending = label_ending(contenders[0].plan.file_ending)
    return CaseFiles(
        case=case.name,
        reference=case.label,
        annotated=case.annotated,
        masks=tuple(folder / f"{case.name}{ending}" for folder in folders),
        probabilities=tuple(folder / f"{case.name}{SUFFIX}.json" for folder in folders) if has_probabilities else (),
    )


def _choose(judge: _Judge, contenders: Sequence[Contender], ensembles: EnsembleName) -> Choice:
    places = range(len(contenders))
    most = {"none": 1, "pairs": 2, "all": len(contenders)}[ensembles]
    # Single models come before ensembles: of two that are as good and as cheap, the first is chosen.
    groups = [group for size in range(1, most + 1) for group in itertools.combinations(places, size)]
    score = partial(score_members, labels=judge.labels, candidates=groups)
    tables = judge.tables(score, judge.files, "score models and ensembles")
    if not np.isfinite(tables).any():
        raise RequestError(
            f"none of the {len(judge.files)} compared cases shows any class, in its label or in a prediction, so there "
            "is nothing to choose by. Look at the labels: autounet check"
        )
    return choose(
        [
            Candidate(
                name=" + ".join(contenders[place].name for place in group),
                members=tuple(contenders[place].name for place in group),
                cost=sum(contenders[place].cost for place in group),
                dice=table,
            )
            for group, table in zip(groups, tables, strict=True)
        ]
    )


def _groups(contender: Contender, cases: Sequence[str]) -> list[int]:
    """The fold of each case, from 0 on; of a single fold, parts of it."""
    folds = sorted({contender.fold_of[name] for name in cases})
    if len(folds) > 1:
        return [folds.index(contender.fold_of[name]) for name in cases]
    return [index % min(_NUM_GROUPS, len(cases)) for index in range(len(cases))]


def _try_thresholds(judge: _Judge, groups: Sequence[int]) -> tuple[ThresholdTrial, ...]:
    """What comes of a threshold for each class or region."""
    labels = judge.labels
    names = [name for name in labels.output_names if name in labels.class_names]
    tables = judge.tables(partial(score_thresholds, labels=labels), judge.files, "try thresholds")
    usual = tables[0, 0]  # the first of the grid is one half
    trials = judge_thresholds(names, usual, tables, groups)
    helpful = [trial for trial in trials if trial.accepted]
    if len(helpful) < 2:
        return trials
    # Each was judged with the others at one half. They are used together only if they help together.
    works = [_unseen(entry, trials, group) for entry, group in zip(judge.files, groups, strict=True)]
    (together,) = judge.tables(partial(score_finishing, labels=labels), works, "try thresholds together")
    difference = helps(usual, together)
    if difference is not None and difference.low > 0:
        return trials
    strongest = max(helpful, key=lambda trial: trial.gain)
    return tuple(trial.model_copy(update={"accepted": trial is strongest}) for trial in trials)


def _unseen(files: CaseFiles, trials: Sequence[ThresholdTrial], group: int) -> Finishing:
    """A case with the thresholds that the other folds chose."""
    chosen = {trial.name: trial.of_folds[group] for trial in trials if trial.accepted}
    return Finishing(files, Thresholds(values=chosen) if chosen else None)


def _postprocessing(judge: _Judge, works: Sequence[Finishing]) -> tuple[Postprocessing, tuple[StepTrial, ...], float]:
    """The steps that help, what came of each, and the foreground Dice with them."""

    def score(taken: Postprocessing, steps: Sequence[KeepLargest]) -> tuple[Table, list[Table]]:
        tried = [replace(work, taken=taken, steps=tuple(steps)) for work in works]
        what = f"largest component of {', '.join(step.name for step in steps)}" if steps else "score the choice"
        tables = judge.tables(partial(score_finishing, labels=judge.labels), tried, what)
        return tables[0], list(tables[1:])

    taken, trials = decide_postprocessing(judge.labels, score)
    return taken, trials, foreground_mean(score(taken, ())[0])
