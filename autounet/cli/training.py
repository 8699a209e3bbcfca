"""Verbs that train: train and demo."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autounet.cli import train_options as fields
from autounet.cli.app import app
from autounet.cli.arguments import extension, fold_name, parse_seconds, train_config
from autounet.cli.common import DeviceOption, NetworkOption, PlannerOption, WorkspaceOption
from autounet.cli.common import chosen_workspace as _workspace
from autounet.cli.common import console_reporter as _reporter
from autounet.errors import RequestError
from autounet.workspace import dataset_number

if TYPE_CHECKING:
    from autounet.console import ConsoleReporter
    from autounet.pipeline import Trained
    from autounet.training.replicas import Replicas

ALL_FOLDS = "all-folds"
# What shells give for a program that was ended from outside.
INTERRUPTED = 130


@app.command("train")
def train(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Name.")],
    configuration: Annotated[str, typer.Argument(help="2d, 3d_fullres, ...")],
    fold: Annotated[
        str, typer.Argument(help="0 to 4; all, to train on every case; or all-folds, those that are missing.")
    ],
    max_seconds: fields.MaxTime = None,
    num_epochs: fields.NumEpochs = None,
    num_steps: fields.NumSteps = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="nnunet, clock, or paper, the network's: what all choices below begin with.",
            show_default="paper if --network has one, else clock if given a time",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file with choices; flags beat it.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    extend: Annotated[
        str | None,
        typer.Option("--extend", help="Make a finished run longer: 30m, or a number of epochs.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train anew over what is there.")] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Weights to start from: a model folder, a fold, a file.", show_default=False),
    ] = None,
    network: NetworkOption = None,
    planner: PlannerOption = "default",
    device: DeviceOption = "auto",
    devices: Annotated[
        str | None,
        typer.Option("--devices", help="For all-folds: cuda:0,cuda:1 train at once.", show_default="all GPUs"),
    ] = None,
    logger: Annotated[
        list[str] | None,
        typer.Option("--logger", help="tensorboard, wandb or mlflow besides table and picture; several may follow."),
    ] = None,
    optimizer: fields.Optimizer = None,
    learning_rate: fields.LearningRate = None,
    momentum: fields.Momentum = None,
    weight_decay: fields.WeightDecay = None,
    schedule: fields.Schedule = None,
    warmup: fields.Warmup = None,
    cooldown: fields.Cooldown = None,
    gradient_clip: fields.GradientClip = None,
    ema_share: fields.EmaShare = None,
    growth: fields.Growth = None,
    growth_batch: fields.GrowthBatch = None,
    foreground_share: fields.ForegroundShare = None,
    augmentation: fields.AugmentationName = None,
    augmentation_backend: fields.AugmentationBackend = None,
    laterality: fields.Laterality = None,
    objective: fields.Objective = None,
    loss: fields.Loss = None,
    deep_supervision: fields.DeepSupervision = None,
    precision: fields.Precision = None,
    compile: fields.Compile = None,
    seed: fields.Seed = None,
    steps_per_epoch: fields.StepsPerEpoch = None,
    patience: fields.Patience = None,
    checkpoint_seconds: fields.CheckpointSeconds = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Train a configuration on one fold or all of them, and score it on the folds' validation cases."""
    from autounet import pipeline

    place = _workspace(workspace)
    planned = pipeline.planned_seconds(place, dataset, configuration, planner, network)
    reporter = _reporter()
    of_network = pipeline.network_recipe(network)
    choices = train_config(recipe, config, planned, context.params, of_network.hints)
    told = of_network.told(choices) if recipe in (None, "paper") else None
    if told is not None:
        reporter.say(told)

    def train_one(number: str) -> None:
        replicas = _replicas(device)
        try:
            trained = pipeline.train(
                place,
                dataset,
                configuration,
                fold_name(number),
                config=choices,
                planner=planner,
                network=network,
                device=device,
                resume=resume,
                extension=extension(extend),
                overwrite=overwrite,
                source=source,
                loggers=logger or (),
                replicas=replicas,
                reporter=reporter,
            )
        finally:
            reporter.clear()
        if replicas:
            replicas.leave()
        if replicas is None or replicas.is_main:
            _tell(trained, reporter)

    if fold != ALL_FOLDS:
        train_one(fold)
        return
    if resume or extend or overwrite:
        raise RequestError(f"{ALL_FOLDS} trains the folds that are missing; for one that is there, name it")
    model, missing = pipeline.folds_to_train(
        place, dataset, configuration, planner=planner, network=network, device=device, reporter=reporter
    )
    reporter.say(f"{model}: {_listing(missing)} to train" if missing else f"{model}: every fold is trained")
    names = _devices(devices, device)
    if len(names) > 1 and len(missing) > 1:
        _side_by_side(model, missing, names, reporter)
        return
    for number in missing:
        train_one(str(number))


@app.command("demo")
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where to put everything.")] = Path("autounet_demo"),
    max_time: Annotated[str, typer.Option(help="Time for training.")] = "150s",
) -> None:
    """Generate a small dataset and run the whole pipeline on it: some minutes on a laptop."""
    from autounet.console import scores_table
    from autounet.demo import demo as run_demo

    reporter = _reporter()
    try:
        result = run_demo(folder, max_seconds=parse_seconds(max_time), reporter=reporter)
    finally:
        reporter.clear()
    reporter.console.print(scores_table(result.summary, f"{result.summary.num_cases} cases that it did not train on"))
    reporter.say(f"Masks: {result.masks}")
    reporter.say(f"Pictures: {result.overlays}")
    reporter.say(f"Next, with data of your own: put DatasetXXX_Name into {Path('autounet_workspace') / 'raw'} and run")
    reporter.say("autounet plan_and_preprocess -d XXX")


def _tell(trained: Trained, reporter: ConsoleReporter) -> None:
    """What came of a fold, and what to type next."""
    from autounet.console import cross_validation_table, scores_table

    if not trained.is_finished:
        reporter.say(f"Model, usable as it is: {trained.fold}")
        reporter.say("Next: the same command with --resume goes on where the run was stopped")
        raise typer.Exit(INTERRUPTED)
    if trained.drawing is not None:
        drawing = trained.drawing
        reporter.say(f"Validation, {drawing.num_cases} cases: loss {drawing.loss:.4f}, the {drawing.measure}")
        reporter.say(f"Model: {trained.fold}")
        reporter.say(f"The run in one picture: {trained.fold / 'progress.png'}")
        reporter.say(f"Next: autounet sample {trained.model} -i LABELMAPS -o IMAGES")
        return
    assert trained.summary is not None
    reporter.console.print(scores_table(trained.summary, f"Validation, {trained.summary.num_cases} whole cases"))
    reporter.say(f"Model: {trained.fold}")
    reporter.say(f"Masks and scores: {trained.fold / 'validation'}")
    reporter.say(f"The run in one picture: {trained.fold / 'progress.png'}")
    if trained.cross_validation:
        reporter.console.print(cross_validation_table(trained.cross_validation))
        reporter.say(f"Every case and class: {trained.model / 'cross_validation_cases.csv'}")
        number = dataset_number(trained.model.parent.name)
        reporter.say(f"To choose among configurations, ensembles and thresholds: autounet find_best {number}")
    reporter.say("Next: autounet predict -i IMAGES -o MASKS")


def _replicas(device: str) -> Replicas | None:
    """This process among those that `torchrun` started; `None` where it did not."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    from autounet.training.replicas import join

    rank, local_rank, count = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    return join(rank, local_rank, count, device)


def _devices(names: str | None, device: str) -> list[str]:
    """Devices that train folds at once."""
    if names is not None:
        return names.split(",")
    if device != "auto":
        return [device]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or [device]


def _side_by_side(model: Path, folds: list[int], devices: list[str], reporter: ConsoleReporter) -> None:
    """Run this very command for each fold, on a device of its own."""
    from autounet.launch.many_folds import train_side_by_side

    arguments = iter(sys.argv[1:])
    kept = []
    for argument in arguments:
        if argument in ("--devices", "--device"):
            next(arguments)
        elif not argument.startswith(("--devices=", "--device=")):
            kept.append("{fold}" if argument == ALL_FOLDS else argument.replace("{", "{{").replace("}", "}}"))
    train_side_by_side(folds, devices, kept, model, reporter)


def _listing(folds: list[int]) -> str:
    return f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}"
