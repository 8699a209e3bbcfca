"""Images that occur twice, exactly or nearly: the same patient in training and validation flatters every score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.findings import Finding, Repair
from autounet.errors import Problem, Severity

# Correlation of thumbnails: two scans of one patient, or two neighbouring slices, stay below; a copy that was
# rounded, rescaled, smoothed or saved with losses stays above.
_NEAR = 0.995
_ROWS_AT_ONCE = 256  # so that a matrix of tens of thousands of cases stays below 100 MiB


def duplicate_findings(exams: Sequence[CaseExam]) -> list[Finding]:
    """Exact copies by the hash of their voxels, near ones by the correlation of small thumbnails of equal shape."""
    groups: dict[str, list[CaseExam]] = defaultdict(list)
    for exam in exams:
        if exam.image is not None:
            groups[exam.image.digest].append(exam)
    exact = [_exact(group[0], other) for group in groups.values() for other in group[1:]]
    # Of exact copies one stands for all, so that each pair is told once.
    near = [_near(*pair) for pair in _near_pairs([group[0] for group in groups.values()])]
    return exact + near


def _exact(first: CaseExam, copy: CaseExam) -> Finding:
    same_label = first.label_digest == copy.label_digest
    what = f"its image is a copy of case {first.name}'s" + ("" if same_label else ", with another label")
    severity = Severity.REPAIRABLE if same_label else Severity.HOPELESS
    remedy = "--fix leaves it out" if same_label else "see which label is right, and remove the other case"
    problem = Problem(copy.name, copy.image_file, what, remedy, severity=severity)
    return Finding(problem, "duplicate", first.name, Repair.DROP_DUPLICATE if same_label else None)


def _near(first: CaseExam, other: CaseExam, correlation: float) -> Finding:
    what = f"its image is nearly that of case {first.name} (correlation {correlation:.4f})"
    remedy = "if both show one patient, keep them in one fold, or remove one"
    problem = Problem(other.name, other.image_file, what, remedy, severity=Severity.HARMLESS)
    return Finding(problem, "near duplicate", first.name)


def _near_pairs(exams: Sequence[CaseExam]) -> Iterator[tuple[CaseExam, CaseExam, float]]:
    shapes: dict[tuple[int, ...], list[CaseExam]] = defaultdict(list)
    for exam in exams:
        assert exam.image is not None
        if exam.image.thumbnail.any():
            shapes[(*exam.image.shape, len(exam.image.percentiles))].append(exam)
    for alike in shapes.values():
        thumbnails = np.stack([exam.image.thumbnail for exam in alike if exam.image is not None])
        for start in range(0, len(alike), _ROWS_AT_ONCE):
            correlations = thumbnails[start : start + _ROWS_AT_ONCE] @ thumbnails[start:].T
            for row, column in np.argwhere(correlations > _NEAR).tolist():
                if column > row:
                    yield alike[start + row], alike[start + column], float(correlations[row, column])
