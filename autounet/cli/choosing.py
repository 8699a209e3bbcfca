"""Verbs between training and prediction: find_best and postprocess."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from autounet.cli.app import app
from autounet.cli.common import DeviceOption, JobsOption, WorkspaceOption, chosen_workspace, console_reporter


@app.command("find_best")
def find_best(
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Hippocampus.")],
    configurations: Annotated[
        list[str] | None,
        typer.Option("-c", "--configuration", help="Compare only these; several may follow.", show_default="all"),
    ] = None,
    folds: Annotated[
        list[int] | None,
        typer.Option("-f", "--fold", help="Compare only these; several may follow.", show_default="all trained"),
    ] = None,
    ensembles: Annotated[
        Literal["pairs", "all", "none"], typer.Option(help="Ensembles of two models, of any number, or none.")
    ] = "pairs",
    thresholds: Annotated[bool, typer.Option(help="See whether other thresholds than one half help.")] = True,
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Choose what predicts best: models, ensembles, thresholds, components. predict uses the choice."""
    from autounet import pipeline
    from autounet.console import finishing_table, standings_table

    reporter = console_reporter()
    found = pipeline.find_best(
        chosen_workspace(workspace),
        dataset,
        configurations=configurations or (),
        folds=folds or (),
        ensembles=ensembles,
        thresholds=thresholds,
        device=device,
        jobs=jobs,
        reporter=reporter,
    )
    best = found.best
    reporter.console.print(standings_table(best))
    for reason in best.choice.reasons:
        reporter.say(reason)
    reporter.console.print(finishing_table(best))
    finish = f", {best.finish.summary}" if best.finish.summary else ""
    reporter.say(f"Chosen: {best.choice.chosen}{finish}; Dice {best.dice:.4f}")
    reporter.say(f"Written to {found.path}")
    reporter.say(f"Next: autounet predict -i IMAGES -o MASKS -d {dataset}")


@app.command("postprocess")
def postprocess(
    masks: Annotated[Path, typer.Option("-i", "--input", help="Folder of masks.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Another folder, for the results.")],
    rule: Annotated[Path, typer.Option(help="best.json of find_best, or a file with the steps alone.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do finished masks again.")] = False,
    jobs: JobsOption = None,
) -> None:
    """Keep only the largest components in a folder of masks, as a rule says."""
    from autounet import pipeline

    reporter = console_reporter()
    done = pipeline.postprocess(masks, output, rule, overwrite=overwrite, jobs=jobs, reporter=reporter)
    reporter.say(f"largest component of: {', '.join(done.steps) or 'nothing, the rule has no step'}")
    reporter.say(
        f"{len(done.written)} masks written to {output}, {done.changed} changed; {len(done.skipped)} were there"
    )
