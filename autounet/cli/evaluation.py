"""Verbs where references exist: evaluate and compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from autounet.cli.app import app
from autounet.cli.common import JobsOption
from autounet.cli.common import console_reporter as _reporter
from autounet.errors import some_of
from autounet.progress import Reporter

# Names of cases left out; the files have all.
_MAX_TOLD = 5

_MetricsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        help="Metrics, or overlap, volume, surface, lesions, regions, instances; several may follow.",
        show_default=False,
    ),
]
_ToleranceOption = Annotated[
    float,
    typer.Option("--tolerance-mm", min=0, help="Surfaces this near count as one; pixels, where files tell no mm."),
]
_LesionOption = Annotated[
    float, typer.Option("--lesion-iou", help="IoU from which two components are the same lesion.")
]
_InstancesOption = Annotated[bool, typer.Option("--instances", help="Files hold numbered objects, not classes.")]
_RegionsOption = Annotated[
    str | None,
    typer.Option(
        "--regions-between",
        metavar="CLASS",
        help="Also score the regions between this class, as cells between membranes: V Rand, V info.",
        show_default=False,
    ),
]
_MissingOption = Annotated[
    Literal["error", "ignore"], typer.Option("--missing", help="Files without a partner: refused, or left out.")
]


@app.command("evaluate")
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Folder of reference label files.")],
    prediction: Annotated[Path, typer.Argument(help="Folder of predicted label files of the same names.")],
    metrics: _MetricsOption = None,
    tolerance_mm: _ToleranceOption = 1.0,
    lesion_iou: _LesionOption = 0.1,
    instances: _InstancesOption = False,
    regions_between: _RegionsOption = None,
    missing: _MissingOption = "error",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file.", show_default="PREDICTION/scores.json")
    ] = None,
    jobs: JobsOption = None,
) -> None:
    """Score predictions against references, per case and per class."""
    from autounet import pipeline
    from autounet.console import metrics_table, scores_table

    reporter = _reporter()
    summary, path = pipeline.evaluate(
        reference,
        prediction,
        metrics=metrics or None,
        tolerance_mm=tolerance_mm,
        lesion_iou=lesion_iou,
        instances=instances,
        regions_between=regions_between,
        missing=missing,
        output=output,
        jobs=jobs,
        reporter=reporter,
    )
    _say_left_out(reporter, " for want of a partner", summary.left_out)
    reporter.console.print(scores_table(summary, f"{summary.num_cases} cases"))
    reporter.console.print(metrics_table(summary))
    stem = path.with_suffix("")
    reporter.say(f"Every case and class: {path} and {stem}.csv; means and intervals: {stem}_summary.csv")
    reporter.say(f"Next, to tell chance from progress: autounet compare {prediction} OTHER --reference {reference}")


@app.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of predictions, or their scores.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same cases, predicted otherwise.")],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="Folder of reference label files.", show_default="their scores.json"),
    ] = None,
    metrics: _MetricsOption = None,
    tolerance_mm: _ToleranceOption = 1.0,
    lesion_iou: _LesionOption = 0.1,
    instances: _InstancesOption = False,
    regions_between: _RegionsOption = None,
    missing: _MissingOption = "error",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file to keep it in.", show_default=False)
    ] = None,
    jobs: JobsOption = None,
) -> None:
    """Say whether two sets of predictions differ by more than chance."""
    from autounet import pipeline
    from autounet.console import comparison_table
    from autounet.evaluation.comparison import conclusion, in_words

    reporter = _reporter()
    comparison = pipeline.compare(
        first,
        second,
        reference=reference,
        metrics=metrics or None,
        tolerance_mm=tolerance_mm,
        lesion_iou=lesion_iou,
        instances=instances,
        regions_between=regions_between,
        missing=missing,
        output=output,
        jobs=jobs,
        reporter=reporter,
    )
    reporter.say(f"A is {first}\nB is {second}")
    _say_left_out(reporter, ", in one of them only", comparison.left_out)
    reporter.console.print(comparison_table(comparison))
    for row in comparison.rows:
        if row.class_name == comparison.rows[0].class_name or row.better in ("first", "second"):
            reporter.say(in_words(row))
    reporter.say(conclusion(comparison))
    if output is not None:
        reporter.say(f"Every figure: {output}")
        return
    between = f" --regions-between '{regions_between}'" if regions_between else ""
    options = f"{f' --reference {reference}' if reference else ''}{' --instances' if instances else ''}{between}"
    reporter.say(f"Next, to keep every figure: autounet compare {first} {second}{options} -o comparison.json")


def _say_left_out(reporter: Reporter, why: str, names: Sequence[str]) -> None:
    if names:
        reporter.say(f"Left out{why} ({len(names)}): {some_of(names, _MAX_TOLD)}")
