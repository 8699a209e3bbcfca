"""Train a configuration, on one fold or on all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.data.dataset import RawDataset
from autounet.launch.network_plans import PlanPlace, ensure_plan
from autounet.networks.description import RecipeHints
from autounet.pipeline.folders import raw_folder
from autounet.planners import DEFAULT_PLANNER
from autounet.preprocessing.dataset import store_for
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.evaluation.summary import Summary
    from autounet.launch.cross_validation import CrossValidation
    from autounet.launch.diffusion_scores import DiffusionSummary
    from autounet.launch.fold_run import Extension
    from autounet.models.folder import FoldName
    from autounet.plans import Configuration, Plan
    from autounet.training.config import TrainConfig
    from autounet.training.replicas import Replicas


@dataclass(frozen=True)
class Trained:
    """What `train` made.

    Attributes:
        model: The model folder.
        fold: The fold's folder.
        summary: Scores of its validation cases; `None` where the run was asked to end before its time, or where
            nothing is segmented.
        drawing: The loss on them, of a network that draws images.
        cross_validation: Of all folds, where this was the last of them.
    """

    model: Path
    fold: Path
    summary: Summary | None
    drawing: DiffusionSummary | None = None
    cross_validation: CrossValidation | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.summary is not None or self.drawing is not None


@dataclass(frozen=True)
class NetworkRecipe:
    """How a network was trained in its paper.

    Attributes:
        paper: Which.
        hints: As far as it says.
    """

    paper: str
    hints: RecipeHints

    def told(self, config: TrainConfig) -> str | None:
        """A line that tells which of them are used, and what else there is; `None` where none is used."""
        used = [f"{name} {value}" for name, value in self.hints.choices.items() if getattr(config, name) == value]
        ours = "--recipe clock or nnunet takes ours"
        if config.max_seconds is not None:
            ours = "--recipe clock takes ours, which is made for a given time"
        return f"as in {self.paper}: {', '.join(used)} ({ours})" if used else None


@dataclass(frozen=True)
class _Planned:
    """A dataset and the configuration of it that is meant."""

    raw: RawDataset
    preprocessed: Path
    plan: Plan
    configuration: Configuration


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
    extension: Extension | None = None,
    overwrite: bool = False,
    source: Path | None = None,
    loggers: Sequence[str] = (),
    replicas: Replicas | None = None,
    reporter: Reporter = SILENT,
) -> Trained:
    """Train a configuration on a fold and score it on the fold's validation cases.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configuration: `2d`, `3d_fullres`, `3d_lowres` or `3d_cascade_fullres`.
        fold: 0 to 4, or `all` to train on every case.
        config: How to train; nnU-Net's recipe by default.
        planner: Whose plan.
        network: Name in `autounet.networks.NETWORKS`, options behind commas; the planner's own by default. Its plan
            is made if there is none.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        resume: Go on from the last checkpoint, as it was configured then.
        extension: Make a run that had ended longer.
        overwrite: Train anew over what is there.
        source: Weights to start from.
        loggers: Where to log to, besides the table and the picture.
        replicas: This process among those that train together; it has a device already.
        reporter: Shows the progress.

    Raises:
        RequestError: Something that training needs is missing, or would be overwritten.
        RunError: Training failed.
    """
    started = time.perf_counter()
    from autounet.diffusion.options import resolved_objective
    from autounet.launch.cross_validation import cross_validate
    from autounet.launch.fold import train_fold
    from autounet.launch.fold_run import FoldRun
    from autounet.launch.out_of_fold import previous_stage
    from autounet.launch.requirements import (
        all_splits,
        require_free,
        require_prepared,
        require_samples,
        split_of,
    )
    from autounet.launch.task import FoldScores
    from autounet.losses.options import build_loss
    from autounet.models.folder import fold_folder, model_folder
    from autounet.models.source import read_starting_point
    from autounet.training.config import TrainConfig
    from autounet.training.device import choose_device
    from autounet.training.replicas import alone

    config = config or TrainConfig()
    planned = _planned(workspace, dataset, configuration, planner, network, device=device, reporter=reporter)
    start = read_starting_point(source, fold) if source else None
    chosen = start.shape(planned.configuration) if start and network is None else planned.configuration
    resolved_objective(config.objective, chosen.network.name)
    build_loss(config.loss, planned.plan.labels, batch_dice=chosen.batch_dice)
    require_prepared(planned.raw, planned.plan, chosen, planned.preprocessed)
    split = split_of(planned.preprocessed, planned.raw, fold)
    replicas = replicas or alone(choose_device(device))
    require_samples(chosen, replicas.count)
    model = model_folder(workspace, planned.plan, chosen)
    folder = fold_folder(model, fold)
    if replicas.is_main:
        require_free(folder, resume=resume, extend=extension is not None, overwrite=overwrite)
    run = FoldRun(
        plan=planned.plan,
        configuration=chosen,
        fold=fold,
        split=split,
        cases={case.name: case for case in planned.raw.cases},
        store=store_for(planned.preprocessed, planned.plan, chosen),
        config=config,
        folder=folder,
        replicas=replicas,
        started=started,
        mode="extend" if extension else "resume" if resume else "new",
        extension=extension,
        start=start,
        loggers=tuple(loggers),
    )
    splits = all_splits(planned.preprocessed, planned.raw)
    run = replace(run, previous=previous_stage(run, workspace, splits, reporter))
    scores = train_fold(run, reporter) or FoldScores()
    together = cross_validate(model, len(splits)) if scores.summary and fold != "all" else None
    return Trained(model, folder, scores.summary, scores.drawing, together)


def network_recipe(network: str | None) -> NetworkRecipe:
    """How the paper of a network trained; nothing where none was asked for.

    Raises:
        RequestError: There is no such network or option.
    """
    from autounet.networks import NETWORKS
    from autounet.networks.choice import NetworkChoice

    if network is None:
        return NetworkRecipe("", RecipeHints())
    choice = NetworkChoice.of(network)
    kind = NETWORKS.find(choice.name)
    return NetworkRecipe(str(kind.paper or choice.name), kind.recipe)


def folds_to_train(
    workspace: Workspace,
    dataset: str,
    configuration: str,
    *,
    planner: str,
    network: str | None,
    device: str = "auto",
    reporter: Reporter = SILENT,
) -> tuple[Path, list[int]]:
    """The model folder of a configuration, and the folds that are missing there.

    Raises:
        RequestError: There is no such dataset, plan or configuration.
    """
    from autounet.launch.cross_validation import missing_folds
    from autounet.launch.out_of_fold import require_first_stage
    from autounet.launch.requirements import all_splits
    from autounet.models.folder import model_folder

    planned = _planned(workspace, dataset, configuration, planner, network, device=device, reporter=reporter)
    model = model_folder(workspace, planned.plan, planned.configuration)
    splits = all_splits(planned.preprocessed, planned.raw)
    missing = missing_folds(model, len(splits))
    require_first_stage(workspace, planned.plan, planned.configuration, missing, splits)
    return model, missing


def _planned(
    workspace: Workspace,
    dataset: str,
    configuration: str,
    planner: str,
    network: str | None,
    *,
    device: str,
    reporter: Reporter,
) -> _Planned:
    """The dataset, and what was planned for it; the plan for a network is made if there is none.

    Raises:
        RequestError: There is no such dataset, plan or configuration.
    """
    preprocessed = workspace.preprocessed / workspace.find_dataset(dataset)
    raw = RawDataset.load(raw_folder(workspace, dataset))
    place = PlanPlace(preprocessed, planner, dataset)
    plan = ensure_plan(raw, place, network, device=device, reporter=reporter)
    return _Planned(raw, preprocessed, plan, plan.configuration(configuration))
