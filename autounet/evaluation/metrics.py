"""The metrics there are, and which of them to measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field, model_validator

from autounet.errors import RequestError
from autounet.records import Record, nearest


class Family(StrEnum):
    """What is measured together, at the cost of one."""

    OVERLAP = "overlap"
    VOLUME = "volume"
    SURFACE = "surface"
    LESIONS = "lesions"
    REGIONS = "regions"
    INSTANCES = "instances"


class Better(StrEnum):
    """Which of two values is the better one."""

    HIGHER = "higher"
    LOWER = "lower"
    ZERO = "nearest to zero"
    NEITHER = "neither"  # it describes the case, not the prediction


@dataclass(frozen=True)
class Metric:
    """One figure of a class in a case (docs/reference/metrics.md has the formulas).

    Attributes:
        title: In tables.
        family: What it is measured with.
        better: Which of two values is the better one.
    """

    title: str
    family: Family
    better: Better = Better.HIGHER


Values = dict[str, float | None]
"""Of metrics, by name; `None` where a metric has none, because there is nothing to measure."""

IOU_PERCENT = tuple(range(50, 100, 5))
"""IoU at which objects count as found, 0.5 to 0.95 in steps of 0.05 as for COCO (Lin et al. 2014)."""

METRICS: Mapping[str, Metric] = {
    "dice": Metric("Dice", Family.OVERLAP),
    "iou": Metric("IoU", Family.OVERLAP),
    "precision": Metric("precision", Family.OVERLAP),
    "recall": Metric("recall", Family.OVERLAP),
    "volume_error_ml": Metric("volume error (ml)", Family.VOLUME, Better.ZERO),
    "volume_error_relative": Metric("volume error (share)", Family.VOLUME, Better.ZERO),
    "hd95_mm": Metric("HD95 (mm)", Family.SURFACE, Better.LOWER),
    "assd_mm": Metric("ASSD (mm)", Family.SURFACE, Better.LOWER),
    "surface_dice": Metric("surface Dice", Family.SURFACE),
    "boundary_f1": Metric("boundary F1", Family.SURFACE),
    "lesion_f1": Metric("lesion F1", Family.LESIONS),
    "lesion_precision": Metric("lesion precision", Family.LESIONS),
    "lesion_recall": Metric("lesion recall", Family.LESIONS),
    "lesions_found": Metric("lesions found", Family.LESIONS),
    "lesions_missed": Metric("lesions missed", Family.LESIONS, Better.LOWER),
    "lesions_spurious": Metric("lesions spurious", Family.LESIONS, Better.LOWER),
    "v_rand": Metric("V Rand", Family.REGIONS),
    "v_rand_split": Metric("V Rand, splits", Family.REGIONS),
    "v_rand_merge": Metric("V Rand, mergers", Family.REGIONS),
    "v_info": Metric("V info", Family.REGIONS),
    "v_info_split": Metric("V info, splits", Family.REGIONS),
    "v_info_merge": Metric("V info, mergers", Family.REGIONS),
    "ap": Metric("AP 0.5:0.95", Family.INSTANCES),
    **{f"ap_{percent}": Metric(f"AP {percent / 100:g}", Family.INSTANCES) for percent in IOU_PERCENT},
    "f1_50": Metric("F1 at 0.5", Family.INSTANCES),
    "aji": Metric("AJI", Family.INSTANCES),
    "objects_reference": Metric("objects, reference", Family.INSTANCES, Better.NEITHER),
    "objects_predicted": Metric("objects, predicted", Family.INSTANCES, Better.NEITHER),
    "count_error": Metric("count error", Family.INSTANCES, Better.ZERO),
}

OF_CLASSES = (Family.OVERLAP, Family.VOLUME, Family.SURFACE, Family.LESIONS)
OF_REGIONS = (*OF_CLASSES, Family.REGIONS)
OF_INSTANCES = (Family.OVERLAP, Family.INSTANCES)

_OPTIONS: Mapping[Family, str] = {
    Family.INSTANCES: "of objects: add --instances",
    Family.REGIONS: "of regions: say what separates them with --regions-between CLASS",
}


class MetricChoice(Record):
    """What to measure, and how.

    Attributes:
        names: Of `METRICS`. Those of overlap are there in any case, for they cost nothing.
        tolerance_mm: Distance up to which two surfaces count as one, in `surface_dice` and `boundary_f1`.
        lesion_iou: Intersection over union from which two components count as one lesion. By default that of Saha et
            al. 2024, "Artificial intelligence and radiologists in prostate cancer detection on MRI (PI-CAI)", Lancet
            Oncology 25: lesions are small, and their outlines disagree.
        regions_between: The class that separates the regions of `v_rand` and `v_info`, or `background`, for what
            connects within each class; `None` where they are not measured.
    """

    names: tuple[str, ...]
    tolerance_mm: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    lesion_iou: float = Field(default=0.1, gt=0, le=1)
    regions_between: str | None = None

    @model_validator(mode="after")
    def _boundary_known(self) -> MetricChoice:
        if self.regions_between is None and Family.REGIONS in self.families:
            raise ValueError("metrics of regions need the class between them, 'regions_between'")
        return self

    @property
    def families(self) -> tuple[Family, ...]:
        """Whatever must be measured, overlap apart."""
        wanted = {METRICS[name].family for name in self.names}
        return tuple(family for family in Family if family in wanted and family is not Family.OVERLAP)


OVERLAP_ALONE = MetricChoice(names=())


def metric_names(asked: Sequence[str] | None, families: Iterable[Family] = OF_CLASSES) -> tuple[str, ...]:
    """The metrics that were asked for, in the order of `METRICS`.

    Args:
        asked: Names of metrics or of families; `None` for all of the families.
        families: What can be measured: those of classes, of these and regions, or of instances.

    Raises:
        RequestError: A name is unknown, or cannot be measured here.
    """
    known = [name for name, metric in METRICS.items() if metric.family in families]
    if asked is None:
        return tuple(known)
    wanted = set()
    for word in asked:
        named = [name for name in known if word in (name, METRICS[name].family)]
        if not named:
            raise RequestError(_unknown(word, known, families))
        wanted.update(named)
    return tuple(name for name in known if name in wanted)


def _unknown(word: str, known: list[str], families: Iterable[Family]) -> str:
    choices = [*families, *known]
    if word in METRICS or word in list(Family):
        family = METRICS[word].family if word in METRICS else Family(word)
        kind = _OPTIONS.get(family, "of classes: leave out --instances")
        return f"'{word}' is a metric that cannot be measured here; it is one {kind}. There are {', '.join(choices)}."
    return f"unknown metric '{word}'.{nearest(word, choices)} There are {', '.join(choices)}."
