"""Draw new images for given label maps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autounet.errors import RequestError
from autounet.progress import SILENT, Reporter, duration
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.data.io import Image
    from autounet.inference.drawing import Drawer, DrawOptions
    from autounet.models.folder import ModelRecord

OVERVIEW_FILE = "overview.png"
_MAX_ROWS, _MAX_COLUMNS = 8, 6
IMAGES_FOLDER, LABELS_FOLDER = "imagesTr", "labelsTr"


@dataclass(frozen=True)
class Sampled:
    """What `sample` made.

    Attributes:
        folder: Holds `imagesTr` and `labelsTr`, named as in a dataset.
        names: Of all its cases.
        drawn: Those of them that were not there before.
        overview: A picture of some of these; `None` where there are none.
    """

    folder: Path
    names: tuple[str, ...]
    drawn: tuple[str, ...]
    overview: Path | None


def sample(
    workspace: Workspace,
    model: str,
    label_maps: Path,
    output: Path,
    *,
    fold: str | None = None,
    copies: int = 1,
    options: DrawOptions | None = None,
    device: str = "auto",
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> Sampled:
    """Draw images for label maps.

    Args:
        workspace: Where models are.
        model: A model folder, or the dataset whose model that draws is meant.
        label_maps: Folder of label maps, in the dataset's format.
        output: For `imagesTr/NAME_drawnN_0000...` and `labelsTr/NAME_drawnN...`, which can join a dataset's.
        fold: Which fold's network; the first that is trained by default.
        copies: Images for each label map.
        options: How to draw.
        device: Where.
        overwrite: Draw cases that are there again.
        reporter: Shows the progress.

    Raises:
        RequestError: There is no such model, it draws no images, or a label map does not fit it.
    """
    from autounet.data.io import label_ending
    from autounet.inference.drawing import Drawer
    from autounet.inference.drawing import DrawOptions as Options
    from autounet.training.device import choose_device

    options = options or Options()
    drawer = Drawer.load(_model_folder(workspace, model), fold, choose_device(device))
    ending = label_ending(drawer.record.plan.file_ending)
    cases = [
        _Case(path, f"{path.name.removesuffix(ending)}_drawn{copy}")
        for path in _label_maps(label_maps, ending)
        for copy in range(copies)
    ]
    waiting = [case for case in cases if overwrite or not (output / LABELS_FOLDER / f"{case.name}{ending}").exists()]
    shown: dict[Path, list[Image]] = {}
    step = _told_steps(len(waiting), options.steps, reporter)
    for case in waiting:
        image = _draw(drawer, case, output, options, step)
        if case.path in shown or len(shown) < _MAX_ROWS:
            shown.setdefault(case.path, []).append(image)
    overview = _write_overview(output / OVERVIEW_FILE, shown, drawer.record, options) if shown else None
    return Sampled(output, tuple(case.name for case in cases), tuple(case.name for case in waiting), overview)


@dataclass(frozen=True)
class _Case:
    """A label map, and the name of what is drawn for it."""

    path: Path
    name: str


def _told_steps(num_images: int, num_steps: int, reporter: Reporter) -> Callable[[], None]:
    """What is to be called after every step of every image: it shows the progress, and soon how long all takes."""
    total, started = num_images * num_steps, time.perf_counter()
    done = iter(reporter.track(range(total), "draw", total) if total else ())
    next(done, None)

    def tell() -> None:
        if next(done, total) == 1:
            seconds = (time.perf_counter() - started) * total
            many = f"{num_images} image{'s' * (num_images > 1)}"
            what = f"{many} at {num_steps} steps each"
            reporter.say(f"{what}: about {duration(seconds)}; stopped and run again, it goes on")

    return tell


def _draw(drawer: Drawer, case: _Case, output: Path, options: DrawOptions, tell: Callable[[], None]) -> Image:
    """Draw an image, and write it with its label map."""
    from autounet.data.doctor.writing import write_image
    from autounet.data.io import label_ending, read_label, write_label

    label, geometry = read_label(case.path)
    try:
        image = drawer.draw(label, geometry, options, case.name, tell)
    except RequestError as error:
        raise RequestError(f"{case.path}: {error}") from None
    ending = drawer.record.plan.file_ending
    files = _image_files(output, case.name, drawer.record)
    target = output / LABELS_FOLDER / f"{case.name}{label_ending(ending)}"
    for folder in (files[0].parent, target.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for file, channels in zip(files, np.array_split(image.array, len(files)), strict=True):
        write_image(file, channels, geometry)
    write_label(target, label, geometry)  # last: where it is, the image is whole
    return image


def _write_overview(
    path: Path, shown: Mapping[Path, Sequence[Image]], record: ModelRecord, options: DrawOptions
) -> Path:
    """A picture of label maps and what was drawn for them."""
    from autounet.data.io import read_label
    from autounet.report.drawn import DrawnCase, write_drawn

    rows = [
        DrawnCase(
            file.name,
            read_label(file)[0],
            tuple(image.array for image in images[:_MAX_COLUMNS]),
            images[0].geometry.spacing_mm,
        )
        for file, images in shown.items()
    ]
    title = f"{record.plan.dataset_name}: {options.steps} steps, guidance {options.guidance:g}, seed {options.seed}"
    write_drawn(path, rows, record.plan.labels, title)
    return path


def _model_folder(workspace: Workspace, model: str) -> Path:
    """The folder that is named, or the one of a dataset that draws."""
    from autounet.models.folder import find_drawing_model, model_and_folds

    if Path(model).is_dir():
        return model_and_folds(Path(model))[0]
    return find_drawing_model(workspace, workspace.find_dataset(model))


def _label_maps(folder: Path, ending: str) -> list[Path]:
    paths = sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []
    if not paths:
        raise RequestError(f"{folder} holds no label maps: no file ends in {ending}, the format of the model's dataset")
    return paths


def _image_files(output: Path, name: str, record: ModelRecord) -> list[Path]:
    """A file a channel; one for all where the dataset has it so, as with colours."""
    assert record.intensities is not None
    ending = record.plan.file_ending
    return [output / IMAGES_FOLDER / f"{name}_{index:04d}{ending}" for index in range(record.intensities.num_files)]
