"""One picture a case: the image, the reference as lines, the prediction as translucent fill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autounet.colours import BACKGROUND_COLOUR, TEXT_COLOUR
from autounet.evaluation import score_case
from autounet.geometry import Array, Geometry, Triple, bounding_box
from autounet.labels import LabelSchema
from autounet.records import atomic_path
from autounet.report.panels import (
    CHARACTER_INCHES,
    DPI,
    FONT_POINTS,
    MARGIN_INCHES,
    Panel,
    draw_panel,
    legend_handles,
    write_text,
)

WIDTH_PIXELS = 1500
_WIDTH_INCHES = WIDTH_PIXELS / DPI
_TITLE_INCHES = 0.42
_SUBTITLE_INCHES = 0.24
_CAPTION_INCHES = 0.25
_ROW_INCHES = 0.24
_MAX_PANEL_INCHES = 6.0
# A volume is shown this much wider than its labels, and at least this share of it: close enough to judge small
# organs, and their surroundings still show.
_MARGIN_FACTOR = 1.2
_MIN_SHOWN = 0.5


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
    """
    shown = _shown_image(image)
    texts, mean_dice = _legend_texts(reference, prediction, labels)
    subtitle = [] if mean_dice is None else [f"mean Dice {mean_dice:.3f}"]
    if prediction.shape[0] > 1:
        panels = _volume_panels(shown, reference, prediction, labels, spacing_mm, _upright_flips(geometry))
        subtitle.append("fill: prediction" if reference is None else "fill: prediction, lines: reference")
    else:
        panels = _plane_panels(shown, reference, prediction, spacing_mm)
    _draw(path, panels, texts, labels, title, "    ".join(subtitle))


def _shown_image(image: Array) -> Array:
    """`(Z, Y, X)` grey or `(Z, Y, X, 3)` colour, in 0 to 1."""
    finite = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    # Three channels or more of a 2D image that keep to the range of bytes are colours, not modalities.
    if image.shape[0] >= 3 and image.shape[1] == 1 and finite.min() >= 0 and finite.max() <= 255:
        return np.asarray(np.moveaxis(finite[:3], 0, -1) / (255.0 if finite.max() > 1 else 1.0))
    grey = finite[0].astype(np.float32)
    # Air is mostly the lowest value and often most of the image; it would take the window for itself.
    body = grey[grey > grey.min()]
    low, high = np.percentile(body, (1.0, 99.5)) if body.size else (0.0, 1.0)
    return np.asarray(np.clip((grey - low) / max(float(high - low), 1e-6), 0.0, 1.0))


def _upright_flips(geometry: Geometry | None) -> tuple[bool, bool, bool]:
    """Axes `(z, y, x)` to reverse so that z runs to the head, y to the back and x to the patient's left."""
    if geometry is None:
        return (False, False, False)
    x, y, z = (geometry.affine[axis][axis] for axis in range(3))  # RAS+: right, front and head are positive
    return (z < 0, y > 0, x > 0)


def _volume_panels(
    shown: Array,
    reference: Array | None,
    prediction: Array,
    labels: LabelSchema,
    spacing_mm: Triple,
    flips: tuple[bool, bool, bool],
) -> list[Panel]:
    """Axial, coronal and sagittal slice; the head is up in the latter two."""
    place = _busiest_place(reference, prediction, labels)
    view = _view(prediction if reference is None else np.maximum(reference, prediction), spacing_mm)
    panels = []
    for axis, name in enumerate(("axial z", "coronal y", "sagittal x")):
        rows, columns = (other for other in range(3) if other != axis)
        # The first row is drawn on top: of the coronal and sagittal slices it is to be the head's end of z.
        steps = (-1 if flips[rows] != (rows == 0) else 1, -1 if flips[columns] else 1)

        def cut(volume: Array, axis: int = axis, steps: tuple[int, int] = steps) -> Array:
            window = tuple(place[axis] if other == axis else view[other] for other in range(3))
            return np.asarray(volume[window][:: steps[0], :: steps[1]])

        image = cut(shown)
        panels.append(
            Panel(
                caption=f"{name} = {place[axis]}",
                image=image,
                fill=cut(prediction),
                lines=None if reference is None else cut(reference),
                size_mm=(image.shape[0] * spacing_mm[rows], image.shape[1] * spacing_mm[columns]),
            )
        )
    return panels


def _view(label: Array, spacing_mm: Triple) -> tuple[slice, slice, slice]:
    """The part `(z, y, x)` of a volume to show: a cube about all labels, where the volume does not end before."""
    box = bounding_box(label > 0)
    side_mm = max(
        max(_MARGIN_FACTOR * labelled, _MIN_SHOWN * size) * step
        for labelled, size, step in zip(box.shape, label.shape, spacing_mm, strict=True)
    )
    view = []
    for start, stop, size, step in zip(box.start, box.stop, label.shape, spacing_mm, strict=True):
        length = min(size, math.ceil(side_mm / step))
        first = min(max(0, (start + stop - length) // 2), size - length)
        view.append(slice(first, first + length))
    return view[0], view[1], view[2]


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
    names = [name if len(name) <= 32 else name[:31] + "…" for name in labels.class_names]
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
    # The figure itself, not pyplot: no global state, no window system, safe in threads.
    from matplotlib.figure import Figure

    gaps = MARGIN_INCHES * (len(panels) + 1)
    tallest_mm = max(panel.size_mm[0] for panel in panels)
    inches_per_mm = min(
        (_WIDTH_INCHES - gaps) / sum(panel.size_mm[1] for panel in panels), _MAX_PANEL_INCHES / tallest_mm
    )
    most_columns = max(1, int(_WIDTH_INCHES / ((max(map(len, texts)) + 6) * CHARACTER_INCHES)))
    num_rows = math.ceil(len(texts) / most_columns)
    below = (num_rows + 0.6) * _ROW_INCHES + _CAPTION_INCHES
    above = _TITLE_INCHES + (_SUBTITLE_INCHES if subtitle else 0)
    height = above + tallest_mm * inches_per_mm + below
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=DPI, facecolor=BACKGROUND_COLOUR)

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
    figure.legend(
        handles=legend_handles(texts),
        loc="lower center",
        ncol=math.ceil(len(texts) / num_rows),
        fontsize=FONT_POINTS,
        frameon=False,
        labelcolor=TEXT_COLOUR,
        borderaxespad=0.3,
        columnspacing=1.6,
    )
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", facecolor=BACKGROUND_COLOUR)
