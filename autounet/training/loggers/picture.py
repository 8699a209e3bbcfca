"""`progress.png`: Dice, loss and learning rate over a run, drawn anew at every validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from autounet.colours import BACKGROUND_COLOUR, TEXT_COLOUR, class_colour
from autounet.progress import duration
from autounet.records import atomic_path
from autounet.training.log import LoggedRun, LogRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FILE = "progress.png"
_DPI = 110
_SIZE_INCHES = (10.5, 7.2)
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.055, 0.77, 0.865, 0.075
_HEIGHTS = (5.0, 2.2, 1.2)
_FAINT_COLOUR, _GRID_COLOUR, _LOSS_COLOUR, _RATE_COLOUR = "#9a9a9a", "#343434", "#56B4E9", "#E69F00"
_POINTS = 9
# Names that fit beside the curves; more classes are drawn, and the rest of the names counted.
_MAX_NAMES = 20
_MAX_CHARACTERS = 19
_LEAST_SHARE_NAMED = 0.15  # of the axis; the size of a patch that lasts shorter has no room
# Validations rotate over cases, so their scores jump; above this many, a running mean is drawn over them.
_MANY_ROWS = 40


class ProgressPicture:
    """Draws the picture beside the table."""

    name = _FILE
    mends_itself = True

    def __init__(self) -> None:
        self._rows: list[LogRow] = []
        self._run: LoggedRun | None = None

    @property
    def path(self) -> Path:
        """The picture; known once the run has begun."""
        assert self._run is not None
        return self._run.folder / _FILE

    def start(self, run: LoggedRun, rows: Sequence[LogRow]) -> None:
        """Remember the rows of a resumed run."""
        self._run, self._rows = run, list(rows)

    def row(self, row: LogRow) -> None:
        """Draw with one row more."""
        self._rows.append(row)
        assert self._run is not None
        draw_progress(self.path, self._run, self._rows)

    def picture(self, path: Path) -> None:
        """It is this one."""

    def close(self) -> None:
        """Nothing is left to write."""


@dataclass(frozen=True)
class _Curve:
    name: str
    colour: str
    values: npt.NDArray[np.float64]
    width: float = 1.5


@dataclass(frozen=True)
class _TimeAxis:
    """Where rows lie: the time, or the steps where the run counts them."""

    label: str
    unit: float
    by_steps: bool

    @classmethod
    def of(cls, run: LoggedRun, rows: Sequence[LogRow]) -> _TimeAxis:
        if run.total_steps is not None:
            return cls("step", 1.0, True)
        seconds = rows[-1].elapsed_seconds
        label, unit = ("s", 1.0) if seconds < 180 else ("min", 60.0) if seconds < 3 * 3600 else ("h", 3600.0)
        return cls(f"time in {label}", unit, False)

    def place(self, row: LogRow) -> float:
        return row.step if self.by_steps else row.elapsed_seconds / self.unit

    def place_of_share(self, share: float, run: LoggedRun) -> float | None:
        total = run.total_steps if self.by_steps else run.total_seconds
        return None if total is None else share * total / self.unit


def draw_progress(path: Path, run: LoggedRun, rows: Sequence[LogRow]) -> None:
    """Draw a run as a PNG, in about a fifth of a second.

    Args:
        path: The PNG file to write, atomically.
        run: Names the classes and the stages.
        rows: One or more, in their order.
    """
    # The figure itself, not pyplot: no global state, no window system, safe in threads.
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, facecolor=BACKGROUND_COLOUR)
    grid = figure.add_gridspec(
        3, 1, height_ratios=_HEIGHTS, left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM, hspace=0.21
    )
    top = figure.add_subplot(grid[0])
    panels = [top, *(figure.add_subplot(grid[index], sharex=top) for index in (1, 2))]
    axis = _TimeAxis.of(run, rows)
    places = [axis.place(row) for row in rows]
    for panel in panels:
        _style(panel, is_last=panel is panels[-1])
    losses = [row.validation_loss for row in rows if row.validation_loss is not None]
    if len(losses) == len(rows):
        _draw_line(panels[0], places, losses, TEXT_COLOUR, f"loss on {rows[-1].num_cases} validation cases")
    else:
        _draw_dice(panels[0], run, rows, places)
    _draw_line(panels[1], places, [row.loss for row in rows], _LOSS_COLOUR, "training loss, smoothed over steps")
    _draw_line(panels[2], places, [row.learning_rate for row in rows], _RATE_COLOUR, "learning rate")
    panels[2].set_ylim(bottom=0)
    panels[2].yaxis.set_major_formatter("{x:g}")
    panels[2].set_xlabel(axis.label, color=TEXT_COLOUR, fontsize=_POINTS)
    panels[0].set_xlim(0, max(places[-1] * 1.01, 1e-9))
    _mark_stages(panels, run, axis, places[-1])
    _write_heading(figure, run, rows)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", facecolor=BACKGROUND_COLOUR)


def dice_label(run: LoggedRun, rows: Sequence[LogRow]) -> str:
    """What the scores are of: `Dice on 8 rotating whole validation cases`."""
    counts = sorted({row.num_cases for row in rows})
    if counts[-1] == 0:
        return "Dice: no validation cases"
    number = "-".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    cases = "case" if counts[-1] == 1 else "cases"
    if counts[0] >= run.num_validation_cases:
        return f"Dice on all {number} whole validation {cases}" if counts[-1] > 1 else "Dice on the one validation case"
    return f"Dice on {number} rotating whole validation {cases}"


def _style(panel: Axes, *, is_last: bool) -> None:
    panel.set_facecolor(BACKGROUND_COLOUR)
    panel.grid(color=_GRID_COLOUR, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.tick_params(colors=_FAINT_COLOUR, labelsize=_POINTS - 1, length=0, labelbottom=is_last)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GRID_COLOUR)


def _draw_dice(panel: Axes, run: LoggedRun, rows: Sequence[LogRow], places: Sequence[float]) -> None:
    """A line a class and the mean of all, with their names and last values beside."""
    dice = np.array([row.class_dice for row in rows], dtype=np.float64)  # (rows, classes), NaN where unknown
    mean = np.array([row.mean_dice for row in rows], dtype=np.float64)
    curves = [_Curve(name, class_colour(index), dice[:, index]) for index, name in enumerate(run.class_names)]
    if len(curves) > 1:
        curves.append(_Curve("mean", TEXT_COLOUR, mean, width=2.2))
    window = max(1, len(rows) // _MANY_ROWS)
    if window > 1:  # of the mean alone: those of all classes would cover the lines
        panel.plot(places, mean, color=TEXT_COLOUR, linewidth=0.6, alpha=0.35)
    for curve in curves:
        values = _running_mean(curve.values, window)
        panel.plot(places, values, color=curve.colour, linewidth=curve.width, marker=_marker(rows))
    if not np.isnan(mean).all():
        best = int(np.nanargmax(mean))
        panel.plot(places[best], mean[best], "o", markersize=8, markerfacecolor="none", markeredgecolor=TEXT_COLOUR)
    panel.set_ylim(0, 1)
    panel.set_yticks([step / 10 for step in range(0, 11, 2)])
    smoothing = f"; lines: means over {window} validations" if window > 1 else ""
    _write_title(panel, dice_label(run, rows) + smoothing)
    _write_names(panel, curves)


def _marker(rows: Sequence[object]) -> str | None:
    """One or two rows make no line to see."""
    return "o" if len(rows) < 3 else None


def _write_names(panel: Axes, curves: Sequence[_Curve]) -> None:
    """Names and last known values right of the panel: the mean first, then the classes in their order."""
    ordered = [*curves[-1:], *curves[:-1]] if len(curves) > 1 else list(curves)
    shown = ordered if len(ordered) <= _MAX_NAMES else ordered[: _MAX_NAMES - 1]
    step = 1.0 / _MAX_NAMES if len(ordered) > 12 else 0.07
    for row, curve in enumerate(shown):
        known = curve.values[~np.isnan(curve.values)]
        text = curve.name if len(curve.name) <= _MAX_CHARACTERS else curve.name[: _MAX_CHARACTERS - 1] + "…"
        height = 1.0 - (row + 0.5) * step
        panel.plot(
            [1.02, 1.045], [height] * 2, color=curve.colour, linewidth=3, transform=panel.transAxes, clip_on=False
        )
        _write(panel, 1.06, height, text, "left")
        _write(panel, 1.31, height, f"{known[-1]:.3f}" if known.size else "-", "right")
    if len(shown) < len(ordered):
        _write(panel, 1.06, 1.0 - (len(shown) + 0.5) * step, f"and {len(ordered) - len(shown)} more", "left")


def _write_title(panel: Axes, text: str) -> None:
    panel.set_title(text, loc="left", color=TEXT_COLOUR, fontsize=_POINTS, pad=5)


def _write(panel: Axes, place: float, height: float, text: str, side: str, colour: str = TEXT_COLOUR) -> None:
    panel.text(
        place,
        height,
        text,
        transform=panel.transAxes,
        ha=side,
        va="center",
        fontsize=_POINTS,
        color=colour,
        parse_math=False,  # in names of classes a dollar sign means itself
    )


def _draw_line(panel: Axes, places: Sequence[float], values: Sequence[float], colour: str, label: str) -> None:
    panel.plot(places, values, color=colour, linewidth=1.5, marker=_marker(places))
    _write_title(panel, label)


def _mark_stages(panels: Sequence[Axes], run: LoggedRun, axis: _TimeAxis, last: float) -> None:
    """A dotted line where the patch grew, and its sizes above."""
    start = 0.0
    for stage in run.stages if len(run.stages) > 1 else ():
        end = axis.place_of_share(stage.end, run)
        if end is None or start >= last:
            return
        for panel in panels if stage is not run.stages[-1] and end < last else ():
            panel.axvline(end, color=_FAINT_COLOUR, linewidth=0.8, linestyle=(0, (2, 3)))
        shown = min(end, last) - start
        if shown > _LEAST_SHARE_NAMED * last:
            panels[0].text(
                start + shown / 2,
                0.02,
                "patch " + "×".join(str(extent) for extent in stage.patch_size),
                transform=panels[0].get_xaxis_transform(),
                ha="center",
                va="bottom",
                color=_FAINT_COLOUR,
                fontsize=_POINTS - 1,
            )
        start = end


def _write_heading(figure: Figure, run: LoggedRun, rows: Sequence[LogRow]) -> None:
    last = rows[-1]
    known = [row.mean_dice for row in rows if row.mean_dice is not None]
    parts = [f"step {last.step}", duration(last.elapsed_seconds)]
    if known:
        parts.append(f"mean Dice {known[-1]:.3f} at the last validation, {max(known):.3f} at the best (ring)")
    figure.text(_LEFT, 0.965, run.title, color=TEXT_COLOUR, fontsize=_POINTS + 4, va="center", parse_math=False)
    figure.text(_LEFT, 0.93, "    ".join(parts), color=_FAINT_COLOUR, fontsize=_POINTS, va="center")


def _running_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Means over the known ones of the last `window` values; NaN where there are none."""
    is_known = ~np.isnan(values)
    sums, counts = (
        np.concatenate([np.zeros(1), np.cumsum(entry)]) for entry in (np.where(is_known, values, 0.0), is_known)
    )
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    number = counts[ends] - counts[starts]
    return np.where(number > 0, (sums[ends] - sums[starts]) / np.maximum(number, 1), np.nan)
