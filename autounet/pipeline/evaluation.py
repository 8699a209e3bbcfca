"""Score folders of predictions, and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autounet.errors import RequestError
from autounet.parallel import available_cpus
from autounet.progress import SILENT, Reporter

if TYPE_CHECKING:
    from autounet.evaluation.comparison import Comparison
    from autounet.evaluation.metrics import MetricChoice
    from autounet.evaluation.summary import Summary

# Few questions find more than many: each has one chance in twenty to be answered by chance alone.
_COMPARED = ("dice", "hd95_mm", "surface_dice", "lesion_f1")
_COMPARED_OF_REGIONS = ("v_rand", "v_info")
_COMPARED_OF_OBJECTS = ("dice", "ap", "aji", "count_error")


def evaluate(
    reference: Path,
    prediction: Path,
    *,
    metrics: Sequence[str] | None = None,
    tolerance_mm: float = 1.0,
    lesion_iou: float = 0.1,
    instances: bool = False,
    regions_between: str | None = None,
    missing: Literal["error", "ignore"] = "error",
    output: Path | None = None,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> tuple[Summary, Path]:
    """Score a folder of predictions against a folder of references.

    Args:
        reference: Folder of label files.
        prediction: Folder of predicted label files of the same names.
        metrics: Names of metrics or of their families (`autounet.evaluation.metrics`); all by default.
        tolerance_mm: Distance up to which two surfaces count as one.
        lesion_iou: Intersection over union from which two components count as one lesion.
        instances: The files hold numbers of objects, not classes.
        regions_between: Also score the regions that this class separates, as membranes do; `background` for those
            that the classes themselves consist of.
        missing: Refuse files without a partner, or leave them out and name them in the scores.
        output: JSON file for the scores; `scores.json` in the prediction folder by default. CSVs go beside it.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Returns:
        The scores, and the JSON file they were written to.

    Raises:
        RequestError: A metric is unknown.
        DataError: The folders do not match.
    """
    from autounet.evaluation.folders import evaluate_folders
    from autounet.evaluation.summary import write_summary

    path = output or prediction / "scores.json"
    choice = _choice(metrics, tolerance_mm, lesion_iou, instances, regions_between)
    summary = evaluate_folders(
        reference,
        prediction,
        choice=choice,
        objects=instances,
        missing=missing,
        jobs=jobs or available_cpus(),
        reporter=reporter,
    )
    write_summary(summary, path)
    return summary, path


def compare(
    first: Path,
    second: Path,
    *,
    reference: Path | None = None,
    metrics: Sequence[str] | None = None,
    tolerance_mm: float = 1.0,
    lesion_iou: float = 0.1,
    instances: bool = False,
    regions_between: str | None = None,
    missing: Literal["error", "ignore"] = "error",
    output: Path | None = None,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Comparison:
    """Find out whether two sets of predictions of the same cases differ by more than chance.

    Args:
        first: Folder of predictions, or the `scores.json` that `evaluate` wrote of them.
        second: Likewise.
        reference: Folder of label files to score both folders against; without it, their `scores.json` is taken.
        metrics: Names of metrics or families; by default a few that stand for all.
        tolerance_mm: With `reference`, as in `evaluate`.
        lesion_iou: Likewise.
        instances: Likewise.
        regions_between: Likewise.
        missing: Refuse cases that only one has, or leave them out.
        output: JSON file for the comparison, if it is to be kept.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Raises:
        RequestError: There are no scores, or not of these metrics.
        DataError: The cases or their references do not match.
    """
    from autounet.evaluation.comparison import compare_summaries, measured_metrics
    from autounet.evaluation.folders import evaluate_folders
    from autounet.evaluation.metrics import Family, metric_names
    from autounet.evaluation.summary import Summary

    if output is not None and output.suffix != ".json":
        raise RequestError(f"the comparison is written to a .json file, got {output}. Choose a name such as diff.json.")
    if reference is None:
        summaries = [Summary.read(_scores_file(path)) for path in (first, second)]
        measured = [name for name in measured_metrics(summaries[0]) if name in measured_metrics(summaries[1])]
        usual = [name for name in (*_COMPARED, *_COMPARED_OF_REGIONS, *_COMPARED_OF_OBJECTS[1:]) if name in measured]
        names = metric_names(usual if metrics is None else metrics, Family)
    else:
        of_classes = _COMPARED if regions_between is None else (*_COMPARED, *_COMPARED_OF_REGIONS)
        usual = list(_COMPARED_OF_OBJECTS if instances else of_classes)
        choice = _choice(usual if metrics is None else metrics, tolerance_mm, lesion_iou, instances, regions_between)
        names = choice.names
        summaries = [
            evaluate_folders(
                reference,
                path,
                choice=choice,
                objects=instances,
                missing=missing,
                jobs=jobs or available_cpus(),
                reporter=reporter,
            )
            for path in (first, second)
        ]
    comparison = compare_summaries(summaries[0], summaries[1], names, names=(str(first), str(second)), missing=missing)
    if output is not None:
        comparison.write(output)
    return comparison


def _choice(
    metrics: Sequence[str] | None,
    tolerance_mm: float,
    lesion_iou: float,
    instances: bool,
    regions_between: str | None,
) -> MetricChoice:
    from autounet.evaluation.metrics import OF_CLASSES, OF_INSTANCES, OF_REGIONS, Family, MetricChoice, metric_names

    if instances and regions_between is not None:
        raise RequestError(
            "--instances and --regions-between exclude each other: numbered objects have no class between"
        )
    families = OF_INSTANCES if instances else OF_CLASSES if regions_between is None else OF_REGIONS
    names = metric_names(metrics, families)
    if regions_between is not None and not set(names) & set(metric_names([Family.REGIONS], families)):
        names = metric_names([*names, Family.REGIONS], families)
    choice = {
        "names": names,
        "tolerance_mm": tolerance_mm,
        "lesion_iou": lesion_iou,
        "regions_between": regions_between,
    }
    return MetricChoice.parse(choice, "the choice of metrics")


def _scores_file(path: Path) -> Path:
    """The scores of a folder of predictions, or the file itself.

    Raises:
        RequestError: There are none.
    """
    if path.suffix == ".json":
        return path
    if not path.is_dir():
        raise RequestError(f"{path} does not exist. Name a folder of predictions, or a scores.json.")
    file = path / "scores.json"
    if not file.is_file():
        raise RequestError(
            f"{path} holds no scores.json. Add --reference FOLDER to score it here, or run autounet evaluate first."
        )
    return file
