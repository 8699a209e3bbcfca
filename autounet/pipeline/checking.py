"""Examine a raw dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autounet.parallel import available_cpus
from autounet.pipeline.folders import raw_folder
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.data.doctor.check import Checked


def check(
    workspace: Workspace,
    dataset: str,
    *,
    fix: bool = False,
    output: Path | None = None,
    suspected: bool = False,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Checked:
    """Read every file of a raw dataset, find all problems, and repair what can be repaired in a copy.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        fix: Write a repaired copy; the original is never touched.
        output: Folder of the copy; the next free dataset number in `raw/` by default.
        suspected: Also repair what only looks wrong: left and right labels, order of channels.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        RequestError: There is no usable `dataset.json`, or no copy can be made.
    """
    from autounet.data.doctor.check import check_dataset

    name = raw_folder(workspace, dataset).name
    jobs = jobs or available_cpus()
    return check_dataset(workspace, name, fix=fix, output=output, suspected=suspected, jobs=jobs, reporter=reporter)
