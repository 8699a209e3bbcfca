"""Predict a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.data.dataset import find_cases
from autounet.data.description import write_dataset_json
from autounet.data.io import label_ending
from autounet.errors import DataError
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace


@dataclass(frozen=True)
class Predicted:
    """What `predict` did.

    Attributes:
        model: Used.
        written: Cases predicted now.
        skipped: Cases that lay finished.
    """

    model: Path
    written: tuple[str, ...]
    skipped: tuple[str, ...]


def predict(
    workspace: Workspace,
    images: Path,
    output: Path,
    *,
    dataset: str | None = None,
    configuration: str | None = None,
    model: Path | None = None,
    folds: Sequence[str] | None = None,
    mirror: bool = True,
    overwrite: bool = False,
    device: str = "auto",
    reporter: Reporter = SILENT,
) -> Predicted:
    """Predict every case of a folder.

    Args:
        workspace: Where trained models are.
        images: Folder of images, named as in `imagesTr`.
        output: Folder for the masks; `CASE` plus the images' ending.
        dataset: Whose model; by default the only one of the workspace.
        configuration: Which of its models.
        model: A model folder, or one fold's folder in it, instead of both.
        folds: Which folds to average; all that are finished by default.
        mirror: Average over mirror images, as far as training mirrored.
        overwrite: Predict cases again whose mask is there.
        device: Where to predict.
        reporter: Shows the progress.

    Raises:
        RequestError: The model or the images are not as they must be.
        DataError: Some cases cannot be read or do not fit the model; all others were predicted.
    """
    from autounet.inference.cases import predict_cases
    from autounet.inference.predictor import Predictor
    from autounet.models.folder import find_model, model_and_folds
    from autounet.training.device import choose_device

    if model is None:
        found = find_model(workspace, dataset and workspace.find_dataset(dataset), configuration)
    else:
        found, its_folds = model_and_folds(model)
        folds = folds or its_folds
    predictor = Predictor.load(found, folds=folds, device=choose_device(device), mirror=mirror)
    plan = predictor.plan
    cases = find_cases(images, plan.file_ending, len(plan.channels))
    ending = label_ending(plan.file_ending)
    done = {case.name for case in cases if not overwrite and (output / f"{case.name}{ending}").exists()}
    waiting = [case for case in cases if case.name not in done]
    reporter.say(
        f"{found}: {len(predictor.networks)} fold{'s' * (len(predictor.networks) > 1)}, "
        f"{len(waiting)} cases to predict, {len(done)} already in {output}"
    )
    write_dataset_json(
        output,
        labels=plan.labels,
        channel_names=[channel.name for channel in plan.channels],
        file_ending=plan.file_ending,
    )
    problems = predict_cases(predictor, waiting, output, reporter)
    if problems:
        raise DataError(f"{images} (the other {len(waiting) - len(problems)} cases were predicted)", problems)
    return Predicted(model=found, written=tuple(case.name for case in waiting), skipped=tuple(sorted(done)))
