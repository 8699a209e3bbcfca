"""A slice with its labels as one panel of a picture: colours, outlines, text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autounet.geometry import Array
from autounet.labels import LabelSchema

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
MARGIN_INCHES = 0.1
FONT_POINTS = 9
CHARACTER_INCHES = 0.075  # mean width of a character of the default font at 9 points
TEXT_COLOUR, BACKGROUND_COLOUR = "#f2f2f2", "#161616"
_FILL_OPACITY = 0.45

# The Okabe-Ito palette without black and grey (jfly.uni-koeln.de/color, 2008), distinct for all common kinds of
# colour vision, the strongest hues on grey first; then lighter and darker ones of Tol's "muted" and "light" schemes.
PALETTE = (
    "#E69F00", "#56B4E9", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#0072B2",
    "#EE8866", "#44BB99", "#FFAABB", "#AA4499", "#BBCC33", "#88CCEE", "#882255", "#DDCC77", "#99DDFF",
)  # fmt: skip


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


def class_colour(index: int) -> str:
    """The colour of foreground class `index`, as `#RRGGBB`; beyond the palette's end colours come again."""
    return PALETTE[index % len(PALETTE)]


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


def legend_handles(texts: Sequence[str]) -> list[Artist]:
    """A patch of colour for the text of each class."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=class_colour(index), label=text) for index, text in enumerate(texts)]
    return list(handles)
