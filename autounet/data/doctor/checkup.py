"""The whole examination of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from autounet.data.dataset import RawDataset
from autounet.data.doctor.across import class_findings, outlier_findings
from autounet.data.doctor.case import CaseExam, examine_case
from autounet.data.doctor.channels import channel_order_findings
from autounet.data.doctor.duplicates import duplicate_findings
from autounet.data.doctor.findings import Finding, Repair
from autounet.data.doctor.sides import single_pairs, swapped_findings
from autounet.errors import Severity
from autounet.parallel import map_ordered, worthwhile_jobs
from autounet.progress import SILENT, Reporter

_WORST_FIRST = list(reversed(Severity))


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a dataset.

    Attributes:
        dataset: The cases that have all their files.
        findings: Everything found, the worst first, then by case.
    """

    dataset: RawDataset
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing, or only harmless things, were found."""
        return all(finding.severity is Severity.HARMLESS for finding in self.findings)


def examine(folder: Path, *, jobs: int, reporter: Reporter = SILENT) -> Diagnosis:
    """Read every file of a raw dataset once, and find all problems.

    Args:
        folder: `DatasetXXX_Name`.
        jobs: Worker processes at most; a small dataset is read in this process, which is faster.
        reporter: Shows the progress.

    Raises:
        RequestError: There is no usable `dataset.json`.
    """
    dataset, problems = RawDataset.scan(folder)
    description = dataset.description
    sided = [entry.values[0] for pair in single_pairs(description.labels) for entry in pair]
    examine_one = partial(examine_case, description=description, sided_values=sided)
    files = (path for case in dataset.cases for path in case.files if path is not None)
    exams: list[CaseExam] = list(
        map_ordered(
            examine_one, dataset.cases, jobs=worthwhile_jobs(jobs, files), reporter=reporter, description="check"
        )
    )
    findings = [
        Finding(entry, "files", repair=Repair.COUNT if entry.severity is Severity.REPAIRABLE else None)
        for entry in problems
    ]
    findings += [finding for exam in exams for finding in exam.findings]
    findings += duplicate_findings(exams, description)
    findings += outlier_findings(exams, description)
    findings += class_findings(exams, description)
    findings += channel_order_findings(exams, description)
    findings += swapped_findings(exams, description)
    findings.sort(key=lambda entry: (_WORST_FIRST.index(entry.severity), entry.problem.case, entry.problem.file))
    return Diagnosis(dataset=dataset, findings=tuple(findings))
