"""What the verbs of the command line share: options, and where to work and report. It reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autounet.console import ConsoleReporter
    from autounet.workspace import Workspace

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="Folder with raw/, preprocessed/ and results/.", show_default=False),
]
JobsOption = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes.", show_default="all cores")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
PlannerOption = Annotated[
    str, typer.Option("--planner", help="default, nnunet, nnunet_resenc, nnunet_resenc_m, _l or _xl.")
]
NetworkOption = Annotated[
    str | None,
    typer.Option(
        "--network",
        help="Architecture, as NAME or NAME,key=value,... (autounet networks lists them).",
        show_default="the planner's",
    ),
]
ConfigurationsOption = Annotated[
    list[str] | None,
    typer.Option("-c", "--configuration", help="2d, 3d_fullres, ...; several may follow.", show_default="all"),
]
MemoryOption = Annotated[
    float | None,
    typer.Option("--memory-gib", min=0.01, help="Memory to plan for.", show_default="the device's own"),
]
PlanTimeOption = Annotated[
    str | None,
    typer.Option("--max-time", help="Plan so that training can use this time: 30m, 2h.", show_default="no limit"),
]
PatchOption = Annotated[
    list[int] | None,
    typer.Option("--patch", min=1, help="Patch: Z Y X, or Y X for 2d.", show_default="largest that fits"),
]
BatchOption = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Patches a step.", show_default="as many as fit")
]
SpacingOption = Annotated[
    list[float] | None,
    typer.Option("--spacing", help="Voxel size to resample to, Z Y X in mm.", show_default="by rule"),
]
FeaturesOption = Annotated[
    int | None, typer.Option("--features", min=1, help="Channels of the finest stage.", show_default="32")
]
StagesOption = Annotated[
    int | None, typer.Option("--stages", min=1, help="Resolutions at most.", show_default="as the patch allows")
]
GroupByOption = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        help="Keep cases of a group in one fold: a regular expression on their names, FILE.csv:COLUMN or PatientID.",
        show_default="as before, else none",
    ),
]
SiteByOption = Annotated[
    str | None,
    typer.Option("--site-by", help="Spread sites evenly over the folds; told likewise.", show_default="as before"),
]


def console_reporter() -> ConsoleReporter:
    """Draws on the terminal."""
    from rich.console import Console

    from autounet.console import ConsoleReporter

    return ConsoleReporter(Console())


def chosen_workspace(folder: Path | None) -> Workspace:
    """The option, else AUTOUNET_WORKSPACE, else nnU-Net's three variables, else ./autounet_workspace."""
    from autounet.workspace import Workspace

    if folder is None and "AUTOUNET_WORKSPACE" in os.environ:
        folder = Path(os.environ["AUTOUNET_WORKSPACE"])
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    if folder is None and all(name in os.environ for name in names):
        raw, preprocessed, results = (Path(os.environ[name]).absolute() for name in names)
        return Workspace(raw=raw, preprocessed=preprocessed, results=results)
    return Workspace.at(folder or Path("autounet_workspace"))
