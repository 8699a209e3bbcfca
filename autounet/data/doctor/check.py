"""The verb `check`: examine a dataset of the workspace, write the table, and mend a copy if asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autounet.data.doctor.checkup import Diagnosis, examine
from autounet.data.doctor.findings import write_findings
from autounet.data.doctor.repair import Repaired, is_repairable, repair_into
from autounet.errors import RequestError
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace, dataset_number

_MAX_ID = 999


@dataclass(frozen=True)
class Checked:
    """What `check` found and did.

    Attributes:
        diagnosis: Everything found.
        table: The CSV file with all of it.
        copy: Folder of the repaired copy; `None` where none was asked for, or none was needed.
        repaired: What is different in the copy.
    """

    diagnosis: Diagnosis
    table: Path
    copy: Path | None = None
    repaired: tuple[Repaired, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where nothing or only harmless things were found, or a repaired copy was made; 2 otherwise."""
        return 0 if self.diagnosis.is_sound or self.copy is not None else 2


def check_dataset(
    workspace: Workspace,
    name: str,
    *,
    fix: bool,
    output: Path | None,
    suspected: bool,
    jobs: int,
    reporter: Reporter = SILENT,
) -> Checked:
    """Examine `raw/NAME` and write `preprocessed/NAME/problems.csv`; with `fix`, write a repaired copy.

    Raises:
        RequestError: There is no usable `dataset.json`, the options do not fit, or no copy can be made.
    """
    if not fix and (output is not None or suspected):
        raise RequestError("--output and --suspected say how to repair. Add --fix.")
    diagnosis = examine(workspace.raw / name, jobs=jobs, reporter=reporter)
    table = workspace.preprocessed / name / "problems.csv"
    write_findings(table, diagnosis.findings)
    if not fix or not is_repairable(diagnosis, suspected=suspected):
        return Checked(diagnosis, table)
    copy = output or workspace.raw / free_name(workspace, name)
    repaired = repair_into(copy, diagnosis, suspected=suspected, reporter=reporter)
    return Checked(diagnosis, table, copy, repaired)


def free_name(workspace: Workspace, name: str) -> str:
    """`Dataset005_Name_fixed` for `Dataset004_Name`: the next number that no dataset of the workspace has.

    Raises:
        RequestError: All numbers are taken.
    """
    taken = {dataset_number(other) for other in workspace.dataset_names()}
    own = dataset_number(name)
    for number in (*range(own + 1, _MAX_ID + 1), *range(1, own)):
        if number not in taken:
            return f"Dataset{number:03d}_{name[11:]}_fixed"
    raise RequestError(f"all dataset numbers to {_MAX_ID} are taken in {workspace.raw}. Name a folder with --output.")
