"""What a run says of itself, as lines for people."""

from __future__ import annotations

from autounet.progress import duration
from autounet.training.checkpoint import TrainingState
from autounet.training.log import LogRow

# Less waiting than this is not worth a word.
_WAIT_WORTH_TELLING = 0.05


def step_line(state: TrainingState, rate: float, progress: float) -> str:
    """The live line of a step."""
    best = "" if state.best_dice is None else f", best validation {_scored(state.best_dice)}"
    loss = "-" if state.loss is None else f"{state.loss:.3f}"
    return f"step {state.step}, loss {loss}, learning rate {rate:.2g}{best}, {_time_left(state, progress)}"


def validation_line(row: LogRow, state: TrainingState, progress: float) -> str:
    """The line of a validation; it stays."""
    cases = "case" if row.num_cases == 1 else "cases"
    share = state.waited_seconds / max(state.elapsed_seconds, 1e-9)
    waiting = f"  waited for data {share:.0%} of the time" if share > _WAIT_WORTH_TELLING else ""
    return (
        f"{progress:4.0%}  step {row.step:6d}  loss {row.loss:.3f}  "
        f"{_figures(row)} on {row.num_cases} validation {cases}  {_time_left(state, progress)}{waiting}"
    )


def _figures(row: LogRow) -> str:
    if row.validation_loss is not None:
        return f"loss {row.validation_loss:.4f}"
    dice = " ".join("-" if value is None else f"{value:.3f}" for value in row.class_dice)
    mean = "-" if row.mean_dice is None else f"{row.mean_dice:.3f}"
    return f"Dice {mean} ({dice})"


def _scored(score: float) -> str:
    """A score below zero is a loss with its sign changed (`Validation.case_dice`)."""
    return f"loss {-score:.4f}" if score < 0 else f"Dice {score:.3f}"


def _time_left(state: TrainingState, progress: float) -> str:
    if progress <= 0:
        return ""
    return f"{duration(state.elapsed_seconds * (1 - progress) / progress)} left"
