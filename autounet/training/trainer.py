"""The training loop. It owns steps, the clock, the schedule and checkpoints, and nothing else."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from autounet.errors import RequestError, RunError
from autounet.evaluation.summary import mean_of_known
from autounet.networks.base import SegmentationNetwork
from autounet.progress import SILENT, Reporter, duration
from autounet.training.averaging import WeightAverage
from autounet.training.checkpoint import (
    TrainingState,
    flatten_optimizer,
    load_tensors,
    prefixed,
    random_state,
    restore_optimizer,
    restore_random_state,
    save_tensors,
    without_prefix,
)
from autounet.training.config import TrainConfig
from autounet.training.log import Log, LogRow
from autounet.training.objective import Objective
from autounet.training.optimizers import make_optimizer
from autounet.training.replicas import Replicas, alone
from autounet.training.sampling import BatchStream, PatchBatch, PatchSampler
from autounet.training.schedule import learning_rate
from autounet.training.stopping import StopRequest
from autounet.training.telling import step_line, validation_line

# So many steps in a row without a finite loss cannot be chance.
_MAX_SKIPPED_IN_A_ROW = 20
# Validation on the way may take this share of the time, and comes at least so often over a timed run.
_VALIDATION_SHARE = 0.04
_VALIDATIONS_A_TIMED_RUN = 20
_LOSS_SMOOTHING = 0.95
# A run that ends early lets its learning rate fall to zero first, over this share of its steps and no longer than that.
_COOLDOWN_SHARE = 0.05
_MAX_COOLDOWN_SECONDS = 15.0
# Of the cool-down, over which weights are averaged if they are at all.
_COOLDOWN_AVERAGE = 0.2


@dataclass(frozen=True)
class Validation:
    """Scores of a handful of validation cases, on the way.

    Attributes:
        class_dice: Mean Dice of each class, `None` where no case has it; empty where nothing is segmented.
        case_dice: Mean Dice of each case, over the classes that it has; where nothing is segmented, its loss with the
            sign changed, so that more is better.
        loss: Mean loss of these cases, where nothing is segmented.
    """

    class_dice: tuple[float | None, ...]
    case_dice: Mapping[str, float]
    loss: float | None = None


@dataclass(frozen=True)
class PatchStage:
    """Training up to a point of the run with one size of patch."""

    end: float
    sampler: PatchSampler


@dataclass(frozen=True)
class Outcome:
    """What a run ended with.

    Attributes:
        weights: The final ones, averaged where the configuration asks for it.
        stopped: Who asked for an end before its time; `None` where the run came to its own.
    """

    weights: dict[str, Tensor]
    stopped: str | None


class Trainer:
    """Trains a network until its steps or its time are used up, or it is asked to end.

    Args:
        network: To be trained, on its device.
        objective: Loss of a batch.
        stages: Patch sizes over the run; the last one ends at 1.
        config: All choices.
        total_seconds: Time for training, or `None` to count steps.
        validate: Scores the network on whole cases; the argument is the number of validations so far.
        folder: Where the checkpoint goes.
        log: Is told every validation; nothing is logged without one.
        replicas: This process among those that train together.
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
        log: Log | None = None,
        replicas: Replicas | None = None,
        num_workers: int = 0,
        scale_loss: bool = False,
        reporter: Reporter = SILENT,
    ) -> None:
        assert stages[-1].end >= 1
        self.network = network
        self.objective = objective
        self.stages = stages
        self.config = config
        self.validate = validate
        self.folder = folder
        self.replicas = replicas or alone(next(network.parameters()).device)
        self.num_workers = num_workers
        self.reporter = reporter
        self.optimizer = make_optimizer(network, config)
        self.scaler = torch.amp.GradScaler(enabled=scale_loss)
        self.average = WeightAverage(network, config.ema_share)
        self.log = log
        self.state = TrainingState(total_seconds=total_seconds)
        self.stop = StopRequest(folder)
        self._started = 0.0
        self._skipped_in_a_row = 0

    @property
    def checkpoint_path(self) -> Path:
        """The one checkpoint of the run."""
        return self.folder / "checkpoint.safetensors"

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]."""
        if self.state.total_seconds is not None:
            return min(1.0, self.state.elapsed_seconds / self.state.total_seconds)
        return min(1.0, self.state.step / self.config.total_steps)

    def resume(self) -> None:
        """Go on from the checkpoint.

        Raises:
            RequestError: There is none, or it belongs to another network.
        """
        tensors, metadata = load_tensors(self.checkpoint_path)
        total_seconds = self.state.total_seconds
        try:
            self.network.load_state_dict(without_prefix("network", tensors))
            self.average.load(without_prefix("average", tensors))
            restore_optimizer(self.optimizer, without_prefix("optimizer", tensors))
            restore_random_state(without_prefix("random", tensors), self.replicas.device)
            self.scaler.load_state_dict(json.loads(metadata.get("scaler", "{}")))
            self.state = TrainingState.model_validate_json(metadata["state"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RequestError(f"{self.checkpoint_path} does not fit this network: {error}") from None
        if self.state.total_seconds is None:
            self.state = self.state.model_copy(update={"total_seconds": total_seconds})
        if self.log:
            self.log.truncate(self.state.epoch)

    def extend(self) -> None:
        """Go on from the end of a run: for the time given to this one, or up to the configuration's steps.

        Raises:
            RequestError: There is no checkpoint of it.
        """
        more = self.state.total_seconds
        self.resume()
        total = None if more is None else self.state.elapsed_seconds + more
        update = {"finished": False, "total_seconds": total, "validations_since_best": 0}
        self.state = self.state.model_copy(update=update)
        self.state = self.state.model_copy(update={"entered": self.progress})

    def run(self) -> Outcome:
        """Train to the end.

        Raises:
            RunError: The loss stayed NaN or infinite.
        """
        if self.state.finished:
            return Outcome(self.average.weights(), None)
        self._started = time.perf_counter() - self.state.elapsed_seconds
        try:
            with self.stop.listening():
                stopped = self._train()
            if stopped is None:
                self._validate()
                self.state = self.state.model_copy(update={"finished": True})
                self.save()
        finally:
            if self.log:
                self.log.close()
        return Outcome(self.average.weights(), stopped)

    def save(self) -> None:
        """Write the checkpoint beside the old one, then replace it."""
        if not self.replicas.is_main:
            return
        tensors = {
            **prefixed("network", self.network.state_dict()),
            **prefixed("average", self.average.state()),
            **prefixed("optimizer", flatten_optimizer(self.optimizer)),
            **prefixed("random", random_state(self.replicas.device)),
        }
        metadata = {"state": self.state.model_dump_json(), "scaler": json.dumps(self.scaler.state_dict())}
        save_tensors(self.checkpoint_path, tensors, metadata)

    def _train(self) -> str | None:
        """Step until the end, or until somebody asks for one; who did."""
        last_checkpoint, last_validation, validation_seconds = time.perf_counter(), self.progress, 0.0
        stage, stream = self._open_stream()
        try:
            while self.progress < 1:
                if self.progress >= stage.end:
                    stream.close()
                    stage, stream = self._open_stream()
                stopped = self._step(self._next(stream), learning_rate(self.config, self.progress, self.state.entered))
                if stopped is not None:
                    self.save()  # before the cool-down: whoever resumes goes on as if nothing had been
                    self._cool_down(stream, stopped)
                    return stopped
                now = time.perf_counter()
                if self._validation_is_due(last_validation, validation_seconds):
                    self._validate()
                    validation_seconds = time.perf_counter() - now
                    last_validation = self.progress
                    if self._is_out_of_patience():
                        self._cool_down(stream, f"{self.config.patience} validations without a better score")
                        return None
                if time.perf_counter() - last_checkpoint > self.config.checkpoint_seconds:
                    self.save()
                    last_checkpoint = time.perf_counter()
        finally:
            stream.close()
        return None

    def _cool_down(self, stream: BatchStream, reason: str) -> None:
        """Let the learning rate fall to zero, as the end of a run would, but within seconds."""
        steps = max(1, round(_COOLDOWN_SHARE * self.state.step))
        rate = learning_rate(self.config, self.progress, self.state.entered)
        self.reporter.say(
            f"{reason}: the run ends at step {self.state.step}; its learning rate falls to zero over at most {steps} "
            f"steps or {duration(_MAX_COOLDOWN_SECONDS)}"
        )
        began = time.perf_counter()
        for index in range(steps):
            (spent,) = self.replicas.agree([(time.perf_counter() - began) / _MAX_COOLDOWN_SECONDS])
            left = 1 - max(index / steps, spent)
            if left <= 0:
                break
            self._step(next(stream), rate * left)
            self.average.update(1 / steps, _COOLDOWN_AVERAGE)

    def _next(self, stream: BatchStream) -> PatchBatch:
        """The next batch, and how long it kept the device waiting."""
        began = time.perf_counter()
        batch = next(stream)
        waited = self.state.waited_seconds + time.perf_counter() - began
        self.state = self.state.model_copy(update={"waited_seconds": waited})
        return batch

    def _stage(self) -> PatchStage:
        return next(entry for entry in self.stages if self.progress < entry.end or entry is self.stages[-1])

    def _open_stream(self) -> tuple[PatchStage, BatchStream]:
        stage = self._stage()
        return stage, BatchStream(stage.sampler, self.state.step, self.num_workers)

    def _step(self, batch: PatchBatch, rate: float) -> str | None:
        """Train on a batch; who asked for an end meanwhile."""
        before = self.progress
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
            last = value if self.state.loss is None else self.state.loss
            value = _LOSS_SMOOTHING * last + (1 - _LOSS_SMOOTHING) * value
        asked = self.stop.reason()
        elapsed, stop = self.replicas.agree([time.perf_counter() - self._started, float(asked is not None)])
        self.state = self.state.model_copy(
            update={
                "step": self.state.step + 1,
                "elapsed_seconds": elapsed,
                "loss": self.state.loss if skipped else value,
                "skipped_steps": self.state.skipped_steps + skipped,
            }
        )
        self.average.update(self.progress - before)
        self.reporter.status(step_line(self.state, rate, self.progress))
        return (asked or "another process") if stop else None

    def _update(self, loss: Tensor) -> bool:
        """Move the weights along the gradient, unless it is not finite: then it would spoil them for good."""
        self.scaler.scale(loss).backward()
        self.replicas.sum_gradients(self.network.parameters())
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
        cases = ", ".join(dict.fromkeys(self._stage().sampler.case_names(self.state.step)))
        self.reporter.say(f"step {self.state.step} was skipped: its loss or gradient was not finite. Cases: {cases}")
        if self._skipped_in_a_row >= _MAX_SKIPPED_IN_A_ROW:
            raise RunError(
                f"the loss or its gradient was not finite for {_MAX_SKIPPED_IN_A_ROW} steps in a row, "
                f"at step {self.state.step}, the last of cases {cases}. The last checkpoint is {self.checkpoint_path}. "
                "Check the intensities of the images, lower the learning rate, or train with --precision float32."
            )

    def _validation_is_due(self, last: float, seconds: float) -> bool:
        if self.state.total_seconds is None:
            return self.state.step % self.config.steps_per_epoch == 0 and self.progress < 1
        interval = max(1 / _VALIDATIONS_A_TIMED_RUN, seconds / _VALIDATION_SHARE / self.state.total_seconds)
        return last + interval <= self.progress < 1

    def _is_out_of_patience(self) -> bool:
        return self.config.patience is not None and self.state.validations_since_best >= self.config.patience

    def _validate(self) -> None:
        """Score a handful of whole cases, in the main process; the others hear of it."""
        result = None
        if self.replicas.is_main:
            with self.average.applied():
                self.network.eval()
                result = self.validate(self.network, self.state.epoch)
                self.network.train()
        case_dice = {**self.state.case_dice, **(result.case_dice if result else {})}
        # The clock went on, but the run was not moved: the next step's share of the average must not hold this time.
        mean = mean_of_known(list(case_dice.values()))
        # While cases come in that were not scored yet, means of different cases cannot be compared: the last is best.
        best = self.state.best_dice if len(case_dice) == len(self.state.case_dice) else None
        rises = mean is not None and (best is None or mean > best)
        # Only the main process knows the cases; it tells the others whether this was the best, as all must end alike.
        elapsed, score, is_best = self.replicas.agree(
            [time.perf_counter() - self._started, math.nan if mean is None else mean, float(rises)]
        )
        self.state = self.state.model_copy(
            update={
                "epoch": self.state.epoch + 1,
                "elapsed_seconds": elapsed,
                "case_dice": case_dice,
                "best_dice": score if is_best else self.state.best_dice,
                "validations_since_best": 0 if is_best else self.state.validations_since_best + 1,
            }
        )
        if result is None:
            return
        if is_best:
            save_tensors(self.folder / "weights_best.safetensors", self.average.weights(), {"format": "autounet"})
        self._tell(result)

    def _tell(self, result: Validation) -> None:
        row = LogRow(
            epoch=self.state.epoch,
            step=self.state.step,
            elapsed_seconds=self.state.elapsed_seconds,
            learning_rate=learning_rate(self.config, self.progress, self.state.entered),
            loss=math.nan if self.state.loss is None else self.state.loss,
            class_dice=result.class_dice,
            num_cases=len(result.case_dice),
            validation_loss=result.loss,
        )
        if self.log:
            self.log.append(row)
        self.reporter.say(validation_line(row, self.state, self.progress))
