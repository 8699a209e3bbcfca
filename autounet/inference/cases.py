"""Many cases, one after another: read, predict, write; a case that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autounet.data.dataset import RawCase
from autounet.data.io import label_ending, read_image, write_label
from autounet.errors import Problem, RequestError
from autounet.inference.predictor import Predictor
from autounet.progress import SILENT, Reporter


def predict_cases(
    predictor: Predictor, cases: Sequence[RawCase], output: Path, reporter: Reporter = SILENT
) -> list[Problem]:
    """Predict cases into a folder; each mask appears whole or not at all.

    Args:
        predictor: The model.
        cases: What to predict.
        output: Folder for the masks, `CASE` plus the ending of the model's labels.
        reporter: Shows the progress.

    Returns:
        The cases that could not be predicted, and why.
    """
    output.mkdir(parents=True, exist_ok=True)
    problems = []
    for case in reporter.track(cases, "predict", len(cases)):
        try:
            image = read_image(case.images, len(predictor.plan.channels))
            label = predictor.predict(image)
        except RequestError as error:
            remedy = "mend or replace the file, then run the same command again"
            problems.append(Problem(case.name, case.images[0].name, str(error), remedy))
            continue
        write_label(output / f"{case.name}{label_ending(predictor.plan.file_ending)}", label, image.geometry)
    return problems
