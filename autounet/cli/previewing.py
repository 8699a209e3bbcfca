"""The verb preview."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autounet.cli.app import app
from autounet.cli.common import NetworkOption, PlannerOption, WorkspaceOption
from autounet.cli.common import chosen_workspace as _workspace
from autounet.cli.common import console_reporter as _reporter


@app.command("preview")
def preview(
    dataset: Annotated[str, typer.Argument(help="4, 004 or Dataset004_Name.")],
    configuration: Annotated[
        str | None, typer.Option("-c", "--configuration", help="Whose patches.", show_default="3d_fullres if planned")
    ] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(
            help="nnunet, da5, light, unet2015, unet3d2016, mirror, none or module:NAME.",
            show_default="as train has it",
        ),
    ] = None,
    patches: Annotated[int, typer.Option("--patches", min=1, max=50, help="How many, a row each.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Another one shows others.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="PNG file.", show_default="among the prepared data")
    ] = None,
    planner: PlannerOption = "default",
    network: NetworkOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Draw augmented patches of prepared cases with their labels: each before and after."""
    from autounet import pipeline

    reporter = _reporter()
    done = pipeline.preview(
        _workspace(workspace),
        dataset,
        configuration=configuration,
        augmentation=augmentation,
        num_patches=patches,
        seed=seed,
        output=output,
        planner=planner,
        network=network,
        reporter=reporter,
    )
    reporter.say(f"{done.configuration}, augmentation {done.augmentation}: {done.shown}")
    for patch in done.patches:
        reporter.say(f"  {patch.case}: {', '.join(patch.changes) or 'as it was'}")
    reporter.say(f"Picture: {done.path}")
