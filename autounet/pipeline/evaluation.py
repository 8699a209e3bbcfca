"""Score a folder of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autounet.parallel import available_cpus
from autounet.progress import SILENT, Reporter

if TYPE_CHECKING:
    from autounet.evaluation.summary import Summary


def evaluate(
    reference: Path,
    prediction: Path,
    *,
    output: Path | None = None,
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> tuple[Summary, Path]:
    """Score a folder of predictions against a folder of references.

    Args:
        reference: Folder of label files.
        prediction: Folder of predicted label files of the same names.
        output: JSON file for the scores; `scores.json` in the prediction folder by default. A CSV goes beside it.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Returns:
        The scores, and the JSON file they were written to.

    Raises:
        DataError: The folders do not match.
    """
    from autounet.evaluation.folders import evaluate_folders
    from autounet.evaluation.summary import write_summary

    summary = evaluate_folders(reference, prediction, jobs=jobs or available_cpus(), reporter=reporter)
    path = output or prediction / "scores.json"
    write_summary(summary, path)
    return summary, path
