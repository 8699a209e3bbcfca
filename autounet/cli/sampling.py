"""The verb sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autounet.cli.app import app
from autounet.cli.common import DeviceOption, WorkspaceOption
from autounet.cli.common import chosen_workspace as _workspace
from autounet.cli.common import console_reporter as _reporter


@app.command("sample")
def sample(
    model: Annotated[str, typer.Argument(help="Model folder that draws, or the dataset that has one: 4, 004, ...")],
    label_maps: Annotated[Path, typer.Option("-i", "--input", help="Folder of label maps, named as in labelsTr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for imagesTr, labelsTr and overview.png.")],
    copies: Annotated[int, typer.Option(min=1, help="Images for each label map.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Times that noise is taken off.")] = 50,
    guidance: Annotated[float, typer.Option(help="1: as the label map asks; more: beyond; 0: never mind it.")] = 2.0,
    eta: Annotated[float, typer.Option(help="Noise drawn anew at each step: 0 as in DDIM, 1 as in DDPM.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other images.")] = 0,
    fold: Annotated[str | None, typer.Option("-f", "--fold", help="Whose network.", show_default="the first")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Draw images that are there again.")] = False,
    device: DeviceOption = "auto",
    workspace: WorkspaceOption = None,
) -> None:
    """Draw new images for label maps, by a model that was trained with --network diffusion_unet."""
    from autounet import pipeline
    from autounet.inference.drawing import DrawOptions

    reporter = _reporter()
    try:
        done = pipeline.sample(
            _workspace(workspace),
            model,
            label_maps,
            output,
            fold=fold,
            copies=copies,
            options=DrawOptions(steps=steps, guidance=guidance, eta=eta, seed=seed),
            device=device,
            overwrite=overwrite,
            reporter=reporter,
        )
    finally:
        reporter.clear()
    reporter.say(f"{len(done.drawn)} images drawn, {len(done.names) - len(done.drawn)} were there: {done.folder}")
    if done.overview is not None:
        reporter.say(f"Some of them in one picture: {done.overview}")
    reporter.say(
        "imagesTr and labelsTr there can be copied into a dataset's, for training only (docs/how-to/draw-images.md)"
    )
