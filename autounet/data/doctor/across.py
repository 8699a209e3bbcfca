"""Cases compared with the others: intensities, voxel sizes, classes.

An outlier is a case whose robust z-score exceeds 8: its distance from the median of all cases, over 1.4826 times the
median absolute deviation (which estimates the standard deviation, Iglewicz and Hoaglin 1993). They take 3.5 for
normal data; intensities of several scanners are heavy-tailed, and only what is far outside is worth a person's time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autounet.data.appearance import PERCENTILES
from autounet.data.description import DatasetDescription
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.findings import WHOLE_DATASET, Finding
from autounet.errors import Problem, Severity, some_of

MAX_ROBUST_Z = 8.0
# Fewer cases do not tell what is usual.
MIN_CASES = 5
_MAD_TO_STD = 1.4826
# Spread that is granted even where all cases but one are equal, as a share of the cases' own spread, or as a logarithm
# of a factor: exp(8 * 0.05) is a factor of 1.5.
_LEAST_SPREAD = 0.05
# Intensities that differ by less are not far outside, however equal the others are: a shift as a share of the usual
# spread, and a factor of the spread.
_MIN_SHIFT, _MIN_STRETCH = 0.5, 3.0
_MAX_NAMES = 8


def robust_z(values: npt.NDArray[np.float64], least_spread: float) -> npt.NDArray[np.float64]:
    """Distance of each value from the median, in standard deviations as estimated by the median deviation."""
    distance = np.abs(values - np.median(values))
    return np.asarray(distance / max(_MAD_TO_STD * float(np.median(distance)), least_spread))


def outlier_findings(exams: Sequence[CaseExam], description: DatasetDescription) -> list[Finding]:
    """Cases whose voxel size or intensities lie far outside the others'."""
    known = [exam for exam in exams if exam.image is not None and len(exam.image.percentiles)]
    num_channels = description.num_channels
    known = [exam for exam in known if exam.image is not None and len(exam.image.percentiles) == num_channels]
    if len(known) < MIN_CASES:
        return []
    return [*_spacing_outliers(known), *(_intensity_outliers(known, description))]


def class_findings(exams: Sequence[CaseExam], description: DatasetDescription) -> list[Finding]:
    """Classes without a voxel or in one case only, and cases without any class."""
    known = [exam for exam in exams if exam.counts is not None]
    if not known:
        return []
    findings = []
    holders = {
        entry.name: [
            exam.name
            for exam in known
            if exam.counts
            and description.is_annotated(exam.name, entry.name)
            and any(exam.counts.get(value, 0) for value in entry.values)
        ]
        for entry in description.labels.classes
    }
    if not any(holders.values()):
        what = f"none of {len(known)} cases has a voxel of {', '.join(holders)}"
        remedy = "check that the labels were exported, and that dataset.json names their values"
        return [Finding(Problem(WHOLE_DATASET, "labelsTr", what, remedy), "classes")]
    for name, names in holders.items():
        if len(names) > 1 or len(known) == 1:
            continue
        what = f"class {name} is in case {names[0]} only" if names else f"class {name} has no voxel in any case"
        remedy = "it cannot be learned and scored; add cases that show it, or remove it from dataset.json"
        problem = Problem(WHOLE_DATASET, "labelsTr", what, remedy, severity=Severity.HARMLESS)
        findings.append(Finding(problem, "classes", name))
    full = {name for names in holders.values() for name in names}
    bare = [exam.name for exam in known if exam.name not in full]
    if bare:
        what = f"{len(bare)} of {len(known)} cases show no class: {some_of(bare, _MAX_NAMES)}"
        remedy = "good if they are meant as counterexamples; otherwise add their annotation"
        problem = Problem(WHOLE_DATASET, "labelsTr", what, remedy, severity=Severity.HARMLESS)
        findings.append(Finding(problem, "classes", str(len(bare))))
    return findings


def _spacing_outliers(exams: Sequence[CaseExam]) -> list[Finding]:
    spacings = np.array([exam.image.spacing_mm for exam in exams if exam.image is not None])
    findings = []
    # The axis on which a case is furthest off speaks for it.
    z = np.stack([robust_z(np.log(spacings[:, axis]), _LEAST_SPREAD) for axis in range(3)], axis=1)
    for exam, case_z, spacing in zip(exams, z, spacings, strict=True):
        axis = int(case_z.argmax())
        if case_z[axis] <= MAX_ROBUST_Z:
            continue
        usual = float(np.median(spacings[:, axis]))
        value = f"{spacing[axis]:.4g} mm"
        what = f"voxels measure {value} along {'zyx'[axis]}, the others' {usual:.4g} mm (robust z {case_z[axis]:.0f})"
        remedy = "check the header; a spacing of 1 mm is often one that was lost"
        problem = Problem(exam.name, exam.image_file, what, remedy, severity=Severity.HARMLESS)
        findings.append(Finding(problem, "spacing", value))
    return findings


def _intensity_outliers(exams: Sequence[CaseExam], description: DatasetDescription) -> list[Finding]:
    percentiles = np.stack([exam.image.percentiles for exam in exams if exam.image is not None])
    findings = []
    for channel, name in enumerate(description.channel_names):
        medians = percentiles[:, channel, PERCENTILES.index(50)]
        spreads = percentiles[:, channel, -1] - percentiles[:, channel, 0]
        usual_spread = float(np.median(spreads))
        if usual_spread <= 0:
            continue
        # An image of one value has no logarithm of a spread; it is told of elsewhere.
        factors = np.log(np.maximum(spreads, usual_spread * 1e-9))
        shift = np.abs(medians - np.median(medians)) / usual_spread
        stretch = np.abs(factors - np.median(factors))
        z = np.maximum(
            robust_z(medians, _LEAST_SPREAD * usual_spread) * (shift > _MIN_SHIFT),
            robust_z(factors, _LEAST_SPREAD) * (stretch > np.log(_MIN_STRETCH)),
        )
        for index in np.flatnonzero((z > MAX_ROBUST_Z) & (spreads > 0)).tolist():
            low, high = percentiles[index, channel, [0, -1]]
            usual_low, usual_high = np.median(percentiles[:, channel, [0, -1]], axis=0)
            value = f"{low:.4g} to {high:.4g}"
            what = (
                f"channel {channel} ({name}) reaches from {value}, the others' from {usual_low:.4g} to "
                f"{usual_high:.4g} (5th and 95th percentile, robust z {z[index]:.0f})"
            )
            remedy = "look at it: another unit, window, scanner or body part; leave it out if it is none of yours"
            problem = Problem(exams[index].name, exams[index].image_file, what, remedy, severity=Severity.HARMLESS)
            findings.append(Finding(problem, "intensity", value))
    return findings
