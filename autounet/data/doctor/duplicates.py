"""Images that occur twice, exactly or nearly: the same patient in training and validation flatters every score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from autounet.data.description import DatasetDescription
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.findings import Finding, Repair
from autounet.data.likeness import NEARLY_SAME, SAME, similar_pairs
from autounet.errors import Problem, Severity


def duplicate_findings(exams: Sequence[CaseExam], description: DatasetDescription) -> list[Finding]:
    """Exact copies by the hash of their voxels, near ones by the correlation of small thumbnails of equal shape."""
    groups: dict[str, list[CaseExam]] = defaultdict(list)
    for exam in exams:
        if exam.image is not None:
            groups[exam.image.digest].append(exam)
    exact = [_exact(group[0], other, description) for group in groups.values() for other in group[1:]]
    # Of exact copies one stands for all, so that each pair is told once.
    firsts = [(group[0], group[0].image) for group in groups.values()]
    shapes = [(*figures.shape, len(figures.percentiles)) for _, figures in firsts if figures is not None]
    thumbnails = [figures.thumbnail for _, figures in firsts if figures is not None]
    pairs = similar_pairs(shapes, thumbnails, NEARLY_SAME)
    return exact + [_near(firsts[one][0], firsts[other][0], correlation) for one, other, correlation in pairs]


def _exact(first: CaseExam, copy: CaseExam, description: DatasetDescription) -> Finding:
    what = f"its image is a copy of case {first.name}'s"
    if description.annotated_in(first.name) != description.annotated_in(copy.name):
        contradicted = _contradicted(first, copy, description)
        if not contradicted:
            what += ", with other classes annotated"
            remedy = "nothing needs to be done, each teaches its own classes; planning keeps them in one fold"
            problem = Problem(copy.name, copy.image_file, what, remedy, severity=Severity.HARMLESS)
            return Finding(problem, "duplicate", first.name)
        what += f", with another label of {', '.join(contradicted)}"
    elif first.label_digest == copy.label_digest:
        problem = Problem(copy.name, copy.image_file, what, "--fix leaves it out", severity=Severity.REPAIRABLE)
        return Finding(problem, "duplicate", first.name, Repair.DROP_DUPLICATE)
    else:
        what += ", with another label"
    problem = Problem(copy.name, copy.image_file, what, "see which label is right, and remove the other case")
    return Finding(problem, "duplicate", first.name)


def _contradicted(first: CaseExam, copy: CaseExam, description: DatasetDescription) -> list[str]:
    """Classes that were annotated in both, but not alike; a class of as many voxels in both counts as alike."""
    counts, others = first.counts or {}, copy.counts or {}
    return [
        entry.name
        for entry in description.labels.classes
        if description.is_annotated(first.name, entry.name)
        and description.is_annotated(copy.name, entry.name)
        and any(counts.get(value, 0) != others.get(value, 0) for value in entry.values)
    ]


def _near(first: CaseExam, other: CaseExam, correlation: float) -> Finding:
    what = f"its image is nearly that of case {first.name} (correlation {correlation:.4f})"
    remedy = "if both show one patient, keep them in one fold, or remove one"
    if correlation > SAME:
        remedy = "planning keeps them in one fold; remove one if it is a copy"
    problem = Problem(other.name, other.image_file, what, remedy, severity=Severity.HARMLESS)
    return Finding(problem, "near duplicate", first.name)
