"""What a run trains its network for: the objective, and how the fold is scored on the way and at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from autounet.evaluation.summary import Summary
from autounet.inference.predictor import Predictor
from autounet.launch.diffusion_scores import DiffusionSummary
from autounet.launch.fold_run import FoldRun
from autounet.launch.validation import HandfulValidation, ValidationPlan, plan_validation, validate_fold
from autounet.losses.deep_supervision import DeepSupervision
from autounet.losses.label_maps import LabelMaps
from autounet.losses.options import build_loss
from autounet.models.folder import ModelRecord
from autounet.networks.base import SegmentationNetwork
from autounet.progress import Reporter
from autounet.training.objective import Objective, SegmentationObjective
from autounet.training.precision import Precision
from autounet.training.trainer import Validation


@dataclass(frozen=True)
class FoldScores:
    """What came of a fold; one of the two.

    Attributes:
        summary: Of a network that segments.
        drawing: Of one that draws images.
    """

    summary: Summary | None = None
    drawing: DiffusionSummary | None = None

    @property
    def of_record(self) -> dict[str, Any]:
        """What the model's record tells of it, by its fields."""
        if self.drawing is not None:
            return {"validation_loss": self.drawing.loss}
        assert self.summary is not None
        class_dice = {name: mean.dice for name, mean in self.summary.class_means.items()}
        return {"validation_dice": self.summary.foreground_dice, "class_dice": class_dice}


class Task(Protocol):
    """What a network is trained for.

    Attributes:
        objective: What is minimised.
        label_maps: What the objective needs of label maps.
        class_names: Of what is scored on the way.
        validation: What will be scored, and what that costs.
    """

    objective: Objective
    label_maps: LabelMaps | None
    class_names: tuple[str, ...]
    validation: ValidationPlan

    def score_some(self, network: SegmentationNetwork, epoch: int) -> Validation:
        """Score the network on the way."""

    def score_all(self, reporter: Reporter) -> FoldScores:
        """Score the trained network, and write what came of it into the fold."""


class SegmentationTask:
    """Label maps, scored by Dice on whole cases.

    Args:
        run: Of the fold.
        record: What is trained.
        network: To be trained.
        precision: What it computes in.
    """

    objective: Objective

    def __init__(self, run: FoldRun, record: ModelRecord, network: SegmentationNetwork, precision: Precision) -> None:
        config, labels = record.config, record.plan.labels
        self._run, self._network = run, network
        self._predictor = Predictor.of(record, (network,), device=run.replicas.device, precision=precision)
        self.validation = plan_validation(run.split.validation, run.store, self._predictor, config.max_seconds)
        loss = build_loss(config.loss, labels, batch_dice=record.configuration.batch_dice)
        self.label_maps = loss.label_maps(record.configuration.spacing_mm)
        self.class_names = labels.class_names
        network.deep_supervision = config.deep_supervision
        weights = network.output_weights if config.deep_supervision else None
        strides = network.output_strides if config.deep_supervision else network.output_strides[:1]
        self.objective = SegmentationObjective(DeepSupervision(loss, strides, weights), precision, run.replicas)
        self.score_some = HandfulValidation(
            run.split, run.store, self._predictor, self.validation.num_on_the_way, run.previous
        )

    def score_all(self, reporter: Reporter) -> FoldScores:
        """Predict the validation cases from their raw files."""
        self._network.deep_supervision = False
        cases = [self._run.cases[name] for name in self.validation.final_cases]
        folder = self._run.folder / "validation"
        return FoldScores(summary=validate_fold(self._predictor, cases, folder, reporter, self._run.previous))
