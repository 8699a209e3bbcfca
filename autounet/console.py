"""What the command line shows: progress bars, live lines, tables of scores and of problems."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table

from autounet.errors import DataError

if TYPE_CHECKING:
    from autounet.evaluation.comparison import Comparison
    from autounet.evaluation.summary import MetricMean, Summary
    from autounet.launch.cross_validation import CrossValidation
    from autounet.models.best import Best
    from autounet.models.folder import ModelRecord
    from autounet.pipeline.models import ModelInfo

T = TypeVar("T")

# A live line that changes faster cannot be read, and drawing it would cost time.
_SECONDS_BETWEEN_STATUS = 0.5
# More would not fit beside each other.
_MAX_CLASS_COLUMNS = 3
# More rows would push the first ones off the screen; the rest is counted.
_MAX_PROBLEM_ROWS = 40


class ConsoleReporter:
    """Draws progress on a terminal; in a file, only the lines that matter."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status: Status | None = None
        self._last_status = 0.0

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Pass the items through under a progress bar."""
        self.clear()
        started = time.perf_counter()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            yield from bar.track(items, total=total, description=description)
        if total:
            self.say(f"{description}: {total} done in {time.perf_counter() - started:.1f} s")

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def status(self, message: str) -> None:
        """Show a live line below, on a terminal."""
        now = time.monotonic()
        if not self.console.is_terminal or now - self._last_status < _SECONDS_BETWEEN_STATUS:
            return
        self._last_status = now
        if self._status is None:
            self._status = self.console.status(message)
            self._status.start()
        self._status.update(message)

    def clear(self) -> None:
        """Take the live line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def scores_table(summary: Summary, title: str) -> Table:
    """Mean scores of every class, and of the foreground."""
    table = Table(title=title, title_justify="left")
    table.add_column("class")
    means = summary.class_means.values()
    # Columns that would only hold zeros tell nothing.
    counts = {
        "missed": [mean.num_missed for mean in means],
        "spurious": [mean.num_spurious for mean in means],
        "not annotated": [mean.num_not_annotated for mean in means],
    }
    counts = {name: values for name, values in counts.items() if any(values)}
    for name in ("Dice", "IoU", "cases", "empty", *counts, "lowest Dice in"):
        table.add_column(name, justify="right" if name != "lowest Dice in" else "left")
    for index, (name, mean) in enumerate(summary.class_means.items()):
        table.add_row(
            escape(name),
            _number(mean.dice),
            _number(mean.iou),
            str(mean.num_scored),
            str(mean.num_empty),
            *(str(values[index]) for values in counts.values()),
            escape(mean.worst_case or "-"),
        )
    table.add_section()
    table.add_row("foreground", _number(summary.foreground_dice), _number(summary.foreground_iou))
    return table


def metrics_table(summary: Summary) -> Table:
    """Every metric: mean and interval of all classes together, and the means of each of a few."""
    from autounet.evaluation.metrics import METRICS

    classes = {name: mean.metrics for name, mean in summary.class_means.items()}
    whole = "all classes" if len(classes) != 1 else next(iter(classes))
    alone = classes if 1 < len(classes) <= _MAX_CLASS_COLUMNS else {}
    table = Table(box=SIMPLE, caption_justify="left")
    table.add_column("metric", no_wrap=True)
    for name in (whole, "95 % interval"):
        table.add_column(escape(name), justify="right", no_wrap=True)
    for name in alone:
        table.add_column(escape(name), justify="right", overflow="fold")
    for metric, figures in summary.foreground.items():
        interval = "-" if figures.low is None else f"{_number(figures.low)} to {_number(figures.high)}"
        means = [_mean(of_class[metric], summary) for of_class in alone.values()]
        table.add_row(METRICS[metric].title, _mean(figures, summary), interval, *means)
    shown = [figures for of_class in (summary.foreground, *alone.values()) for figures in of_class.values()]
    if any(figures.num_cases < summary.num_cases for figures in shown):
        table.caption = "in brackets: how many cases have a value, where not all do"
    return table


def _mean(figures: MetricMean, summary: Summary) -> str:
    few = figures.num_cases < summary.num_cases
    return f"{_number(figures.mean)}{f' ({figures.num_cases})' if few else ''}"


def comparison_table(comparison: Comparison) -> Table:
    """Both means, the interval of their difference, and which is better."""
    from autounet.evaluation.metrics import METRICS

    table = Table(title=f"{comparison.num_cases} cases in both", title_justify="left", box=SIMPLE)
    for name in ("metric", "class", "A", "B", "B - A, 95 %", "p", "better"):
        left = name in ("metric", "class", "better")
        table.add_column(name, justify="left" if left else "right", no_wrap=name not in ("metric", "class"))
    for row in comparison.rows:
        difference = row.difference
        table.add_row(
            METRICS[row.metric].title,
            escape(row.class_name),
            _number(row.first),
            _number(row.second),
            f"{difference.low:+.4f} to {difference.high:+.4f}" if difference else "-",
            "-" if row.p_adjusted is None else f"{row.p_adjusted:.2g}",
            {"first": "A", "second": "B", "no difference shown": "-"}.get(row.better, row.better),
        )
    return table


def cross_validation_table(scores: CrossValidation) -> Table:
    """Dice of every class in every fold, with mean and spread."""
    table = Table(title=f"Cross-validation, {scores.num_cases} cases, Dice", title_justify="left")
    for name in ("class", *(f"fold {fold}" for fold in scores.folds), "mean", "spread"):
        table.add_column(name, justify="right" if name != "class" else "left")
    for name, spread in scores.classes.items():
        table.add_row(escape(name), *map(_number, spread.of_folds), _number(spread.mean), _number(spread.spread))
    table.add_section()
    whole = scores.foreground
    table.add_row("foreground", *map(_number, whole.of_folds), _number(whole.mean), _number(whole.spread))
    return table


def standings_table(best: Best) -> Table:
    """All candidates, the highest Dice first, and how far the best is ahead of them."""
    title = f"Foreground Dice over {best.num_cases} cases, each predicted by networks that had not seen it"
    cost = "cost: floating-point operations of all tiles, mirrors and folds for a case of median size"
    table = Table(title=title, title_justify="left", caption=cost, caption_justify="left")
    for name in ("", "candidate", "Dice", "95 % interval", "cost", "best is better by", "more than chance"):
        table.add_column(name, justify="left" if name in ("", "candidate") else "right")
    for standing in best.choice.standings:
        interval, behind = standing.interval, standing.behind
        table.add_row(
            ">" if standing.name == best.choice.chosen else "",
            escape(standing.name),
            _number(standing.dice),
            "-" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}",
            f"{standing.cost:.1f}x",
            "-" if behind is None else f"{behind.difference:.4f} ({behind.low:.4f} to {behind.high:.4f})",
            "" if behind is None else "no" if standing.is_noise else "yes",
        )
    return table


def finishing_table(best: Best) -> Table:
    """What was tried besides: thresholds, and steps of postprocessing."""
    table = Table(title="Thresholds and largest components", title_justify="left")
    for name in ("tried", "what came of it", "used"):
        table.add_column(name, overflow="fold")
    for trial in best.threshold_trials:
        table.add_row(
            escape(f"{trial.name} from {trial.threshold:g} on"), trial.outcome, "yes" if trial.accepted else "no"
        )
    for step in best.step_trials:
        table.add_row(
            escape(f"largest component of {step.step.name}"), escape(step.reason), "yes" if step.accepted else "no"
        )
    return table


def model_table(info: ModelInfo) -> Table:
    """What a model folder holds."""
    record = next(iter(info.folds.values()))
    plan, configuration, data = record.plan, record.configuration, record.training_data
    table = Table(title=escape(str(info.model)), title_justify="left", show_header=False)
    rows = {
        "dataset": plan.dataset_name,
        "configuration": f"{configuration.name} of plan {plan.planner}",
        "channels": ", ".join(f"{channel.name} ({channel.normalization})" for channel in plan.channels),
        "labels": ", ".join(f"{entry.name} {'+'.join(map(str, entry.values))}" for entry in plan.labels.classes),
        "files": plan.file_ending,
        "network": f"{configuration.network.name}, {configuration.network.num_stages} stages",
        "patch": _product(configuration.patch_size),
        "spacing": f"{_product(configuration.spacing_mm)} mm",
    }
    if data is not None:
        rows["trained on"] = (
            f"{data.num_cases} cases, {_product(data.shape.minimum)} to {_product(data.shape.maximum)} voxels of "
            f"{_product(data.spacing_mm.minimum)} to {_product(data.spacing_mm.maximum)} mm"
        )
    if record.origin is not None:
        rows["imported from"] = f"{record.origin.program}, {record.origin.trainer}, {record.origin.checkpoint}"
    if record.computed_in is not None:
        rows["trained in"] = record.computed_in
    rows["written by"] = (
        f"autounet {record.autounet_version}, PyTorch {record.torch_version}, Python {record.python_version}"
    )
    rows["size"] = f"{info.num_bytes / 2**20:.1f} MiB, files as they were written"
    for name, value in rows.items():
        table.add_row(name, escape(value))
    for name, entry in info.folds.items():
        table.add_row(f"fold {name}", escape(_scores_of(entry)))
    return table


def _scores_of(record: ModelRecord) -> str:
    if record.validation_loss is not None:
        return f"draws images, validation loss {record.validation_loss:.4f}"
    if record.validation_dice is None:
        return "no validation score"
    classes = ", ".join(f"{name} {_number(dice)}" for name, dice in record.class_dice.items())
    return f"validation Dice {_number(record.validation_dice)}{f' ({classes})' if classes else ''}"


def _product(sizes: Iterable[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


def problems_table(error: DataError) -> Table:
    """Every problem of a dataset, with its remedy."""
    plural = "s" * (len(error.problems) != 1)
    table = Table(
        title=f"{len(error.problems)} problem{plural} in {error.dataset}", title_justify="left", show_lines=True
    )
    for name in ("case", "file", "what is wrong", "what to do"):
        table.add_column(name, overflow="fold")
    for problem in error.problems[:_MAX_PROBLEM_ROWS]:
        table.add_row(*(escape(text) for text in (problem.case, problem.file, problem.what, problem.remedy)))
    left = len(error.problems) - _MAX_PROBLEM_ROWS
    if left > 0:
        table.add_row(f"and {left} more", "", "", "")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
