"""The command line's root: the object that the verbs join."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="autounet",
    help="Self-configuring segmentation around the U-Net.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        from autounet import __version__

        typer.echo(__version__)
        raise typer.Exit
