"""What a model makes of the training cases: each by a fold that has not seen it, with whatever folds there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autounet.data.dataset import RawCase
from autounet.data.splits import Split
from autounet.errors import RequestError
from autounet.launch.out_of_fold import OutOfFold, first_stage_model, require_same
from autounet.launch.unseen import Unseen, find_unpredicted
from autounet.models.folder import ModelRecord, trained_folds
from autounet.planners import training_command
from autounet.plans import Configuration, Plan
from autounet.preprocessing.previous import PreviousStage
from autounet.preprocessing.store import PreparedStore
from autounet.workspace import Workspace


@dataclass(frozen=True)
class HeldOut:
    """Which fold tells of which case.

    Attributes:
        plan: The model's.
        found: The model, and the fold of each case that one of its folds has not seen.
        untold: Cases that every trained fold has seen.
        missing_folds: Folds that would tell of those, and are not trained.
        records: Of the trained folds that hold cases out.
    """

    plan: Plan
    found: OutOfFold
    untold: tuple[str, ...]
    missing_folds: tuple[int, ...]
    records: tuple[ModelRecord, ...]

    @property
    def training_command(self) -> str:
        """What trains the folds that are missing."""
        return training_command(self.plan, self.records[0].configuration.name, "all-folds")

    def unpredicted(self, cases: Mapping[str, RawCase]) -> list[Unseen]:
        """What the folds' own validation left out."""
        told = {name: cases[name] for name in self.found.fold_of}
        return find_unpredicted(self.found.model, self.found.model.name, self.records, self.found.fold_of, told)

    @property
    def masks(self) -> dict[str, Path]:
        """Case to its prediction, be it there or not."""
        return {name: self.found.mask(name, self.plan.file_ending) for name in self.found.fold_of}


def find_held_out(model: Path, splits: Sequence[Split], names: Sequence[str]) -> HeldOut:
    """Find a fold for every case that was not trained on it, first of all the one that it was validated by.

    Args:
        model: The model folder.
        splits: The folds of the dataset.
        names: The training cases.

    Raises:
        RequestError: No fold of the model holds a case out, or one was trained on other cases than it has now.
    """
    records = {record.fold: record for record in trained_folds(model).values()}
    numbers = [fold for fold in records if isinstance(fold, int) and fold < len(splits)]
    fold_of = {}
    for name in names:
        unseen = [fold for fold in numbers if name not in splits[fold].train]
        if unseen:
            fold_of[name] = min(unseen, key=lambda fold: name not in splits[fold].validation)
    if not fold_of:
        any_record = next(iter(records.values()))
        raise RequestError(
            f"every trained fold of {model} ({', '.join(map(str, records))}) was trained on every case, so none can "
            f"tell of them what it would of a new one. Train others: "
            f"{training_command(any_record.plan, any_record.configuration.name, 'all-folds')}"
        )
    plan = records[numbers[0]].plan
    used = sorted(set(fold_of.values()))
    for fold in used:
        require_same(model, fold, plan, splits)
    untold = tuple(name for name in names if name not in fold_of)
    missing = [fold for fold, split in enumerate(splits) if set(untold) & set(split.validation)]
    return HeldOut(plan, OutOfFold(model, fold_of), untold, tuple(missing), tuple(records[fold] for fold in used))


def stored_previous_stage(
    workspace: Workspace,
    plan: Plan,
    configuration: Configuration,
    store: PreparedStore,
    splits: Sequence[Split],
    count: int,
    seed: int,
) -> PreviousStage:
    """What the first stage of a cascade has found so far in some cases; nothing is predicted for it.

    Args:
        workspace: Where trained models are.
        plan: The dataset's plan.
        configuration: The second stage.
        store: Its prepared cases.
        splits: The folds of the dataset.
        count: In how many at most.
        seed: Which of them.

    Raises:
        RequestError: The first stage has told of none yet.
    """
    model = first_stage_model(workspace, plan, configuration)
    names = sorted({name for split in splits for name in (*split.train, *split.validation)})
    masks = {name: path for name, path in find_held_out(model, splits, names).masks.items() if path.exists()}
    if not masks:
        raise RequestError(f"{model} has told of no case yet")
    chosen = np.random.default_rng(seed).permutation(sorted(masks))[:count].tolist()
    previous = PreviousStage.of(store, model.name, plan.labels, {name: masks[name] for name in chosen})
    for name in chosen:
        previous.prepare(name, plan)
    return previous
