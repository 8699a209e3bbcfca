"""The whole pipeline on a small dataset that is generated on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.errors import RequestError
from autounet.pipeline import evaluate, plan_and_preprocess, predict, train
from autounet.progress import SILENT, Reporter, duration
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.evaluation.summary import Summary

DEMO_DATASET = "Dataset900_Phantoms"
DEMO_SECONDS = 150.0


@dataclass(frozen=True)
class Demonstrated:
    """What `demo` made: the scores on cases that it did not train on, and where masks and pictures are."""

    summary: Summary
    masks: Path
    overlays: Path


def demo(folder: Path, *, max_seconds: float = DEMO_SECONDS, reporter: Reporter = SILENT) -> Demonstrated:
    """Run the whole pipeline on a small dataset that is generated on the spot.

    Args:
        folder: Workspace of its own; what an earlier demo left there is replaced.
        max_seconds: Time for training.
        reporter: Shows the progress.

    Raises:
        RequestError: The folder holds something else.
    """
    from autounet.data.phantoms import write_phantom_dataset
    from autounet.report.folders import draw_overlays
    from autounet.training.config import TrainConfig

    workspace = Workspace.at(folder)
    raw = workspace.raw / DEMO_DATASET
    if folder.exists() and any(folder.iterdir()) and not raw.exists():
        raise RequestError(f"{folder} is not empty and holds no demo. Name another folder with --folder.")
    reporter.say(f"1/5 generating phantoms in {raw}")
    write_phantom_dataset(raw)
    reporter.say("2/5 planning and preprocessing")
    plan_and_preprocess(workspace, DEMO_DATASET, configurations=["3d_fullres"], reporter=reporter)
    reporter.say(f"3/5 training for {duration(max_seconds)}")
    config = TrainConfig.for_clock(max_seconds)
    train(workspace, DEMO_DATASET, "3d_fullres", 0, config=config, overwrite=True, reporter=reporter)
    reporter.say("4/5 predicting cases that were not trained on")
    images, masks = raw / "imagesTs", folder / "predictions"
    predict(workspace, images, masks, dataset=DEMO_DATASET, overwrite=True, reporter=reporter)
    reporter.say("5/5 scoring and drawing them")
    summary, _ = evaluate(raw / "labelsTs", masks, reporter=reporter)
    overlays = folder / "overlays"
    draw_overlays(overlays, images, masks, raw / "labelsTs", reporter=reporter)
    return Demonstrated(summary=summary, masks=masks, overlays=overlays)
