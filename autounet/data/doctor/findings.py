"""What the doctor finds, and its table on disk."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from autounet.errors import Problem, Severity
from autounet.records import write_text_atomically

WHOLE_DATASET = "-"
_COLUMNS = ("case", "file", "check", "value", "class", "what", "remedy")


class Repair(StrEnum):
    """What `--fix` does in the copy."""

    COUNT = "numTraining corrected"
    DROP_DUPLICATE = "duplicate left out"
    FILL = "voxels that are no numbers set to 0"
    PLACE_CHANNEL = "channel placed where the first one is"
    PLACE_LABEL = "label placed where the image is"
    REORDER_CHANNELS = "channels put in the others' order"
    RESAMPLE_LABEL = "label resampled to the image's grid"
    ROUND_LABEL = "label values rounded"
    SWAP_SIDES = "left and right label swapped"


# Made only when asked for: the doctor suspects them, and cannot know.
SUSPECTED = frozenset({Repair.REORDER_CHANNELS, Repair.SWAP_SIDES})


@dataclass(frozen=True)
class Finding:
    """One problem that the doctor found.

    Attributes:
        problem: What is wrong, where, and what to do.
        check: Which check found it, one word for tables and scripts.
        value: The offending value alone.
        repair: How it can be repaired; `None` where it cannot.
        numbers: What the repair needs: for REORDER_CHANNELS the stored channel that belongs at each place, for
            SWAP_SIDES the two label values.
    """

    problem: Problem
    check: str
    value: str = ""
    repair: Repair | None = None
    numbers: tuple[int, ...] = ()

    @property
    def severity(self) -> Severity:
        """Its class."""
        return self.problem.severity


def counted(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings there are of each class, the worst first."""
    severities = [finding.severity for finding in findings]
    return {severity: severities.count(severity) for severity in reversed(Severity)}


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write all findings as CSV, atomically; a table without rows where nothing was found."""
    problems = [(entry, entry.problem) for entry in findings]
    rows = [(p.case, p.file, entry.check, entry.value, p.severity.value, p.what, p.remedy) for entry, p in problems]
    write_csv(path, _COLUMNS, rows)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text_atomically(path, text.getvalue())
