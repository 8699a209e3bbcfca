"""A picture of drawn images: each label map, and the images that were drawn for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autounet.colours import BACKGROUND_COLOUR
from autounet.geometry import Array
from autounet.labels import LabelSchema
from autounet.records import atomic_path
from autounet.report.panels import DPI, FONT_POINTS, MARGIN_INCHES, Panel, draw_panel, write_text

_PANEL_INCHES = 2.2
_CAPTION_INCHES = 0.25
_TITLE_INCHES = 0.45
_SHOWN_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class DrawnCase:
    """A label map with what was drawn for it.

    Attributes:
        name: Of the label map.
        label: `(Z, Y, X)`.
        images: `(C, Z, Y, X)` each.
        spacing_mm: `(z, y, x)`.
    """

    name: str
    label: Array
    images: tuple[Array, ...]
    spacing_mm: tuple[float, float, float]


def write_drawn(path: Path, cases: Sequence[DrawnCase], labels: LabelSchema, title: str) -> None:
    """Draw a row a label map as a PNG, in the slice that shows most of it: first the map, then its images.

    Args:
        path: The PNG file to write.
        cases: One or more.
        labels: What the values mean.
        title: First line of the picture.
    """
    # The figure itself, not pyplot: no global state, no window system, safe in threads.
    from matplotlib.figure import Figure

    rows = [_row(case) for case in cases]
    columns = max(len(row) for row in rows)
    width = MARGIN_INCHES + columns * (_PANEL_INCHES + MARGIN_INCHES)
    height = _TITLE_INCHES + len(rows) * (_PANEL_INCHES + _CAPTION_INCHES) + MARGIN_INCHES
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=BACKGROUND_COLOUR)
    write_text(figure, MARGIN_INCHES, height - _TITLE_INCHES / 2, title, points=FONT_POINTS + 1)
    for index, row in enumerate(rows):
        top = height - _TITLE_INCHES - index * (_PANEL_INCHES + _CAPTION_INCHES)
        for column, panel in enumerate(row):
            scale = _PANEL_INCHES / max(panel.size_mm)
            tall, wide = (extent * scale for extent in panel.size_mm)
            left = MARGIN_INCHES + column * (_PANEL_INCHES + MARGIN_INCHES)
            place = (left / width, (top - _PANEL_INCHES) / height, wide / width, tall / height)
            draw_panel(figure.add_axes(place), panel, labels)
            write_text(figure, left, top - _PANEL_INCHES - _CAPTION_INCHES / 2, panel.caption)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", facecolor=BACKGROUND_COLOUR)


def _row(case: DrawnCase) -> list[Panel]:
    place = int(np.argmax((case.label > 0).sum(axis=(1, 2))))
    label, (_, tall, wide) = case.label[place], case.spacing_mm
    size = (label.shape[0] * tall, label.shape[1] * wide)
    name = case.name if len(case.name) <= 24 else case.name[:23] + "…"
    blank = np.zeros(label.shape)
    panels = [Panel(name, blank, label, None, size)]
    numbered = len(case.images) > 1
    for number, image in enumerate(case.images):
        caption = f"drawn {number + 1}" if numbered else "drawn"
        panels.append(Panel(caption, _shown(image[:, place]), None, None, size))
    return panels


def _shown(image: Array) -> Array:
    """`(C, Y, X)` as grey `(Y, X)`, or colours `(Y, X, 3)`, from 0 to 1."""
    chosen = np.moveaxis(image[:3], 0, -1) if len(image) >= 3 else image[0]
    low, high = np.percentile(chosen, _SHOWN_PERCENTILES)
    shown: Array = np.clip((chosen - low) / max(float(high - low), 1e-9), 0, 1)
    return shown
