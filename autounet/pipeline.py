"""One function a verb of the command line; each reads what the one before wrote.

plan_and_preprocess -> train -> predict -> evaluate
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.data.dataset import RawDataset, find_cases
from autounet.data.description import write_dataset_json
from autounet.data.fold_planning import SplitRequest, plan_splits
from autounet.data.fold_summary import PlannedSplits
from autounet.data.io import label_ending
from autounet.errors import DataError, RequestError
from autounet.fingerprint import Fingerprint, case_traits, known_fingerprint, take_fingerprint
from autounet.launch.plan_files import must_prepare, read_plan, without_own, write_plan
from autounet.launch.planning import make_plan
from autounet.parallel import available_cpus
from autounet.planners import DEFAULT_PLANNER, PLANNERS, planner_option
from autounet.planners.request import PlanRequest
from autounet.plans import Plan, plan_path
from autounet.preprocessing.dataset import PreparedCount, prepare_dataset, store_for
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.data.doctor.check import Checked
    from autounet.evaluation.summary import Summary
    from autounet.models.folder import FoldName
    from autounet.training.config import TrainConfig


@dataclass(frozen=True)
class Planned:
    """What `plan` made.

    Attributes:
        raw: The dataset, as it was found.
        fingerprint: Of it.
        plan: Its plan.
        path: The plan's file.
        to_prepare: Cases that are yet to be prepared, of each configuration.
        splits: The folds; `None` where an existing plan was only looked at.
    """

    raw: RawDataset
    fingerprint: Fingerprint
    plan: Plan
    path: Path
    to_prepare: dict[str, int]
    splits: PlannedSplits | None

    @property
    def folder(self) -> Path:
        """The dataset's preprocessed folder."""
        return self.path.parent


def plan(
    workspace: Workspace,
    dataset: str,
    *,
    planner: str = DEFAULT_PLANNER,
    request: PlanRequest | None = None,
    folds: SplitRequest | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Planned:
    """Check a raw dataset, measure it, and plan for it.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        planner: Name in `autounet.planners.PLANNERS`.
        request: What the plan must be like; all is the planner's to decide by default.
        folds: How to make the folds; as before, or else as nnU-Net has them, by default.
        max_seconds: Time for training; configurations are made so small that they can use it.
        device: To plan for.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        DataError: The dataset has problems; all of them at once, and nothing was written.
        RequestError: The request does not fit the dataset, the network or the memory.
    """
    PLANNERS.find(planner)
    raw, problems = RawDataset.scan(_raw_folder(workspace, dataset))
    folder = workspace.preprocessed / raw.description.name
    fingerprint = known_fingerprint(folder / "fingerprint.json", raw) if not problems else None
    if fingerprint is None:
        fingerprint = take_fingerprint(raw, jobs=jobs or available_cpus(), reporter=reporter, known_problems=problems)
    request = without_own(request or PlanRequest(), plan_path(folder, planner))
    made = make_plan(planner, fingerprint, raw.description, request, max_seconds, device=device, reporter=reporter)
    # The splits are read before anything is written: a splits file of the user's own may be wrong.
    splits = plan_splits(folder, raw, case_traits(fingerprint), folds, reporter)
    fingerprint.write(folder / "fingerprint.json")
    made, path = write_plan(made, folder, reporter)
    return _planned(raw, fingerprint, made, path, splits)


def check(
    workspace: Workspace,
    dataset: str,
    *,
    fix: bool = False,
    output: Path | None = None,
    suspected: bool = False,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Checked:
    """Read every file of a raw dataset, find all problems, and repair what can be repaired in a copy.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        fix: Write a repaired copy; the original is never touched.
        output: Folder of the copy; the next free dataset number in `raw/` by default.
        suspected: Also repair what only looks wrong: left and right labels, order of channels.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        RequestError: There is no usable `dataset.json`, or no copy can be made.
    """
    from autounet.data.doctor.check import check_dataset

    name = _raw_folder(workspace, dataset).name
    jobs = jobs or available_cpus()
    return check_dataset(workspace, name, fix=fix, output=output, suspected=suspected, jobs=jobs, reporter=reporter)


def existing_plan(workspace: Workspace, dataset: str, *, planner: str = DEFAULT_PLANNER) -> Planned | None:
    """The plan that is there, with the user's edits; `None` where there is none of the dataset as it is now.

    Raises:
        RequestError: The plan was edited and does not hold together.
    """
    raw, problems = RawDataset.scan(_raw_folder(workspace, dataset))
    folder = workspace.preprocessed / raw.description.name
    path = plan_path(folder, planner)
    fingerprint = known_fingerprint(folder / "fingerprint.json", raw)
    if problems or fingerprint is None or not path.exists():
        return None
    return _planned(raw, fingerprint, Plan.read(path), path)


@dataclass(frozen=True)
class Preprocessed(Planned):
    """What `plan_and_preprocess` made: the plan, and how many cases of each configuration are prepared."""

    counts: dict[str, PreparedCount]


def plan_and_preprocess(
    workspace: Workspace,
    dataset: str,
    *,
    configurations: Sequence[str] | None = None,
    planner: str = DEFAULT_PLANNER,
    request: PlanRequest | None = None,
    folds: SplitRequest | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Preprocessed:
    """Check a raw dataset, measure it, plan for it, and prepare its cases.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configurations: Which to prepare; all that the plan has by default.
        planner: As for `plan`, like the following.
        request: What the plan must be like.
        folds: How to make the folds.
        max_seconds: Time for training.
        device: To plan for.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        DataError: The dataset has problems; all of them at once, and nothing was written.
        RequestError: The request does not fit the dataset, the network or the memory.
    """
    jobs = jobs or available_cpus()
    planned = plan(
        workspace,
        dataset,
        planner=planner,
        request=request,
        folds=folds,
        max_seconds=max_seconds,
        device=device,
        jobs=jobs,
        reporter=reporter,
    )
    return _prepared(planned, configurations, jobs, reporter)


def preprocess(
    workspace: Workspace,
    dataset: str,
    *,
    configurations: Sequence[str] | None = None,
    planner: str = DEFAULT_PLANNER,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Preprocessed:
    """Prepare a dataset's cases by the plan that is there, edited or not.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configurations: Which to prepare; all that the plan has by default.
        planner: Whose plan.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        RequestError: There is no plan of the dataset as it is now, or it does not hold together.
    """
    planned = existing_plan(workspace, dataset, planner=planner)
    if planned is None:
        raise RequestError(
            f"there is no plan of dataset {dataset} as it is now. Make one with: autounet plan {dataset}"
            f"{planner_option(planner)}"
        )
    return _prepared(planned, configurations, jobs or available_cpus(), reporter)


def planned_seconds(workspace: Workspace, dataset: str, configuration: str, planner: str) -> float | None:
    """The time for training that a configuration was planned for; `None` where it was for none.

    Raises:
        RequestError: There is no such plan or configuration.
    """
    folder = workspace.preprocessed / workspace.find_dataset(dataset)
    time = read_plan(folder, planner, dataset).configuration(configuration).time
    return None if time is None else time.max_seconds


@dataclass(frozen=True)
class Trained:
    """What `train` made: the model folder, the fold's folder, and the scores of its validation cases."""

    model: Path
    fold: Path
    summary: Summary


def train(
    workspace: Workspace,
    dataset: str,
    configuration: str,
    fold: FoldName,
    *,
    config: TrainConfig | None = None,
    planner: str = DEFAULT_PLANNER,
    network: str | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> Trained:
    """Train a configuration on a fold and score it on the fold's validation cases.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configuration: `2d` or `3d_fullres`.
        fold: 0 to 4, or `all` to train on every case.
        config: How to train; nnU-Net's recipe by default.
        planner: Whose plan.
        network: Name in `autounet.networks.NETWORKS`; the plan's by default.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        resume: Go on from the last checkpoint, as it was configured then.
        overwrite: Train anew over what is there.
        reporter: Shows the progress.

    Raises:
        RequestError: Something that training needs is missing, or would be overwritten.
        RunError: Training failed.
    """
    started = time.perf_counter()
    from autounet.launch.fold import FoldRun, train_fold
    from autounet.launch.requirements import require_free, require_one_stage, require_prepared, split_of, with_network
    from autounet.losses.options import build_loss
    from autounet.models.folder import fold_folder, model_folder
    from autounet.training.config import TrainConfig
    from autounet.training.device import choose_device

    config = config or TrainConfig()
    name = workspace.find_dataset(dataset)
    preprocessed = workspace.preprocessed / name
    plan = read_plan(preprocessed, planner, dataset)
    chosen = with_network(plan.configuration(configuration), network)
    require_one_stage(chosen)
    build_loss(config.loss, plan.labels, batch_dice=chosen.batch_dice)
    raw = RawDataset.load(_raw_folder(workspace, dataset))
    require_prepared(raw, plan, chosen, preprocessed)
    split = split_of(preprocessed, raw, fold)
    model = model_folder(workspace, plan, chosen)
    folder = fold_folder(model, fold)
    require_free(folder, resume=resume, overwrite=overwrite)
    run = FoldRun(
        plan=plan,
        configuration=chosen,
        fold=fold,
        split=split,
        cases={case.name: case for case in raw.cases},
        store=store_for(preprocessed, plan, chosen),
        config=config,
        folder=folder,
        device=choose_device(device),
        resume=resume,
        started=started,
    )
    return Trained(model=model, fold=folder, summary=train_fold(run, reporter))


@dataclass(frozen=True)
class Predicted:
    """What `predict` did.

    Attributes:
        model: Used.
        written: Cases predicted now.
        skipped: Cases that lay finished.
    """

    model: Path
    written: tuple[str, ...]
    skipped: tuple[str, ...]


def predict(
    workspace: Workspace,
    images: Path,
    output: Path,
    *,
    dataset: str | None = None,
    configuration: str | None = None,
    model: Path | None = None,
    folds: Sequence[str] | None = None,
    mirror: bool = True,
    overwrite: bool = False,
    device: str = "auto",
    reporter: Reporter = SILENT,
) -> Predicted:
    """Predict every case of a folder.

    Args:
        workspace: Where trained models are.
        images: Folder of images, named as in `imagesTr`.
        output: Folder for the masks; `CASE` plus the images' ending.
        dataset: Whose model; by default the only one of the workspace.
        configuration: Which of its models.
        model: A model folder, or one fold's folder in it, instead of both.
        folds: Which folds to average; all that are finished by default.
        mirror: Average over mirror images, as far as training mirrored.
        overwrite: Predict cases again whose mask is there.
        device: Where to predict.
        reporter: Shows the progress.

    Raises:
        RequestError: The model or the images are not as they must be.
        DataError: Some cases cannot be read or do not fit the model; all others were predicted.
    """
    from autounet.inference.cases import predict_cases
    from autounet.inference.predictor import Predictor
    from autounet.models.folder import find_model, model_and_folds
    from autounet.training.device import choose_device

    if model is None:
        found = find_model(workspace, dataset and workspace.find_dataset(dataset), configuration)
    else:
        found, its_folds = model_and_folds(model)
        folds = folds or its_folds
    predictor = Predictor.load(found, folds=folds, device=choose_device(device), mirror=mirror)
    plan = predictor.plan
    cases = find_cases(images, plan.file_ending, len(plan.channels))
    ending = label_ending(plan.file_ending)
    done = {case.name for case in cases if not overwrite and (output / f"{case.name}{ending}").exists()}
    waiting = [case for case in cases if case.name not in done]
    reporter.say(
        f"{found}: {len(predictor.networks)} fold{'s' * (len(predictor.networks) > 1)}, "
        f"{len(waiting)} cases to predict, {len(done)} already in {output}"
    )
    write_dataset_json(
        output,
        labels=plan.labels,
        channel_names=[channel.name for channel in plan.channels],
        file_ending=plan.file_ending,
    )
    problems = predict_cases(predictor, waiting, output, reporter)
    if problems:
        raise DataError(f"{images} (the other {len(waiting) - len(problems)} cases were predicted)", problems)
    return Predicted(model=found, written=tuple(case.name for case in waiting), skipped=tuple(sorted(done)))


def evaluate(
    reference: Path,
    prediction: Path,
    *,
    output: Path | None = None,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> tuple[Summary, Path]:
    """Score a folder of predictions against a folder of references.

    Args:
        reference: Folder of label files.
        prediction: Folder of predicted label files of the same names.
        output: JSON file for the scores; `scores.json` in the prediction folder by default. A CSV goes beside it.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Returns:
        The scores, and the JSON file they were written to.

    Raises:
        DataError: The folders do not match.
    """
    from autounet.evaluation.folders import evaluate_folders
    from autounet.evaluation.summary import write_summary

    summary = evaluate_folders(reference, prediction, jobs=jobs or available_cpus(), reporter=reporter)
    path = output or prediction / "scores.json"
    write_summary(summary, path)
    return summary, path


def _planned(
    raw: RawDataset, fingerprint: Fingerprint, made: Plan, path: Path, splits: PlannedSplits | None = None
) -> Planned:
    entries = made.configurations.items()
    waiting = {name: len(must_prepare(raw, made, entry, path.parent)) for name, entry in entries}
    return Planned(raw, fingerprint, made, path, waiting, splits)


def _prepared(planned: Planned, configurations: Sequence[str] | None, jobs: int, reporter: Reporter) -> Preprocessed:
    chosen = [planned.plan.configuration(name) for name in configurations or planned.plan.configurations]
    counts = prepare_dataset(planned.raw, planned.plan, chosen, planned.folder, jobs=jobs, reporter=reporter)
    return Preprocessed(**vars(planned), counts=counts)


def _raw_folder(workspace: Workspace, dataset: str) -> Path:
    """The folder of the raw dataset that is meant."""
    name = workspace.find_dataset(dataset)
    folder = workspace.raw / name
    if not folder.is_dir():
        raise RequestError(f"{folder} does not exist; the raw images of {name} are needed here")
    return folder
