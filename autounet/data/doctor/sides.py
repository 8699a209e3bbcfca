"""Left and right labels that look swapped, by where their centres lie in the other cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autounet.data.description import DatasetDescription
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.findings import WHOLE_DATASET, Finding, Repair
from autounet.errors import Problem, Severity
from autounet.geometry import ORIENTED_ENDINGS
from autounet.labels import LabelClass, LabelSchema
from autounet.laterality import side_pairs

_MIN_CASES = 3
# This share of the cases must agree; else the axis is not left-right, or the structures have no sides.
_MAJORITY = 0.75
# Centres nearer to each other than this share of the usual distance say nothing.
_CLEAR_DISTANCE = 0.25


def single_pairs(labels: LabelSchema) -> list[tuple[LabelClass, LabelClass]]:
    """Pairs of a left and a right class, by their names, of one label value each."""
    return side_pairs([entry for entry in labels.classes if len(entry.values) == 1])


def swapped_findings(exams: Sequence[CaseExam], description: DatasetDescription) -> list[Finding]:
    """Cases in which a left and a right label lie the other way round than in most cases."""
    findings = []
    for left, right in single_pairs(description.labels):
        distances = {
            exam.name: exam.centroids_mm[left.values[0]][0] - exam.centroids_mm[right.values[0]][0]
            for exam in exams
            if exam.centroids_mm is not None
            and left.values[0] in exam.centroids_mm
            and right.values[0] in exam.centroids_mm
        }
        if len(distances) >= _MIN_CASES:
            files = {exam.name: exam.label_file for exam in exams}
            oriented = description.file_ending.lower() in ORIENTED_ENDINGS
            findings += _odd_ones(left, right, distances, files, oriented=oriented)
    return findings


def _odd_ones(
    left: LabelClass, right: LabelClass, distances: dict[str, float], files: dict[str, str], *, oriented: bool
) -> list[Finding]:
    """Cases whose distance has the other sign than most.

    Args:
        left: The left class.
        right: Its partner.
        distances: Of each case, from the right centre to the left one along the world's x axis, in mm.
        files: Label file of each case.
        oriented: Whether the files tell which way the world's x axis runs.
    """
    values = np.array(list(distances.values()))
    usual = float(np.median(np.abs(values)))
    share_right = float((values > 0).mean())
    if usual == 0 or max(share_right, 1 - share_right) < _MAJORITY:
        return []
    sign = 1.0 if share_right > 0.5 else -1.0
    findings = []
    if oriented and sign > 0:  # world x grows to the right (RAS+), so a left structure has the smaller x
        what = f"in most cases {left.name} lies on the right of {right.name}, by the orientation in the headers"
        remedy = "see whether the names in dataset.json are exchanged, or the orientation in the headers is wrong"
        problem = Problem(WHOLE_DATASET, "dataset.json", what, remedy, severity=Severity.HARMLESS)
        findings.append(Finding(problem, "sides", f"{left.name}, {right.name}"))
    for case, distance in distances.items():
        if sign * distance >= 0 or abs(distance) < _CLEAR_DISTANCE * usual:
            continue
        what = (
            f"{left.name} and {right.name} look swapped: from the right one's centre to the left one's it is "
            f"{distance:+.3g} mm along the left-right axis, in the other cases about {sign * usual:+.3g} mm"
        )
        remedy = "look at it; --fix --suspected swaps the labels (not if the image itself is mirrored)"
        problem = Problem(case, files[case], what, remedy, severity=Severity.REPAIRABLE)
        numbers = (left.values[0], right.values[0])
        findings.append(Finding(problem, "sides", f"{distance:+.3g} mm", Repair.SWAP_SIDES, numbers))
    return findings
