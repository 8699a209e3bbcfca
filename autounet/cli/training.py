"""Verbs that train: train and demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autounet.cli.app import app
from autounet.cli.arguments import fold_name, parse_seconds, train_config
from autounet.cli.common import DeviceOption, NetworkOption, PlannerOption, WorkspaceOption
from autounet.cli.common import chosen_workspace as _workspace
from autounet.cli.common import console_reporter as _reporter


@app.command("train")
def train(
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Name.")],
    configuration: Annotated[str, typer.Argument(help="2d or 3d_fullres.")],
    fold: Annotated[str, typer.Argument(help="0 to 4, or all.")],
    max_time: Annotated[
        str | None,
        typer.Option(
            help="Time for the whole command, for example 30m or 2h; the schedule is laid over it.",
            show_default="the plan's, if it was made for a time",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of 250 steps.", show_default="1000")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of initialisation, sampling and augmentation.")] = 0,
    network: NetworkOption = None,
    loss: Annotated[str, typer.Option(help="Loss.")] = "dice_ce",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    laterality: Annotated[
        str, typer.Option(help="Mirrors and left and right classes: swap their labels, no_flip, or ignore.")
    ] = "swap",
    planner: PlannerOption = "default",
    device: DeviceOption = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train anew over what is there.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Train a configuration on one fold, and score it on the fold's validation cases."""
    from autounet import pipeline
    from autounet.console import scores_table

    options = {"seed": seed, "loss": loss, "precision": precision, "laterality": laterality}
    planned = pipeline.planned_seconds(_workspace(workspace), dataset, configuration, planner)
    config = train_config(max_time, epochs, planned, options)
    reporter = _reporter()
    try:
        trained = pipeline.train(
            _workspace(workspace),
            dataset,
            configuration,
            fold_name(fold),
            config=config,
            planner=planner,
            network=network,
            device=device,
            resume=resume,
            overwrite=overwrite,
            reporter=reporter,
        )
    finally:
        reporter.clear()
    reporter.console.print(scores_table(trained.summary, f"Validation, {trained.summary.num_cases} whole cases"))
    reporter.say(f"Model: {trained.fold}")
    reporter.say(f"Masks and scores: {trained.fold / 'validation'}")
    reporter.say("Next: autounet predict -i IMAGES -o MASKS")


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
