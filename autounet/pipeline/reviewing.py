"""Find the labels to look at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.data.dataset import RawCase, RawDataset
from autounet.errors import RequestError
from autounet.parallel import available_cpus
from autounet.pipeline.folders import raw_folder
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.evaluation.judging import LabelledCase
    from autounet.evaluation.suspicion import Review
    from autounet.launch.held_out import HeldOut

FOLDER = "review"


@dataclass(frozen=True)
class Reviewed:
    """What `review` found.

    Attributes:
        review: The cases, those to look at first ahead.
        training_command: What trains the folds that are missing.
        json_path: The same on disk.
        csv_path: One row a case and class.
        overview: One picture of the first cases; `None` where none was wanted.
        missing_folds: Folds that would tell of cases which nobody judged.
        labels: Where the label files are.
    """

    review: Review
    training_command: str
    json_path: Path
    csv_path: Path
    overview: Path | None
    missing_folds: tuple[int, ...]
    labels: Path


def review(
    workspace: Workspace,
    dataset: str,
    *,
    configuration: str | None = None,
    model: Path | None = None,
    num_pictures: int = 20,
    output: Path | None = None,
    device: str = "auto",
    jobs: int | None = None,
    reporter: Reporter = SILENT,
) -> Reviewed:
    """Rank training cases by how strongly networks that have not seen them disagree with their labels.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configuration: Of the model that judges; the only trained one by default.
        model: Its folder, instead.
        num_pictures: How many cases to draw.
        output: Folder for the ranking and the pictures; `review` in the model folder by default.
        device: Where to predict what is missing.
        jobs: Worker processes; one a processor by default.
        reporter: Shows the progress.

    Returns:
        The ranking, and where it was written.

    Raises:
        RequestError: No model, or none that holds cases out; or other labels than it was trained with.
        DataError: Labels and predictions that do not fit.
    """
    from autounet.evaluation.judging import judge_cases
    from autounet.evaluation.suspicion import Review, rank_cases, typical_dice, write_review
    from autounet.launch.held_out import find_held_out
    from autounet.launch.requirements import all_splits
    from autounet.launch.unseen import predict_unseen
    from autounet.models.folder import find_model
    from autounet.report.review import write_pictures
    from autounet.training.device import choose_device

    name = workspace.find_dataset(dataset)
    raw = RawDataset.load(raw_folder(workspace, dataset))
    cases = {case.name: case for case in raw.cases}
    splits = all_splits(workspace.preprocessed / name, raw)
    folder = model or find_model(workspace, name, configuration)
    held_out = find_held_out(folder, splits, sorted(cases))
    _require_same_labels(held_out, raw)
    predict_unseen(held_out.unpredicted(cases), device=choose_device(device), reporter=reporter)
    judged = judge_cases(_pairs(held_out, cases), name, jobs=jobs or available_cpus(), reporter=reporter)
    result = Review(
        dataset=name,
        model=str(folder),
        typical=typical_dice(judged),
        suspects=rank_cases(judged),
        not_judged=held_out.untold,
    )
    target = output or folder / FOLDER
    csv_path = write_review(result, target / "review.json")
    shown = min(num_pictures, len(result.suspects))
    pictures = write_pictures(target, result, cases, held_out.plan.labels, len(held_out.plan.channels), shown)
    drawn = list(reporter.track(pictures, "draw", shown + 1)) if shown else []
    return Reviewed(
        review=result,
        training_command=held_out.training_command,
        json_path=target / "review.json",
        csv_path=csv_path,
        overview=drawn[-1] if drawn else None,
        missing_folds=held_out.missing_folds,
        labels=raw.folder / "labelsTr",
    )


def _pairs(held_out: HeldOut, cases: Mapping[str, RawCase]) -> list[LabelledCase]:
    """Labels beside predictions of them."""
    from autounet.evaluation.judging import LabelledCase

    return [
        LabelledCase(name, label, mask, str(held_out.found.fold_of[name]), held_out.plan.labels, cases[name].annotated)
        for name, mask in held_out.masks.items()
        if (label := cases[name].label) is not None
    ]


def _require_same_labels(held_out: HeldOut, raw: RawDataset) -> None:
    """The model must have been trained with the labels that the dataset has now.

    Raises:
        RequestError: It was trained with others.
    """
    theirs, ours = held_out.plan.labels, raw.description.labels
    if theirs != ours:
        raise RequestError(
            f"{held_out.found.model} was trained with other labels ({', '.join(theirs.class_names)}) than those of "
            f"{raw.folder / 'dataset.json'} ({', '.join(ours.class_names)}). Train it anew, or name another with "
            "--model."
        )
