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
from autounet.data.splits import Split, load_or_make_splits
from autounet.errors import DataError, RequestError
from autounet.fingerprint import Fingerprint, take_fingerprint
from autounet.parallel import available_cpus
from autounet.planners import PLANNERS
from autounet.plans import Configuration, Plan, plan_path
from autounet.preprocessing.dataset import PreparedCount, prepare_dataset, recipe, store_for
from autounet.progress import SILENT, Reporter, duration
from autounet.records import read_json
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.evaluation.summary import Summary
    from autounet.models.folder import FoldName
    from autounet.training.config import TrainConfig

DEFAULT_PLANNER = "nnunet"

DEMO_DATASET = "Dataset900_Phantoms"
DEMO_SECONDS = 150.0


@dataclass(frozen=True)
class Planned:
    """What `plan_and_preprocess` made.

    Attributes:
        fingerprint: Of the dataset.
        plan: Its plan.
        folder: Where both lie, with the prepared cases.
        counts: Prepared cases of each configuration.
    """

    fingerprint: Fingerprint
    plan: Plan
    folder: Path
    counts: dict[str, PreparedCount]


def plan_and_preprocess(
    workspace: Workspace,
    dataset: str,
    *,
    configurations: Sequence[str] | None = None,
    planner: str = DEFAULT_PLANNER,
    memory_gib: float = 8.0,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Planned:
    """Check a raw dataset, measure it, plan for it, and prepare its cases.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configurations: Which to prepare; all that the plan has by default.
        planner: Name in `autounet.planners.PLANNERS`.
        memory_gib: GPU memory to plan for.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        DataError: The dataset has problems; all of them at once, and nothing was written.
        RequestError: The request does not fit the dataset.
    """
    jobs = jobs or available_cpus()
    make_plan = PLANNERS.find(planner)
    raw, problems = RawDataset.scan(_raw_folder(workspace, dataset))
    fingerprint = take_fingerprint(raw, jobs=jobs, reporter=reporter, known_problems=problems)
    plan = make_plan(fingerprint, raw.description, memory_gib=memory_gib)
    chosen = [plan.configuration(name) for name in configurations or plan.configurations]
    folder = workspace.preprocessed / raw.description.name
    # The splits are read before anything is written: a splits file of the user's own may be wrong.
    load_or_make_splits(folder / "splits_final.json", [case.name for case in raw.cases])
    fingerprint.write(folder / "fingerprint.json")
    _write_plan(plan, plan_path(folder, planner), reporter)
    counts = prepare_dataset(raw, plan, chosen, folder, jobs=jobs, reporter=reporter)
    return Planned(fingerprint, plan, folder, counts)


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
    from autounet.losses import LOSSES
    from autounet.models.folder import fold_folder, model_folder
    from autounet.networks import NETWORKS
    from autounet.training.config import TrainConfig
    from autounet.training.device import choose_device

    config = config or TrainConfig()
    name = workspace.find_dataset(dataset)
    preprocessed = workspace.preprocessed / name
    plan = _read_plan(preprocessed, planner, dataset)
    chosen = _with_network(plan.configuration(configuration), network)
    NETWORKS.find(chosen.network.name)
    LOSSES.find(config.loss)
    raw = RawDataset.load(_raw_folder(workspace, dataset))
    _require_prepared(raw, plan, chosen, preprocessed)
    split = _split(preprocessed, raw, fold)
    model = model_folder(workspace, plan, chosen)
    folder = fold_folder(model, fold)
    _require_free(folder, resume=resume, overwrite=overwrite)
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
    done = {case.name for case in cases if not overwrite and (output / f"{case.name}{plan.file_ending}").exists()}
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


@dataclass(frozen=True)
class Demonstrated:
    """What `demo` made: the scores on cases that it did not train on, and where masks and pictures are."""

    summary: Summary
    masks: Path
    overlays: Path


def demo(folder: Path, *, max_seconds: float = DEMO_SECONDS, reporter: Reporter = SILENT) -> Demonstrated:
    """Run the whole pipeline on a small dataset that is generated on the spot.

    Args:
        folder: Workspace of its own; what an earlier demo left there is replaced.
        max_seconds: Time for training.
        reporter: Shows the progress.

    Raises:
        RequestError: The folder holds something else.
    """
    from autounet.data.phantoms import write_phantom_dataset
    from autounet.report.folders import draw_overlays
    from autounet.training.config import TrainConfig

    workspace = Workspace.at(folder)
    raw = workspace.raw / DEMO_DATASET
    if folder.exists() and any(folder.iterdir()) and not raw.exists():
        raise RequestError(f"{folder} is not empty and holds no demo. Name another folder with --folder.")
    reporter.say(f"1/5 generating phantoms in {raw}")
    write_phantom_dataset(raw)
    reporter.say("2/5 planning and preprocessing")
    plan_and_preprocess(workspace, DEMO_DATASET, configurations=["3d_fullres"], reporter=reporter)
    reporter.say(f"3/5 training for {duration(max_seconds)}")
    config = TrainConfig.for_clock(max_seconds)
    train(workspace, DEMO_DATASET, "3d_fullres", 0, config=config, overwrite=True, reporter=reporter)
    reporter.say("4/5 predicting cases that were not trained on")
    images, masks = raw / "imagesTs", folder / "predictions"
    predict(workspace, images, masks, dataset=DEMO_DATASET, overwrite=True, reporter=reporter)
    reporter.say("5/5 scoring and drawing them")
    summary, _ = evaluate(raw / "labelsTs", masks, reporter=reporter)
    overlays = folder / "overlays"
    draw_overlays(overlays, images, masks, raw / "labelsTs", reporter=reporter)
    return Demonstrated(summary=summary, masks=masks, overlays=overlays)


def _raw_folder(workspace: Workspace, dataset: str) -> Path:
    """The folder of the raw dataset that is meant."""
    name = workspace.find_dataset(dataset)
    folder = workspace.raw / name
    if not folder.is_dir():
        raise RequestError(f"{folder} does not exist; the raw images of {name} are needed here")
    return folder


def _write_plan(plan: Plan, path: Path, reporter: Reporter) -> None:
    """Write a plan; one of another content that is there, perhaps edited by hand, is kept beside it."""
    if path.exists() and not _holds(path, plan):
        kept = path.with_name(f"{path.stem}.previous.json")
        path.replace(kept)
        reporter.say(f"the plan differs from the one that was there, which is kept as {kept}")
    plan.write(path)


def _holds(path: Path, plan: Plan) -> bool:
    try:
        return bool(read_json(path) == plan.model_dump(mode="json"))
    except RequestError:  # torn by an editor, say
        return False


def _read_plan(preprocessed: Path, planner: str, dataset: str) -> Plan:
    path = plan_path(preprocessed, planner)
    if not path.exists():
        raise RequestError(f"{path} does not exist. Make it with: autounet plan_and_preprocess -d {dataset}")
    return Plan.read(path)


def _with_network(configuration: Configuration, network: str | None) -> Configuration:
    if network is None or network == configuration.network.name:
        return configuration
    return configuration.model_copy(update={"network": configuration.network.model_copy(update={"name": network})})


def _require_prepared(raw: RawDataset, plan: Plan, configuration: Configuration, preprocessed: Path) -> None:
    """Every case must be prepared from the raw files and the plan as they are now."""
    store = store_for(preprocessed, plan, configuration)
    stale = [case.name for case in raw.cases if not store.holds(case.name, recipe(case, plan, configuration))]
    if stale:
        raise RequestError(
            f"{len(stale)} of {len(raw.cases)} cases are not prepared for {configuration.name}, or their files or the "
            f"plan changed since (first: {stale[0]}). Prepare them with: "
            f"autounet plan_and_preprocess -d {int(plan.dataset_name[7:10])} -c {configuration.name}"
        )


def _split(preprocessed: Path, raw: RawDataset, fold: FoldName) -> Split:
    names = tuple(sorted(case.name for case in raw.cases))
    if fold == "all":
        return Split(train=names, validation=names)
    splits = load_or_make_splits(preprocessed / "splits_final.json", names)
    if not 0 <= fold < len(splits):
        raise RequestError(f"fold {fold} does not exist: there are folds 0 to {len(splits) - 1}, and 'all'")
    return splits[fold]


def _require_free(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Nothing that was trained is lost by mistake."""
    from autounet.models.folder import ModelRecord, record_path

    path = record_path(folder)
    if resume and overwrite:
        raise RequestError("--resume and --overwrite exclude each other: go on with the run, or start anew")
    if resume:
        if not path.exists():
            raise RequestError(f"there is no run to resume in {folder}. Start one without --resume.")
        if ModelRecord.read(path).finished:
            raise RequestError(f"the run in {folder} is finished. To train anew over it, give --overwrite.")
    elif path.exists() and not overwrite:
        how = "is finished" if ModelRecord.read(path).finished else "was not finished; go on with it by --resume"
        raise RequestError(f"{folder} holds a run that {how}. To train anew over it, give --overwrite.")
