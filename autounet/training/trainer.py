"""The training loop. It owns steps, the clock, the schedule and checkpoints, and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from autounet.errors import RequestError, RunError
from autounet.evaluation.summary import mean_of_known
from autounet.networks.blocks import SegmentationNetwork
from autounet.progress import SILENT, Reporter, duration
from autounet.training.averaging import WeightAverage
from autounet.training.checkpoint import (
    TrainingState,
    flatten_optimizer,
    load_tensors,
    prefixed,
    restore_optimizer,
    save_tensors,
    without_prefix,
)
from autounet.training.config import TrainConfig
from autounet.training.log import LogRow, TrainingLog
from autounet.training.muon import Muon
from autounet.training.objective import Objective
from autounet.training.sampling import BatchStream, PatchBatch, PatchSampler
from autounet.training.schedule import learning_rate

# So many steps in a row without a finite loss cannot be chance.
_MAX_SKIPPED_IN_A_ROW = 20
# Validation on the way may take this share of the time, and comes at least so often over a timed run.
_VALIDATION_SHARE = 0.04
_VALIDATIONS_A_TIMED_RUN = 20
_LOSS_SMOOTHING = 0.95


@dataclass(frozen=True)
class Validation:
    """Scores of a handful of whole validation cases, on the way.

    Attributes:
        class_dice: Mean Dice of each class, `None` where no case has it.
        num_cases: Cases predicted.
    """

    class_dice: tuple[float | None, ...]
    num_cases: int

    @property
    def mean_dice(self) -> float | None:
        """Mean over the classes that occur."""
        return mean_of_known(self.class_dice)


@dataclass(frozen=True)
class PatchStage:
    """Training up to a point of the run with one size of patch."""

    end: float
    sampler: PatchSampler


class Trainer:
    """Trains a network until its steps or its time are used up.

    Args:
        network: To be trained, on its device.
        objective: Loss of a batch.
        stages: Patch sizes over the run; the last one ends at 1.
        config: All choices.
        total_seconds: Time for training, or `None` to count steps.
        validate: Scores the network on whole cases; the argument is the number of validations so far.
        folder: Where the checkpoint and the log go.
        num_workers: Processes that make batches; 0 for a thread.
        scale_loss: Keep small gradients from vanishing in float16.
        reporter: Shows the progress.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        objective: Objective,
        stages: Sequence[PatchStage],
        config: TrainConfig,
        *,
        total_seconds: float | None,
        validate: Callable[[SegmentationNetwork, int], Validation],
        folder: Path,
        num_workers: int = 0,
        scale_loss: bool = False,
        reporter: Reporter = SILENT,
    ) -> None:
        assert stages[-1].end >= 1
        self.network = network
        self.objective = objective
        self.stages = stages
        self.config = config
        self.total_seconds = total_seconds
        self.validate = validate
        self.folder = folder
        self.num_workers = num_workers
        self.reporter = reporter
        self.optimizer = _make_optimizer(network, config)
        self.scaler = torch.amp.GradScaler(enabled=scale_loss)
        self.average = WeightAverage(network, config.ema_share)
        self.log = TrainingLog(folder / "training_log.csv")
        self.state = TrainingState()
        self._started = 0.0
        self._loss = math.nan
        self._skipped_in_a_row = 0

    @property
    def checkpoint_path(self) -> Path:
        """The one checkpoint of the run."""
        return self.folder / "checkpoint.safetensors"

    def resume(self) -> None:
        """Go on from the checkpoint.

        Raises:
            RequestError: There is none, or it belongs to another network.
        """
        tensors, metadata = load_tensors(self.checkpoint_path)
        try:
            self.network.load_state_dict(without_prefix("network", tensors))
            self.average.load(without_prefix("average", tensors))
            restore_optimizer(self.optimizer, without_prefix("optimizer", tensors))
            self.state = TrainingState.model_validate_json(metadata["state"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RequestError(f"{self.checkpoint_path} does not fit this network: {error}") from None
        self.log.truncate(self.state.epoch)

    def run(self) -> dict[str, Tensor]:
        """Train to the end.

        Returns:
            The final weights, averaged where the configuration asks for it.

        Raises:
            RunError: The loss stayed NaN or infinite.
        """
        if self.state.finished:
            return self.average.weights()
        self._started = time.perf_counter() - self.state.elapsed_seconds
        last_checkpoint, last_validation, validation_seconds = time.perf_counter(), self.progress, 0.0
        stage, stream = self._open_stream()
        try:
            while self.progress < 1:
                if self.progress >= stage.end:
                    stream.close()
                    stage, stream = self._open_stream()
                self._step(next(stream))
                now = time.perf_counter()
                if self._validation_is_due(last_validation, validation_seconds):
                    self._validate()
                    validation_seconds = time.perf_counter() - now
                    last_validation = self.progress
                if time.perf_counter() - last_checkpoint > self.config.checkpoint_seconds:
                    self.save()
                    last_checkpoint = time.perf_counter()
        finally:
            stream.close()
        self._validate()
        self.state = self.state.model_copy(update={"finished": True})
        self.save()
        return self.average.weights()

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]."""
        if self.total_seconds is not None:
            return min(1.0, self.state.elapsed_seconds / self.total_seconds)
        return min(1.0, self.state.step / (self.config.num_epochs * self.config.steps_per_epoch))

    def save(self) -> None:
        """Write the checkpoint beside the old one, then replace it."""
        tensors = {
            **prefixed("network", self.network.state_dict()),
            **prefixed("average", self.average.state()),
            **prefixed("optimizer", flatten_optimizer(self.optimizer)),
        }
        save_tensors(self.checkpoint_path, tensors, {"state": self.state.model_dump_json()})

    def _open_stream(self) -> tuple[PatchStage, BatchStream]:
        stage = next(entry for entry in self.stages if self.progress < entry.end or entry is self.stages[-1])
        return stage, BatchStream(stage.sampler, self.state.step, self.num_workers)

    def _step(self, batch: PatchBatch) -> None:
        before = self.progress
        rate = learning_rate(self.config, before)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.network, batch)
        value = float(loss.detach())
        skipped = not (math.isfinite(value) and self._update(loss))
        if skipped:
            self._count_skipped()
        else:
            self._skipped_in_a_row = 0
            self._loss = (
                value if math.isnan(self._loss) else _LOSS_SMOOTHING * self._loss + (1 - _LOSS_SMOOTHING) * value
            )
        self.state = self.state.model_copy(
            update={
                "step": self.state.step + 1,
                "elapsed_seconds": time.perf_counter() - self._started,
                "skipped_steps": self.state.skipped_steps + skipped,
            }
        )
        self.average.update(self.progress - before)
        self.reporter.status(self._status(rate))

    def _update(self, loss: Tensor) -> bool:
        """Move the weights along the gradient, unless it is not finite: then it would spoil them for good."""
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        # In float16 that is how the scaler finds its scale; it leaves such a step out by itself.
        if not self.scaler.is_enabled() and not bool(norm.isfinite()):
            return False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return True

    def _count_skipped(self) -> None:
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= _MAX_SKIPPED_IN_A_ROW:
            raise RunError(
                f"the loss or its gradient was not finite for {_MAX_SKIPPED_IN_A_ROW} steps in a row, "
                f"at step {self.state.step}. The last checkpoint is {self.checkpoint_path}. Check the intensities of "
                "the images, lower the learning rate, or train with --precision float32."
            )

    def _validation_is_due(self, last: float, seconds: float) -> bool:
        if self.total_seconds is None:
            return self.state.step % self.config.steps_per_epoch == 0 and self.progress < 1
        interval = max(1 / _VALIDATIONS_A_TIMED_RUN, seconds / _VALIDATION_SHARE / self.total_seconds)
        return last + interval <= self.progress < 1

    def _validate(self) -> None:
        with self.average.applied():
            self.network.eval()
            result = self.validate(self.network, self.state.epoch)
            self.network.train()
        mean = result.mean_dice
        best = max((dice for dice in (self.state.best_dice, mean) if dice is not None), default=None)
        # The clock went on, but the run was not moved: the next step's share of the average must not hold this time.
        elapsed = time.perf_counter() - self._started
        self.state = self.state.model_copy(
            update={"epoch": self.state.epoch + 1, "best_dice": best, "elapsed_seconds": elapsed}
        )
        row = LogRow(
            epoch=self.state.epoch,
            step=self.state.step,
            elapsed_seconds=self.state.elapsed_seconds,
            learning_rate=learning_rate(self.config, self.progress),
            loss=self._loss,
            class_dice=result.class_dice,
            num_cases=result.num_cases,
        )
        self.log.append(row)
        self.reporter.say(self._line(result))

    def _status(self, rate: float) -> str:
        best = "" if self.state.best_dice is None else f", best validation Dice {self.state.best_dice:.3f}"
        return f"step {self.state.step}, loss {self._loss:.3f}, learning rate {rate:.2g}{best}, {self._time_left()}"

    def _line(self, result: Validation) -> str:
        dice = " ".join("-" if value is None else f"{value:.3f}" for value in result.class_dice)
        mean = "-" if result.mean_dice is None else f"{result.mean_dice:.3f}"
        cases = "case" if result.num_cases == 1 else "cases"
        return (
            f"{self.progress:4.0%}  step {self.state.step:6d}  loss {self._loss:.3f}  "
            f"Dice {mean} ({dice}) on {result.num_cases} validation {cases}  {self._time_left()}"
        )

    def _time_left(self) -> str:
        if self.progress <= 0:
            return ""
        left = self.state.elapsed_seconds * (1 - self.progress) / self.progress
        return f"{duration(left)} left"


def _make_optimizer(network: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    if config.optimizer == "muon":
        return Muon(parameters, config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    # The fused kernels update all parameters in one pass over memory: 3 to 13 times faster on a CPU.
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            config.learning_rate,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=True,
        )
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=True)
