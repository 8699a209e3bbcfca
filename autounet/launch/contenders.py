"""The trained models of a dataset that can be compared, the cases they can be compared on, and what is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from autounet.data.splits import Split
from autounet.errors import RequestError
from autounet.inference.cascade import first_stage_of
from autounet.inference.predictor import Predictor
from autounet.labels import LabelSchema
from autounet.models.folder import ModelRecord, build_network, finished_folds, fold_folder, trained_models
from autounet.planners import training_command
from autounet.plans import Configuration, Plan
from autounet.training.precision import Precision
from autounet.workspace import Workspace, dataset_number


@dataclass(frozen=True)
class Contender:
    """A model folder.

    Attributes:
        folder: Where it is.
        name: For people: its configuration, or its folder where several are of that configuration.
        records: Of its folds that are compared.
        fold_of: Of each case, the fold that was not trained on it.
        cost: Arithmetic of a case of median size: all tiles, mirrors and folds, those of a first stage included.
    """

    folder: Path
    name: str
    records: Mapping[int, ModelRecord]
    fold_of: Mapping[str, int]
    cost: float

    @property
    def plan(self) -> Plan:
        """The plan that it was trained by."""
        return next(iter(self.records.values())).plan

    @property
    def configuration(self) -> Configuration:
        """As it was trained."""
        return next(iter(self.records.values())).configuration

    def validation(self, case: str) -> Path:
        """The folder of the case's prediction by the fold that has not seen it."""
        return fold_folder(self.folder, self.fold_of[case]) / "validation"


@dataclass(frozen=True)
class Contest:
    """What is compared on what.

    Attributes:
        contenders: The models.
        cases: Names of the cases that all of them have not seen, in order.
        notes: What is missing or was left out, in sentences.
    """

    contenders: tuple[Contender, ...]
    cases: tuple[str, ...]
    notes: tuple[str, ...]


def find_contest(
    workspace: Workspace,
    dataset: str,
    labels: LabelSchema,
    splits: Sequence[Split],
    *,
    configurations: Collection[str] = (),
    folds: Collection[int] = (),
) -> Contest:
    """Find what can be compared.

    Args:
        workspace: Where trained models are.
        dataset: Full name.
        labels: As the dataset has them now.
        splits: The folds as they are now.
        configurations: Only these; all by default.
        folds: Only these; all that are trained by default.

    Raises:
        RequestError: Nothing is trained, a single fold is and was not asked for, or there is no case that all have not
            seen.
    """
    notes: list[str] = []
    found: dict[Path, dict[int, ModelRecord]] = {}
    for folder in trained_models(workspace, dataset):
        records = _usable(folder, labels, splits, notes)
        first = next(iter(records.values()), None)
        if first is not None and (not configurations or first.configuration.name in configurations):
            records = {fold: record for fold, record in records.items() if not folds or fold in folds}
            if records:
                found[folder] = records
                notes += _missing(folder, records, folds or range(len(splits)))
    _require_some(workspace, dataset, found, len(splits), configurations, folds, notes)
    names = [next(iter(records.values())).configuration.name for records in found.values()]
    contenders = tuple(
        Contender(
            folder=folder,
            name=name if names.count(name) == 1 else folder.name,
            records=records,
            fold_of={case: fold for fold in reversed(records) for case in splits[fold].validation},
            cost=_cost(folder, records),
        )
        for name, (folder, records) in zip(names, found.items(), strict=True)
    )
    return Contest(contenders, _common_cases(contenders, notes), tuple(notes))


def _common_cases(contenders: Sequence[Contender], notes: list[str]) -> tuple[str, ...]:
    """The cases that no contender has seen; it is noted where one could tell of more."""
    cases = set.intersection(*(set(contender.fold_of) for contender in contenders))
    if not cases:
        first = contenders[0]
        listing = "; ".join(f"{entry.name}: {_numbers(entry.records)}" for entry in contenders)
        raise RequestError(
            f"there is no case that all models have not seen, as they were trained on other folds ({listing}). Train "
            f"the missing folds ({training_command(first.plan, first.configuration.name, 'all-folds')}), or compare "
            "fewer configurations with -c."
        )
    notes += [
        f"{contender.name} can tell of {len(contender.fold_of)} cases that it has not seen; compared are the "
        f"{len(cases)} of which all can"
        for contender in contenders
        if len(contender.fold_of) > len(cases)
    ]
    return tuple(sorted(cases))


def _usable(folder: Path, labels: LabelSchema, splits: Sequence[Split], notes: list[str]) -> dict[int, ModelRecord]:
    """The folds of a model folder that can tell of cases they have not seen; of the others it is noted why not."""
    usable: dict[int, ModelRecord] = {}
    for name, record in sorted(finished_folds(folder).items()):
        what = f"fold {name} of {folder.name}"
        again = training_command(record.plan, record.configuration.name, name)
        if record.fold == "all":
            notes.append(f"{what} has seen every case, so nothing tells how good it is; it is left out")
        elif not record.finished:
            notes.append(f"{what} was stopped before its end and is left out; go on with: {again} --resume")
        elif record.plan.labels != labels:
            notes.append(f"{what} was trained with other labels and is left out; train it anew: {again} --overwrite")
        elif record.fold >= len(splits) or (record.training_digest not in (None, splits[record.fold].training_digest)):
            notes.append(
                f"{what} was trained on other cases than the fold has now (splits_final.json) and is left out; train "
                f"it anew: {again} --overwrite"
            )
        elif not _has_first_stage(folder, record):
            notes.append(
                f"{what} needs fold {name} of its first stage, {record.configuration.previous_stage}, which is not "
                "trained; it is left out"
            )
        else:
            usable[record.fold] = record
    return usable


def _has_first_stage(folder: Path, record: ModelRecord) -> bool:
    try:
        first = first_stage_of(folder, record)
    except RequestError:
        return False
    return first is None or str(record.fold) in finished_folds(first)


def _missing(folder: Path, records: Mapping[int, ModelRecord], wanted: Collection[int]) -> list[str]:
    record = next(iter(records.values()))
    missing = [fold for fold in wanted if fold not in records]
    if not missing:
        return []
    fold = "all-folds" if len(missing) > 1 else str(missing[0])
    return [
        f"{folder.name}: {_numbers(records)} of {len(wanted)} folds compared, {', '.join(map(str, missing))} missing; "
        f"train with: {training_command(record.plan, record.configuration.name, fold)}"
    ]


def _require_some(
    workspace: Workspace,
    dataset: str,
    found: Mapping[Path, Mapping[int, ModelRecord]],
    num_folds: int,
    configurations: Collection[str],
    folds: Collection[int],
    notes: Sequence[str],
) -> None:
    number = dataset_number(dataset)
    if not found:
        there = {folder.name: finished_folds(folder) for folder in trained_models(workspace, dataset)}
        listing = "; ".join(f"{name} with {', '.join(records)}" for name, records in there.items()) or "none"
        asked = f" {', '.join(configurations)}" if configurations else ""
        asked += f" with fold {', '.join(map(str, folds))}" if folds else ""
        raise RequestError(
            f"{workspace.results / dataset} holds no model{asked} that can be scored on cases it has not seen. Trained "
            f"folds there: {listing}. Train with: autounet train {number} CONFIGURATION all-folds"
            + "".join(f"\n{note}" for note in notes)
        )
    trained = {fold for records in found.values() for fold in records}
    if len(trained) == 1 and num_folds > 1 and not folds:
        (only,) = trained
        record = next(iter(next(iter(found.values())).values()))
        others = training_command(record.plan, record.configuration.name, "all-folds")
        raise RequestError(
            f"only fold {only} of {', '.join(folder.name for folder in found)} is trained, so that one split of the "
            f"cases would decide. Train the others: {others}; or decide by this fold alone: autounet find_best "
            f"{number} -f {only}"
        )


def _numbers(records: Mapping[int, ModelRecord]) -> str:
    return ", ".join(map(str, records))


def median_shape(plan: Plan, configuration: Configuration) -> tuple[int, ...]:
    """The median case on a configuration's grid, `(Z, Y, X)`."""
    leading = plan.median_shape[: 3 - configuration.num_spatial_dims]
    return tuple(max(1, round(size)) for size in (*leading, *configuration.median_shape))


def _cost(folder: Path, records: Mapping[int, ModelRecord]) -> float:
    """Floating-point operations of a case of median size."""
    record = next(iter(records.values()))
    first = first_stage_of(folder, record)
    before = 0.0
    if first is not None:
        own = finished_folds(first)
        before = _cost(first, dict(enumerate(own.values())))
    cpu = torch.device("cpu")
    predictor = Predictor.of(record, (), device=cpu, precision=Precision(torch.float32, "nothing is computed"))
    num_views = predictor.num_views(median_shape(record.plan, record.configuration))
    return before + float(num_views * len(records) * _forward_flops(record))


def _forward_flops(record: ModelRecord) -> int:
    """Of one tile, counted on the meta device, which computes nothing."""
    num_inputs = record.plan.num_inputs(record.configuration)
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network = build_network(record).eval()
        network.deep_supervision = False
        network(torch.empty(1, num_inputs, *record.configuration.patch_size))
    return int(counter.get_total_flops())
