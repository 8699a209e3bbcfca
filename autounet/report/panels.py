"""A slice with its labels as one panel of a picture: colours, outlines, text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autounet.colours import BACKGROUND_COLOUR, TEXT_COLOUR, class_colour
from autounet.geometry import Array
from autounet.labels import LabelSchema
from autounet.records import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
MARGIN_INCHES = 0.1
FONT_POINTS = 9
CHARACTER_INCHES = 0.075  # mean width of a character of the default font at 9 points
LEGEND_ROW_INCHES = 0.24
_FILL_OPACITY = 0.45
_LONGEST_NAME = 32


@dataclass(frozen=True)
class Panel:
    """One slice to draw, rows downwards.

    Attributes:
        caption: What it shows.
        image: `(H, W)` grey, or `(H, W, 3)` colour in 0 to 1.
        fill: `(H, W)` label map that is drawn as translucent colour, if any.
        lines: `(H, W)` label map that is drawn as outlines, if any.
        size_mm: Height and width.
    """

    caption: str
    image: Array
    fill: Array | None
    lines: Array | None
    size_mm: tuple[float, float]


def draw_panel(axes: Axes, panel: Panel, labels: LabelSchema, line_points: float = 1.4) -> None:
    """The image and its labels; one unit of the axes is one voxel, stretched to its size in mm by the axes' box."""
    from matplotlib.colors import to_rgb

    axes.set_axis_off()
    axes.imshow(panel.image, cmap="gray", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    height, width = panel.image.shape[:2]
    if panel.fill is not None:
        colours = np.zeros((height, width, 4))
        for index in range(labels.num_classes):
            colours[labels.class_mask(panel.fill, index)] = (*to_rgb(class_colour(index)), _FILL_OPACITY)
        axes.imshow(colours, aspect="auto", interpolation="nearest")
    if panel.lines is None:
        return
    for index in range(labels.num_classes):
        mask = labels.class_mask(panel.lines, index)
        if mask.any():
            # A rim of background closes the lines of what touches the border.
            columns, rows = np.arange(-1, width + 1), np.arange(-1, height + 1)
            axes.contour(
                columns, rows, np.pad(mask, 1), levels=[0.5], colors=[class_colour(index)], linewidths=line_points
            )
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def write_text(
    figure: Figure, left: float, bottom: float, text: str, *, points: int = FONT_POINTS, centred: bool = False
) -> None:
    """Write one line at a place in inches."""
    width, height = figure.get_size_inches()
    figure.text(
        left / width,
        bottom / height,
        text,
        fontsize=points,
        color=TEXT_COLOUR,
        ha="center" if centred else "left",
        va="center",
        parse_math=False,  # in names of files and cases a dollar sign means itself
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Names of classes, cut to what a legend has room for."""
    return [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in names]


def legend_rows(texts: Sequence[str], width_inches: float) -> int:
    """How many rows a legend of these texts takes in a picture of this width."""
    most_columns = max(1, int(width_inches / ((max(map(len, texts)) + 6) * CHARACTER_INCHES)))
    return math.ceil(len(texts) / most_columns)


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty picture. The figure itself, not pyplot: no global state, no window system, safe in threads."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inches, height_inches), dpi=DPI, facecolor=BACKGROUND_COLOUR)


def add_legend(figure: Figure, texts: Sequence[str], title: str | None = None, column_spacing: float = 2.0) -> None:
    """The colour of each class with its text, at the bottom, in as many rows as `legend_rows` tells."""
    from matplotlib.patches import Patch

    legend = figure.legend(
        handles=[Patch(facecolor=class_colour(index), label=text) for index, text in enumerate(texts)],
        loc="lower center",
        ncol=math.ceil(len(texts) / legend_rows(texts, figure.get_figwidth())),
        fontsize=FONT_POINTS,
        frameon=False,
        labelcolor=TEXT_COLOUR,
        borderaxespad=0.3,
        columnspacing=column_spacing,
        title=title,
        title_fontsize=FONT_POINTS,
    )
    legend.get_title().set_color(TEXT_COLOUR)


def save_figure(figure: Figure, path: Path) -> None:
    """Write the picture as a PNG, whole or not at all."""
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", facecolor=BACKGROUND_COLOUR)
