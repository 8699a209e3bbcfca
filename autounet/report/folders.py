"""Pictures of a folder of predictions."""

from __future__ import annotations

from pathlib import Path

from autounet.data.dataset import find_cases
from autounet.data.description import DatasetDescription
from autounet.data.io import label_ending, read_image, read_label
from autounet.progress import SILENT, Reporter
from autounet.report.overlay import write_overlay


def draw_overlays(
    output: Path, images: Path, predictions: Path, references: Path | None = None, *, reporter: Reporter = SILENT
) -> tuple[Path, ...]:
    """Draw every predicted case as a PNG.

    Args:
        output: Folder for the pictures.
        images: Folder of images, named as in `imagesTs`.
        predictions: Folder of masks, with the `dataset.json` that `predict` leaves there.
        references: Folder of reference masks, if there are any.
        reporter: Shows the progress.

    Returns:
        The pictures.

    Raises:
        RequestError: A file is missing or cannot be read.
    """
    description = DatasetDescription.load(predictions)
    cases = find_cases(images, description.file_ending, description.num_channels)
    paths = []
    for case in reporter.track(cases, "draw", len(cases)):
        image = read_image(case.images, description.num_channels)
        name = f"{case.name}{label_ending(description.file_ending)}"
        prediction, _ = read_label(predictions / name)
        reference = None if references is None else read_label(references / name)[0]
        path = output / f"{case.name}.png"
        spacing_mm, labels = image.geometry.spacing_mm, description.labels
        write_overlay(path, image.array, reference, prediction, labels, spacing_mm, case.name, geometry=image.geometry)
        paths.append(path)
    return tuple(paths)
