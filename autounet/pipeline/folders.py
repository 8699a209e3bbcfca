"""Where a verb finds its dataset."""

from __future__ import annotations

from pathlib import Path

from autounet.errors import RequestError
from autounet.workspace import Workspace


def raw_folder(workspace: Workspace, dataset: str) -> Path:
    """The folder of the raw dataset that is meant."""
    name = workspace.find_dataset(dataset)
    folder = workspace.raw / name
    if not folder.is_dir():
        raise RequestError(f"{folder} does not exist; the raw images of {name} are needed here")
    return folder
