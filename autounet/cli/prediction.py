"""Verbs after training: predict and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autounet.cli.app import app
from autounet.cli.common import DeviceOption, JobsOption, WorkspaceOption
from autounet.cli.common import chosen_workspace as _workspace
from autounet.cli.common import console_reporter as _reporter


@app.command("predict")
def predict(
    images: Annotated[Path, typer.Option("-i", "--input", help="Folder of images, named as in imagesTr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the masks.")],
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Whose model.", show_default="the only one")
    ] = None,
    configuration: Annotated[
        str | None, typer.Option("-c", "--configuration", help="Which of its models.", show_default="the only one")
    ] = None,
    folds: Annotated[
        list[str] | None,
        typer.Option("-f", "--fold", help="Folds to average; several may follow.", show_default="all finished"),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A model folder, instead of -d and -c.", show_default=False)
    ] = None,
    mirror: Annotated[bool, typer.Option(help="Average over mirror images; slower, a little better.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict finished cases again.")] = False,
    device: DeviceOption = "auto",
    workspace: WorkspaceOption = None,
) -> None:
    """Predict the masks of a folder of images. Finished cases are skipped."""
    from autounet import pipeline

    reporter = _reporter()
    predicted = pipeline.predict(
        _workspace(workspace),
        images,
        output,
        dataset=dataset,
        configuration=configuration,
        model=model,
        folds=folds,
        mirror=mirror,
        overwrite=overwrite,
        device=device,
        reporter=reporter,
    )
    reporter.say(f"{len(predicted.written)} masks written to {output}, {len(predicted.skipped)} were there")
    reporter.say(f"Next, where references exist: autounet evaluate REFERENCES {output}")


@app.command("evaluate")
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Folder of reference label files.")],
    prediction: Annotated[Path, typer.Argument(help="Folder of predicted label files of the same names.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file.", show_default="PREDICTION/scores.json")
    ] = None,
    jobs: JobsOption = None,
) -> None:
    """Score predictions against references, per case and per class."""
    from autounet import pipeline
    from autounet.console import scores_table

    reporter = _reporter()
    summary, path = pipeline.evaluate(reference, prediction, output=output, jobs=jobs, reporter=reporter)
    reporter.console.print(scores_table(summary, f"{summary.num_cases} cases"))
    reporter.say(f"Every case and class: {path} and {path.with_suffix('.csv')}")
