"""Channels that were stored in another order than in the other cases, by their intensities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autounet.data.channel_order import OtherOrder, UsualChannels
from autounet.data.description import DatasetDescription
from autounet.data.doctor.across import MIN_CASES
from autounet.data.doctor.case import CaseExam
from autounet.data.doctor.findings import Finding, Repair
from autounet.errors import Problem, Severity


def channel_order_findings(exams: Sequence[CaseExam], description: DatasetDescription) -> list[Finding]:
    """Cases whose channels look like the other cases' in another order."""
    num_channels = description.num_channels
    known = [
        (exam, exam.image.percentiles)
        for exam in exams
        if exam.image is not None and len(exam.image.percentiles) == num_channels
    ]
    if num_channels < 2 or len(known) < MIN_CASES:
        return []
    usual = UsualChannels.of(np.stack([percentiles for _, percentiles in known]))
    found = [(exam, usual.better_order(percentiles)) for exam, percentiles in known]
    return [_finding(exam, other, description) for exam, other in found if other is not None]


def _finding(exam: CaseExam, other: OtherOrder, description: DatasetDescription) -> Finding:
    names = [f"{stored} ({description.channel_names[place]})" for place, stored in enumerate(other.order)]
    value = ", ".join(map(str, other.order))
    what = (
        f"its channels look stored in another order: by intensity they would be {', '.join(names)} "
        f"(misfit {other.misfit:.1f} as stored, {other.misfit_then:.1f} so)"
    )
    remedy = "look at it; --fix --suspected puts them in the others' order"
    problem = Problem(exam.name, exam.image_file, what, remedy, severity=Severity.REPAIRABLE)
    return Finding(problem, "channel order", value, Repair.REORDER_CHANNELS, other.order)
