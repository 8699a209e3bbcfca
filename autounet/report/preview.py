"""A picture of augmented patches: each in a row, before and after, its labels as lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autounet.geometry import Array
from autounet.labels import LabelSchema
from autounet.report.panels import (
    CHARACTER_INCHES,
    FONT_POINTS,
    LEGEND_ROW_INCHES,
    MARGIN_INCHES,
    Panel,
    add_legend,
    draw_panel,
    legend_rows,
    new_figure,
    save_figure,
    short_names,
    write_text,
)
from autounet.training.preview import PreviewedPatch

_WIDTH_INCHES = 8.0
_MAX_PANEL_INCHES = 2.6
_TITLE_INCHES = 0.45
_CAPTION_INCHES = 0.42  # two lines
_LINE_POINTS = 0.9


def write_preview(
    path: Path,
    patches: Sequence[PreviewedPatch],
    labels: LabelSchema,
    spacing_mm: Sequence[float],
    title: str,
    *,
    is_rgb: bool = False,
    first_stage: str | None = None,
) -> None:
    """Draw patches as a PNG.

    Of a volume the middle slice along its first axis is shown; of several channels the first, or colours.

    Args:
        path: The PNG file to write.
        patches: A row each.
        labels: What the values mean.
        spacing_mm: Voxel size of the patch's axes.
        title: First line of the picture.
        is_rgb: The first three channels are colours in 0 to 1.
        first_stage: Name of the first stage of a cascade, where the patches tell what it found: drawn as fill.
    """
    rows = [_row(patch, spacing_mm, is_rgb) for patch in patches]
    height_mm, width_mm = rows[0][0].size_mm
    column = (_WIDTH_INCHES - 3 * MARGIN_INCHES) / 2
    inches_per_mm = min(column / width_mm, _MAX_PANEL_INCHES / height_mm)
    tall, wide = height_mm * inches_per_mm, width_mm * inches_per_mm
    names = short_names(labels.class_names)
    num_rows = legend_rows(names, _WIDTH_INCHES)
    height = (
        _TITLE_INCHES + len(rows) * (tall + _CAPTION_INCHES) + (num_rows + bool(first_stage) + 0.6) * LEGEND_ROW_INCHES
    )
    figure = new_figure(_WIDTH_INCHES, height)
    write_text(figure, MARGIN_INCHES, height - _TITLE_INCHES / 2, title, points=FONT_POINTS + 3)
    for index, row in enumerate(rows):
        bottom = height - _TITLE_INCHES - (index + 1) * (tall + _CAPTION_INCHES) + _CAPTION_INCHES
        for side, panel in enumerate(row):
            left = MARGIN_INCHES + side * (column + MARGIN_INCHES) + (column - wide) / 2
            place = np.array([left, bottom, wide, tall]) / [_WIDTH_INCHES, height, _WIDTH_INCHES, height]
            draw_panel(figure.add_axes((place[0], place[1], place[2], place[3])), panel, labels, _LINE_POINTS)
            centre = MARGIN_INCHES + side * (column + MARGIN_INCHES) + column / 2
            write_text(figure, centre, bottom - _CAPTION_INCHES / 2, panel.caption, centred=True)
    add_legend(figure, names, f"lines: labels; fill: what {first_stage} found" if first_stage else None)
    save_figure(figure, path)


def _row(patch: PreviewedPatch, spacing_mm: Sequence[float], is_rgb: bool) -> tuple[Panel, Panel]:
    """Before and after, in one window of grey values, so that a change of brightness shows."""
    before, after = (_slice(image, is_rgb) for image in (patch.image_before, patch.image))
    if not is_rgb:
        low, high = (float(edge) for edge in np.percentile(before, (1.0, 99.5)))
        before, after = ((image - low) / max(high - low, 1e-6) for image in (before, after))
    size_mm = (before.shape[0] * spacing_mm[-2], before.shape[1] * spacing_mm[-1])
    most = int(_WIDTH_INCHES / 2 / CHARACTER_INCHES)
    maps, found = (patch.label_before, patch.label), (patch.previous_before, patch.previous)
    texts = (patch.case, ", ".join(patch.changes) or "as it was")
    first, second = (
        Panel(
            caption="\n".join(textwrap.wrap(text, most, max_lines=2, placeholder=" …")),
            image=np.clip(image, 0, 1),
            fill=None if told is None else _middle(told),
            lines=_middle(label),
            size_mm=size_mm,
        )
        for text, image, label, told in zip(texts, (before, after), maps, found, strict=True)
    )
    return first, second


def _middle(label: Array) -> Array:
    """The slice `(H, W)` of a label map that is shown."""
    return np.asarray(label[len(label) // 2] if label.ndim == 3 else label)


def _slice(image: Array, is_rgb: bool) -> Array:
    """`(H, W)`, or `(H, W, 3)` of colours."""
    plane = image[:, image.shape[1] // 2] if image.ndim == 4 else image
    return np.asarray(np.moveaxis(plane[:3], 0, -1) if is_rgb else plane[0])
