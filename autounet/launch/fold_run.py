"""The request for a run: which fold of what, how, and whether it goes on from an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autounet.data.dataset import RawCase
from autounet.data.splits import Split
from autounet.errors import RequestError
from autounet.models.folder import FoldName
from autounet.models.source import StartingPoint
from autounet.plans import Configuration, Plan
from autounet.preprocessing.previous import PreviousStage
from autounet.preprocessing.store import PreparedStore
from autounet.progress import duration
from autounet.training.config import TrainConfig
from autounet.training.replicas import Replicas


@dataclass(frozen=True)
class Extension:
    """By how much a run that had ended is made longer; one of the two.

    Attributes:
        seconds: For a run by the clock, the time of this command.
        epochs: For a run that counts epochs or steps.
    """

    seconds: float | None = None
    epochs: int | None = None

    def of(self, config: TrainConfig) -> TrainConfig:
        """The longer run's configuration.

        Raises:
            RequestError: A run by the clock was to be longer by epochs, or the other way round.
        """
        if config.max_seconds is not None:
            if self.seconds is None:
                raise RequestError(
                    f"the run went by the clock ({duration(config.max_seconds)}): give a time, for example --extend 30m"
                )
            return config.model_copy(update={"max_seconds": config.max_seconds + self.seconds})
        if self.epochs is None:
            raise RequestError(
                f"the run counted epochs ({config.num_epochs} of {config.steps_per_epoch} steps): give a number of "
                "them, for example --extend 50"
            )
        if config.num_steps is not None:
            return config.model_copy(update={"num_steps": config.num_steps + self.epochs * config.steps_per_epoch})
        return config.model_copy(update={"num_epochs": config.num_epochs + self.epochs})


@dataclass(frozen=True)
class FoldRun:
    """All that a run needs.

    Attributes:
        plan: The dataset's plan.
        configuration: As planned.
        fold: Its name.
        split: Training and validation cases.
        cases: The raw cases by name, for the final validation.
        store: The prepared cases.
        config: How to train.
        folder: Of the fold; what an earlier run left there is removed unless this one goes on from it.
        replicas: This process among those that train together, and the device it computes on.
        started: When the command began (`time.perf_counter`); a given time counts from there.
        mode: A `new` run, or one that goes on from the checkpoint in the folder (`resume`), be it to become longer
            (`extend`).
        extension: By how much, in that mode.
        start: Trained weights to start from.
        loggers: Where to log to, besides the table and the picture.
        previous: What the first stage found in the cases, in the second stage of a cascade.
    """

    plan: Plan
    configuration: Configuration
    fold: FoldName
    split: Split
    cases: dict[str, RawCase]
    store: PreparedStore
    config: TrainConfig
    folder: Path
    replicas: Replicas
    started: float
    mode: Literal["new", "resume", "extend"] = "new"
    extension: Extension | None = None
    start: StartingPoint | None = None
    loggers: tuple[str, ...] = ()
    previous: PreviousStage | None = None
