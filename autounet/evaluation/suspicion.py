"""Which labels to look at first: cases ranked by how far their disagreement stands out among those of the same class.

Some classes are hard, and a network disagrees with every label of them. What counts is therefore not the disagreement
itself but how unusual it is: its distance from the class's median over all cases, in robust standard deviations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autounet.evaluation.disagreement import Disagreement
from autounet.geometry import Array, Geometry, Triple
from autounet.records import SCHEMA_VERSION, Record, atomic_path

# The median absolute deviation of a normal distribution is its standard deviation divided by this (Rousseeuw and
# Croux, JASA 88, 1993, section 1).
_SIGMA_OF_MAD = 1.4826
# No measure alone decides beyond this many deviations: a depth of 30 and one of 60 are both errors.
_CAP = 10.0
# Scatter below these tells nothing: a tenth of the error, half a voxel, one voxel in twenty.
_LEAST_LOG_ERROR, _LEAST_VOXELS, _LEAST_SHARE = 0.1, 0.5, 0.05
# Dice that differs from 1 by less than this is taken to differ by this much.
_SMALLEST_ERROR = 1e-3
# More than half of a class under another's name is a matter of names, not of edges.
_MOSTLY = 0.5

Kind = Literal["other class", "not in the label", "only in the label", "moved", "too little", "too much"]


class JudgedCase(Record):
    """A case, and what came of comparing its label with a prediction by a network that has not seen it.

    Attributes:
        case: Its name.
        reference: The label's file.
        prediction: The prediction's file.
        fold: That predicted it.
        geometry: Of the label.
        classes: Class name to the disagreement.
    """

    case: str
    reference: str
    prediction: str
    fold: str
    geometry: Geometry
    classes: dict[str, Disagreement]


class Unusual(Record):
    """By how many robust standard deviations a class of a case exceeds the median case, in each measure; 0 to 10.

    Attributes:
        overlap: The logarithm of 1 - Dice.
        depth: Of the deepest disagreement.
        offset: Of the centres.
        confusion: Voxels given to other classes.
    """

    overlap: float
    depth: float
    offset: float
    confusion: float

    @property
    def total(self) -> float:
        """All together."""
        return self.overlap + self.depth + self.offset + self.confusion


class Suspicion(Record):
    """One class of one case.

    Attributes:
        class_name: The class.
        score: How far its disagreement stands out, 0 to 40.
        unusual: The measures that the score is the sum of.
        kind: What it looks like.
        what: The same in words.
        place_mm: The place in world coordinates `(x, y, z)`, RAS+ as in NIfTI.
        disagreement: What was measured.
    """

    class_name: str
    score: float
    unusual: Unusual
    kind: Kind
    what: str
    place_mm: Triple
    disagreement: Disagreement


class Suspect(Record):
    """A case with its suspicions.

    Attributes:
        rank: From 1.
        score: Of its most suspicious class.
        case: Its name, the files compared, and the fold that predicted it.
        classes: Every class that label or prediction show, the most suspicious first.
    """

    rank: int
    score: float
    case: str
    reference: str
    prediction: str
    fold: str
    classes: tuple[Suspicion, ...]

    @property
    def worst(self) -> Suspicion:
        """What to look at first."""
        return self.classes[0]


class Review(Record):
    """The training cases of a dataset, those to look at first ahead.

    Attributes:
        dataset: Its name.
        model: The folder of the networks that judged.
        typical: Class name to its median Dice over the cases.
        suspects: All cases with anything to compare.
        not_judged: Cases that no trained fold can tell of.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    dataset: str
    model: str
    typical: dict[str, float]
    suspects: tuple[Suspect, ...]
    not_judged: tuple[str, ...] = ()


def write_review(review: Review, json_path: Path) -> Path:
    """Write the ranking as JSON, and beside it a CSV file with one row a case and class.

    Returns:
        The CSV file.
    """
    import pandas as pd  # takes half a second

    review.write(json_path)
    csv_path = json_path.with_suffix(".csv")
    with atomic_path(csv_path) as partial:
        pd.DataFrame([row for suspect in review.suspects for row in _rows(suspect)]).to_csv(partial, index=False)
    return csv_path


def _rows(suspect: Suspect) -> Iterator[dict[str, Any]]:
    """A row a class; places and offsets spread over columns."""
    for entry in suspect.classes:
        found = entry.disagreement
        z, y, x = found.place
        right, front, head = entry.place_mm
        yield {
            "rank": suspect.rank,
            "case": suspect.case,
            "fold": suspect.fold,
            "class": entry.class_name,
            "score": round(entry.score, 3),
            "kind": entry.kind,
            "what": entry.what,
            "z": z,
            "y": y,
            "x": x,
            "x_mm": right,
            "y_mm": front,
            "z_mm": head,
            "dice": found.dice,
            "depth_mm": found.depth_mm,
            "volume_mm3": found.volume_mm3,
            "offset_mm": found.distance_mm,
            "confused_share": found.confused_share,
            "confused_with": found.confused_with,
            "num_reference": found.num_reference,
            "num_predicted": found.num_predicted,
            "reference": suspect.reference,
            "prediction": suspect.prediction,
        }


def rank_cases(cases: Sequence[JudgedCase]) -> tuple[Suspect, ...]:
    """Order cases by how unusual the disagreement of their most unusual class is; ties by name.

    Args:
        cases: Measured; those without any class are left out, as there is nothing to disagree about.
    """
    names = list(dict.fromkeys(name for case in cases for name in case.classes))
    scored: dict[str, list[Suspicion]] = {case.case: [] for case in cases}
    for name in names:
        having = [case for case in cases if name in case.classes]
        for case, unusual in zip(having, _unusual(name, having), strict=True):
            scored[case.case].append(_suspicion(case, name, unusual))
    ranked = [(case, sorted(scored[case.case], key=lambda entry: -entry.score)) for case in cases if scored[case.case]]
    ranked.sort(key=lambda entry: (-entry[1][0].score, entry[0].case))
    return tuple(
        Suspect(
            rank=rank,
            score=classes[0].score,
            case=case.case,
            reference=case.reference,
            prediction=case.prediction,
            fold=case.fold,
            classes=tuple(classes),
        )
        for rank, (case, classes) in enumerate(ranked, start=1)
    )


def typical_dice(cases: Sequence[JudgedCase]) -> dict[str, float]:
    """Class name to its median Dice."""
    of_class: dict[str, list[float]] = {}
    for case in cases:
        for name, found in case.classes.items():
            of_class.setdefault(name, []).append(found.dice)
    return {name: float(np.median(values)) for name, values in of_class.items()}


def _unusual(name: str, cases: Sequence[JudgedCase]) -> list[Unusual]:
    """How far each case exceeds the others of a class."""
    found = [case.classes[name] for case in cases]
    least_mm = _LEAST_VOXELS * float(np.median([min(case.geometry.spacing_mm) for case in cases]))
    errors = [max(1 - one.dice, _SMALLEST_ERROR) for one in found]
    overlap = _deviations(np.log(errors), _LEAST_LOG_ERROR)
    depth = _deviations(np.array([one.depth_mm for one in found]), least_mm)
    distances = [np.nan if one.distance_mm is None else one.distance_mm for one in found]
    offset = _deviations(np.array(distances), least_mm)
    # A centre that is not there is as far off as the rest says.
    offset = np.where(np.isnan(offset), (overlap + depth) / 2, offset)
    confused = _deviations(np.array([one.confused_share for one in found]), _LEAST_SHARE)
    return [
        Unusual(overlap=values[0], depth=values[1], offset=values[2], confusion=values[3])
        for values in np.stack([overlap, depth, offset, confused], axis=1).tolist()
    ]


def _deviations(values: Array, least: float) -> Array:
    """Robust standard deviations above the median, at least 0 and at most the cap; NaN stays.

    Args:
        values: `(num_cases,)`, NaN where there is none.
        least: Scatter that is taken for granted.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return values
    median = np.median(known)
    scatter = max(_SIGMA_OF_MAD * float(np.median(np.abs(known - median))), least)
    return np.asarray(np.clip((values - median) / scatter, 0.0, _CAP))


def _suspicion(case: JudgedCase, name: str, unusual: Unusual) -> Suspicion:
    found = case.classes[name]
    kind = _kind(found)
    z, y, x = found.place
    right, front, head = (case.geometry.matrix @ (x, y, z, 1))[:3].tolist()
    return Suspicion(
        class_name=name,
        score=unusual.total,
        unusual=unusual,
        kind=kind,
        what=_in_words(kind, found, case.geometry),
        place_mm=(right, front, head),
        disagreement=found,
    )


def _kind(found: Disagreement) -> Kind:
    """What a disagreement looks like; taken at its word, the prediction being right."""
    if not found.num_reference:
        return "not in the label"
    if not found.num_predicted:
        return "only in the label"
    if found.confused_share > _MOSTLY:
        return "other class"
    assert found.aligned_dice is not None
    # Moving the label mends most of what is wrong with it.
    if 1 - found.aligned_dice < (1 - found.dice) / 2:
        return "moved"
    return "too much" if found.in_label else "too little"


def _in_words(kind: Kind, found: Disagreement, geometry: Geometry) -> str:
    """A sentence of what the label is like, if the prediction is right."""
    flat = geometry.num_spatial_dims == 2
    # A file that tells no size counts a pixel as 1 mm, and one slice as 1 mm thick.
    length, size = ("mm", "mm²" if flat else "mm³") if geometry.tells_spacing else ("pixels",) * 2
    volume = (
        f"{found.volume_mm3 / (geometry.spacing_mm[0] if flat else 1):.0f} {size}, {found.depth_mm:.1f} {length} deep"
    )
    if kind == "other class":
        return f"{found.confused_share:.0%} of it is {found.confused_with} to the other"
    if kind == "moved":
        assert found.offset_mm is not None
        z, y, x = (f"{value:+.1f}" for value in found.offset_mm)
        return f"label off by z {z} y {y} x {x} {length} (else Dice {found.aligned_dice:.2f})"
    if kind == "not in the label":
        return f"label lacks all of it: {volume}"
    if kind == "only in the label":
        return f"label alone shows it: {volume}"
    return f"label {'has too much' if kind == 'too much' else 'lacks'}: {volume}"
