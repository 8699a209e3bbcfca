"""The verb review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autounet.cli.app import app
from autounet.cli.common import DeviceOption, JobsOption, WorkspaceOption, chosen_workspace, console_reporter


@app.command("review")
def review(
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Name.")],
    configuration: Annotated[
        str | None,
        typer.Option("-c", "--configuration", help="Of the model that judges.", show_default="the only trained one"),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Its folder, instead of -c.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="How many cases to show and to draw.")] = 20,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for tables and pictures.", show_default="review/ in the model"),
    ] = None,
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Which training labels to look at first: those that networks which have not seen them disagree with most."""
    from autounet import pipeline
    from autounet.report.review import review_table

    reporter = console_reporter()
    done = pipeline.review(
        chosen_workspace(workspace),
        dataset,
        configuration=configuration,
        model=model,
        num_pictures=top,
        output=output,
        device=device,
        jobs=jobs,
        reporter=reporter,
    )
    reporter.console.print(review_table(done.review, top))
    typical = ", ".join(f"{name} {dice:.3f}" for name, dice in done.review.typical.items())
    reporter.say(f"Median Dice, so that you know how good the judges are: {typical}")
    if done.review.not_judged:
        folds = ", ".join(map(str, done.missing_folds))
        reporter.say(
            f"{len(done.review.not_judged)} cases were not judged, as every trained fold has seen them. To judge them "
            f"too, train what is missing (folds {folds}): {done.training_command}"
        )
    reporter.say(f"All cases and classes: {done.csv_path} and {done.json_path.name}")
    if done.overview is not None:
        reporter.say(f"Pictures: {done.overview}, and one of each case beside it")
    reporter.say(
        f"Next: correct what is wrong in {done.labels}, review again, and then train anew: "
        f"autounet plan_and_preprocess -d {dataset}"
    )
