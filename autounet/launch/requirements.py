"""What must be there, and what must not be lost, before a run starts."""

from __future__ import annotations

from pathlib import Path

from autounet.data.dataset import RawDataset
from autounet.data.splits import SPLITS_FILE, Split, load_or_make_splits
from autounet.errors import RequestError
from autounet.launch.plan_files import must_prepare
from autounet.models.folder import FoldName, ModelRecord, record_path
from autounet.planners import planner_option
from autounet.plans import Configuration, Plan
from autounet.workspace import dataset_number


def require_prepared(raw: RawDataset, plan: Plan, configuration: Configuration, preprocessed: Path) -> None:
    """Every case must be prepared from the raw files and the plan as they are now."""
    stale = must_prepare(raw, plan, configuration, preprocessed)
    if stale:
        options = planner_option(plan.planner, plan.network)
        raise RequestError(
            f"{len(stale)} of {len(raw.cases)} cases are not prepared for {configuration.name}, or their files or the "
            f"plan changed since (first: {stale[0]}). Prepare them with: "
            f"autounet preprocess {dataset_number(plan.dataset_name)} -c {configuration.name}{options}"
        )


def split_of(preprocessed: Path, raw: RawDataset, fold: FoldName) -> Split:
    """Training and validation cases of a fold; `all` trains and validates on every case."""
    if fold == "all":
        names = tuple(sorted(case.name for case in raw.cases))
        return Split(train=names, validation=names)
    splits = all_splits(preprocessed, raw)
    if not 0 <= fold < len(splits):
        raise RequestError(f"fold {fold} does not exist: there are folds 0 to {len(splits) - 1}, and 'all'")
    return splits[fold]


def all_splits(preprocessed: Path, raw: RawDataset) -> tuple[Split, ...]:
    """The folds of the dataset."""
    return load_or_make_splits(preprocessed / SPLITS_FILE, tuple(sorted(case.name for case in raw.cases)))


def require_samples(configuration: Configuration, num_processes: int) -> None:
    """Every process must get a sample of each batch."""
    if configuration.batch_size < num_processes:
        raise RequestError(
            f"{num_processes} processes share the plan's batch of {configuration.batch_size}: give at most "
            f"--nproc-per-node {configuration.batch_size}, or plan with --batch-size {num_processes}"
        )


def require_free(folder: Path, *, resume: bool = False, extend: bool = False, overwrite: bool = False) -> None:
    """Nothing that was trained is lost by mistake."""
    path = record_path(folder)
    if resume + extend + overwrite > 1:
        raise RequestError(
            "--resume, --extend and --overwrite exclude each other: go on with a run, make it longer, or start anew"
        )
    if (resume or extend) and not path.exists():
        raise RequestError(f"there is no run to go on with in {folder}. Start one without --resume and --extend.")
    if resume and ModelRecord.read(path).finished:
        raise RequestError(
            f"the run in {folder} is finished. Make it longer with --extend 30m, or train anew with --overwrite."
        )
    if extend and not ModelRecord.read(path).finished:
        raise RequestError(f"the run in {folder} is not finished: go on with it by --resume, then make it longer")
    if resume or extend:
        return
    if path.exists() and not overwrite:
        how = "is finished" if ModelRecord.read(path).finished else "was not finished; go on with it by --resume"
        raise RequestError(f"{folder} holds a run that {how}. To train anew over it, give --overwrite.")
