"""The labels to look at first, for people: a table, one picture of many cases, and a picture of each."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from autounet.colours import TEXT_COLOUR
from autounet.data.dataset import RawCase
from autounet.data.io import read_image, read_label
from autounet.evaluation.suspicion import Review, Suspect
from autounet.labels import LabelSchema
from autounet.report.overlay import write_overlay
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
from autounet.report.slices import ShownVolume, shown_image, upright_flips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# `RANK_CASE.png`; the folder may be one that the user keeps other pictures in.
_PICTURES = "[0-9][0-9][0-9]_*.png"
_COLUMNS = 4
_CELL_INCHES = 2.6
_PANEL_INCHES = 2.3
_CAPTION_POINTS = 8
_CAPTION_CHARACTERS = int((_CELL_INCHES - MARGIN_INCHES) / (CHARACTER_INCHES * _CAPTION_POINTS / FONT_POINTS))
_CAPTION_LINES = 4
_LINE_INCHES = 0.14
_CAPTION_INCHES = (_CAPTION_LINES + 1) * _LINE_INCHES
_TITLE_INCHES = 0.75
_SPOT_POINTS = 9.0


def review_table(review: Review, count: int) -> Table:
    """The first cases, each with its most suspicious class."""
    table = Table(
        title=f"Labels of {escape(review.dataset)} to look at first: {min(count, len(review.suspects))} of "
        f"{len(review.suspects)} cases",
        title_justify="left",
    )
    table.add_column("", justify="right", no_wrap=True)
    for name in ("case\nclass", "score\nDice", "voxel z y x\nmm x y z (RAS)"):
        table.add_column(name, no_wrap=True)
    table.add_column("what")
    for suspect in review.suspects[:count]:
        worst = suspect.worst
        voxel = " ".join(map(str, worst.disagreement.place))
        world = " ".join(f"{value:.0f}" for value in worst.place_mm)
        table.add_row(
            str(suspect.rank),
            escape(f"{suspect.case}\n{worst.class_name}"),
            f"{suspect.score:.1f}\n{worst.disagreement.dice:.2f}",
            f"{voxel}\n{world} mm",
            escape(worst.what),
        )
    return table


def write_pictures(
    folder: Path, review: Review, cases: Mapping[str, RawCase], labels: LabelSchema, num_channels: int, count: int
) -> Iterator[Path]:
    """Draw the first cases: `overview.png` with one slice of each, and `RANK_CASE.png` with three.

    Args:
        folder: Where to; an earlier review's pictures of cases there are removed.
        review: The ranking.
        cases: The raw cases by name.
        labels: What the values mean.
        num_channels: Of an image.
        count: How many cases.

    Yields:
        Each case's picture once it is there, and last the overview.
    """
    for old in folder.glob(_PICTURES):
        old.unlink()
    cells = []
    for suspect in review.suspects[:count]:
        image = read_image(cases[suspect.case].images, num_channels)
        reference, prediction = (read_label(Path(path))[0] for path in (suspect.reference, suspect.prediction))
        place = suspect.worst.disagreement.place
        flips = upright_flips(image.geometry) if prediction.shape[0] > 1 else (False, False, False)
        volume = ShownVolume(shown_image(image.array), reference, prediction, image.geometry.spacing_mm, flips)
        axis = _telling_axis(volume, place)
        cells.append((suspect, volume.panel(axis, place[axis]), volume.spot(axis, place)))
        path = folder / f"{suspect.rank:03d}_{suspect.case}.png"
        title = f"{suspect.rank}  {suspect.case}  {suspect.worst.class_name}: {suspect.worst.what}"
        write_overlay(
            path,
            image.array,
            reference,
            prediction,
            labels,
            image.geometry.spacing_mm,
            title,
            geometry=image.geometry,
            place=place,
        )
        yield path
    overview = folder / "overview.png"
    _write_overview(overview, cells, labels, f"{review.dataset}: labels to look at first")
    yield overview


def _telling_axis(volume: ShownVolume, place: tuple[int, int, int]) -> int:
    """Of the three slices through a place, the one in which label and prediction differ over the largest area."""
    if volume.prediction.shape[0] == 1:
        return 0
    assert volume.reference is not None
    areas = [
        float(np.prod([step for other, step in enumerate(volume.spacing_mm) if other != axis]))
        * int((volume.reference.take(at, axis) != volume.prediction.take(at, axis)).sum())
        for axis, at in enumerate(place)
    ]
    return int(np.argmax(areas))


def _write_overview(
    path: Path, cells: Sequence[tuple[Suspect, Panel, tuple[int, int]]], labels: LabelSchema, title: str
) -> None:
    """Panels in rows of four, each with its place marked, and a legend below."""
    rows = math.ceil(len(cells) / _COLUMNS)
    width = _COLUMNS * _CELL_INCHES + MARGIN_INCHES
    cell_height = _PANEL_INCHES + _CAPTION_INCHES + MARGIN_INCHES
    names = short_names(labels.class_names)
    num_rows = legend_rows(names, width)
    height = _TITLE_INCHES + rows * cell_height + (num_rows + 0.6) * LEGEND_ROW_INCHES
    figure = new_figure(width, height)
    write_text(figure, MARGIN_INCHES, height - 0.25, title, points=FONT_POINTS + 4)
    how = "fill: prediction by a network that has not seen the case, lines: label, circle: where they disagree most"
    write_text(figure, MARGIN_INCHES, height - 0.52, how)
    for number, (suspect, panel, spot) in enumerate(cells):
        row, column = divmod(number, _COLUMNS)
        left = MARGIN_INCHES + column * _CELL_INCHES
        top = height - _TITLE_INCHES - row * cell_height
        _draw_cell(figure, left, top, suspect, panel, spot, labels)
    add_legend(figure, names)
    save_figure(figure, path)


def _draw_cell(
    figure: Figure, left: float, top: float, suspect: Suspect, panel: Panel, spot: tuple[int, int], labels: LabelSchema
) -> None:
    """One case, its panel as large as the cell allows, its caption below."""
    width, height = figure.get_size_inches()
    inches_per_mm = _PANEL_INCHES / max(panel.size_mm)
    tall, wide = (size * inches_per_mm for size in panel.size_mm)
    bottom = top - (_PANEL_INCHES + tall) / 2
    middle = left + (_CELL_INCHES - MARGIN_INCHES) / 2
    axes = figure.add_axes(((middle - wide / 2) / width, bottom / height, wide / width, tall / height))
    draw_panel(axes, panel, labels, 1.0)
    axes.plot(spot[1], spot[0], "o", markersize=_SPOT_POINTS, fillstyle="none", color=TEXT_COLOUR)
    worst = suspect.worst
    lines = [
        f"{suspect.rank}. {', '.join(filter(None, (suspect.case, panel.caption)))}",
        f"{worst.class_name}, Dice {worst.disagreement.dice:.2f}",
        *textwrap.wrap(worst.what, _CAPTION_CHARACTERS),
    ]
    for number, line in enumerate(lines[:_CAPTION_LINES]):
        below = top - _PANEL_INCHES - _LINE_INCHES * (number + 1)
        text = textwrap.shorten(line, _CAPTION_CHARACTERS, placeholder=" …")
        write_text(figure, left, below, text, points=_CAPTION_POINTS)
