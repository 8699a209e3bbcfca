"""Train a configuration."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.data.dataset import RawDataset
from autounet.launch.plan_files import read_plan
from autounet.pipeline.folders import raw_folder
from autounet.planners import DEFAULT_PLANNER
from autounet.preprocessing.dataset import store_for
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.evaluation.summary import Summary
    from autounet.models.folder import FoldName
    from autounet.training.config import TrainConfig


@dataclass(frozen=True)
class Trained:
    """What `train` made: the model folder, the fold's folder, and the scores of its validation cases."""

    model: Path
    fold: Path
    summary: Summary


def train(
    workspace: Workspace,
    dataset: str,
    configuration: str,
    fold: FoldName,
    *,
    config: TrainConfig | None = None,
    planner: str = DEFAULT_PLANNER,
    network: str | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> Trained:
    """Train a configuration on a fold and score it on the fold's validation cases.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configuration: `2d` or `3d_fullres`.
        fold: 0 to 4, or `all` to train on every case.
        config: How to train; nnU-Net's recipe by default.
        planner: Whose plan.
        network: Name in `autounet.networks.NETWORKS`; the plan's by default.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        resume: Go on from the last checkpoint, as it was configured then.
        overwrite: Train anew over what is there.
        reporter: Shows the progress.

    Raises:
        RequestError: Something that training needs is missing, or would be overwritten.
        RunError: Training failed.
    """
    started = time.perf_counter()
    from autounet.launch.fold import FoldRun, train_fold
    from autounet.launch.requirements import require_free, require_one_stage, require_prepared, split_of, with_network
    from autounet.losses import LOSSES
    from autounet.models.folder import fold_folder, model_folder
    from autounet.training.config import TrainConfig
    from autounet.training.device import choose_device

    config = config or TrainConfig()
    name = workspace.find_dataset(dataset)
    preprocessed = workspace.preprocessed / name
    plan = read_plan(preprocessed, planner, dataset)
    chosen = with_network(plan.configuration(configuration), network)
    require_one_stage(chosen)
    LOSSES.find(config.loss)
    raw = RawDataset.load(raw_folder(workspace, dataset))
    require_prepared(raw, plan, chosen, preprocessed)
    split = split_of(preprocessed, raw, fold)
    model = model_folder(workspace, plan, chosen)
    folder = fold_folder(model, fold)
    require_free(folder, resume=resume, overwrite=overwrite)
    run = FoldRun(
        plan=plan,
        configuration=chosen,
        fold=fold,
        split=split,
        cases={case.name: case for case in raw.cases},
        store=store_for(preprocessed, plan, chosen),
        config=config,
        folder=folder,
        device=choose_device(device),
        resume=resume,
        started=started,
    )
    return Trained(model=model, fold=folder, summary=train_fold(run, reporter))
