"""One picture a case: the image, the reference as lines, the prediction as translucent fill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autounet.evaluation import score_case
from autounet.geometry import Array, Geometry, Triple
from autounet.labels import LabelSchema
from autounet.report.panels import (
    CHARACTER_INCHES,
    DPI,
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
from autounet.report.slices import ShownVolume, shown_image, upright_flips

WIDTH_PIXELS = 1500
_WIDTH_INCHES = WIDTH_PIXELS / DPI
_TITLE_INCHES = 0.42
_SUBTITLE_INCHES = 0.24
_CAPTION_INCHES = 0.25
_MAX_PANEL_INCHES = 6.0


def write_overlay(
    path: Path,
    image: Array,
    reference: Array | None,
    prediction: Array,
    labels: LabelSchema,
    spacing_mm: Triple,
    title: str,
    *,
    geometry: Geometry | None = None,
    place: tuple[int, int, int] | None = None,
) -> None:
    """Draw a case as a PNG of `WIDTH_PIXELS` width.

    A volume is shown in three orthogonal slices through the most of the reference, or without one of the
    prediction: the prediction as fill, the reference as lines. A 2D image is shown as image, reference, prediction.

    Args:
        path: The PNG file to write.
        image: `(C, Z, Y, X)`; the first channel is shown in grey, or the first three of an RGB image in colour.
        reference: `(Z, Y, X)` label values, if there are any.
        prediction: `(Z, Y, X)` label values.
        labels: What the values mean.
        spacing_mm: Voxel size `(z, y, x)`.
        title: First line of the picture.
        geometry: Of a volume; turns it so that the head is up and the front is up, as in a viewer. Without it, a
            volume is taken to lie as in DICOM: y to the back, z to the head.
        place: Voxel `(z, y, x)` of a volume that the slices go through, instead of the most of the reference.
    """
    shown = shown_image(image)
    texts, mean_dice = _legend_texts(reference, prediction, labels)
    subtitle = [] if mean_dice is None else [f"mean Dice {mean_dice:.3f}"]
    if prediction.shape[0] > 1:
        place = place or _busiest_place(reference, prediction, labels)
        volume = ShownVolume(shown, reference, prediction, spacing_mm, upright_flips(geometry))
        panels = [volume.panel(axis, index) for axis, index in enumerate(place)]
        subtitle.append("fill: prediction" if reference is None else "fill: prediction, lines: reference")
    else:
        panels = _plane_panels(shown, reference, prediction, spacing_mm)
    _draw(path, panels, texts, labels, title, "    ".join(subtitle))


def _busiest_place(reference: Array | None, prediction: Array, labels: LabelSchema) -> tuple[int, int, int]:
    """The `(z, y, x)` slices that show the most foreground; the middle if there is none.

    Classes count by the root of their area, so that a large organ does not hide the small ones.
    """
    source = reference if reference is not None else prediction
    masks = [labels.class_mask(source, index) for index in range(labels.num_classes)]
    if not any(mask.any() for mask in masks):
        masks = [labels.class_mask(prediction, index) for index in range(labels.num_classes)]
    place = []
    for axis, size in enumerate(source.shape):
        others = tuple(other for other in range(3) if other != axis)
        weight = sum((np.sqrt(mask.sum(axis=others)) for mask in masks), start=np.zeros(size))
        place.append(int(weight.argmax()) if weight.any() else size // 2)
    return place[0], place[1], place[2]


def _plane_panels(shown: Array, reference: Array | None, prediction: Array, spacing_mm: Triple) -> list[Panel]:
    """The image alone, under the reference, and under the prediction."""
    plane = shown[0]
    size_mm = (plane.shape[0] * spacing_mm[1], plane.shape[1] * spacing_mm[2])
    maps: list[tuple[str, Array | None]] = [("image", None)]
    if reference is not None:
        maps.append(("reference", reference[0]))
    maps.append(("prediction", prediction[0]))
    return [Panel(caption=name, image=plane, fill=fill, lines=None, size_mm=size_mm) for name, fill in maps]


def _legend_texts(reference: Array | None, prediction: Array, labels: LabelSchema) -> tuple[list[str], float | None]:
    """Name of each class, with its Dice over the whole case if there is a reference; and the mean Dice."""
    names = short_names(labels.class_names)
    if reference is None:
        return names, None
    scores = score_case(reference, prediction, labels)
    values = [scores[name].dice for name in labels.class_names]
    known = [dice for dice in values if dice is not None]
    texts = [
        f"{name}  " + ("absent" if dice is None else f"Dice {dice:.3f}")
        for name, dice in zip(names, values, strict=True)
    ]
    return texts, sum(known) / len(known) if known else None


def _draw(
    path: Path, panels: Sequence[Panel], texts: Sequence[str], labels: LabelSchema, title: str, subtitle: str
) -> None:
    """Lay out title, panels at one common scale, and legend, from top to bottom."""
    gaps = MARGIN_INCHES * (len(panels) + 1)
    tallest_mm = max(panel.size_mm[0] for panel in panels)
    inches_per_mm = min(
        (_WIDTH_INCHES - gaps) / sum(panel.size_mm[1] for panel in panels), _MAX_PANEL_INCHES / tallest_mm
    )
    num_rows = legend_rows(texts, _WIDTH_INCHES)
    below = (num_rows + 0.6) * LEGEND_ROW_INCHES + _CAPTION_INCHES
    above = _TITLE_INCHES + (_SUBTITLE_INCHES if subtitle else 0)
    height = above + tallest_mm * inches_per_mm + below
    figure = new_figure(_WIDTH_INCHES, height)

    limit = int(_WIDTH_INCHES / (CHARACTER_INCHES * 1.5))
    title = title if len(title) <= limit else title[: limit - 1] + "…"
    write_text(figure, MARGIN_INCHES, height - 0.22, title, points=FONT_POINTS + 4)
    write_text(figure, MARGIN_INCHES, height - 0.48, subtitle)
    left = (_WIDTH_INCHES - sum(panel.size_mm[1] for panel in panels) * inches_per_mm - gaps) / 2 + MARGIN_INCHES
    for panel in panels:
        panel_height, panel_width = (size * inches_per_mm for size in panel.size_mm)
        bottom = height - above - panel_height
        inches = np.array([left, bottom, panel_width, panel_height])
        left_, bottom_, width_, height_ = inches / [_WIDTH_INCHES, height, _WIDTH_INCHES, height]
        draw_panel(figure.add_axes((left_, bottom_, width_, height_)), panel, labels)
        write_text(figure, left + panel_width / 2, bottom - 0.13, panel.caption, centred=True)
        left += panel_width + MARGIN_INCHES
    add_legend(figure, texts, column_spacing=1.6)
    save_figure(figure, path)
