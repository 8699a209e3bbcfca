"""Compares the cases of a prediction with the training data, and keeps what was found beside the masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.errors import DataError
from autounet.progress import Reporter

if TYPE_CHECKING:
    from autounet.data.dataset import RawCase
    from autounet.inference.unlike import Watch


@contextmanager
def watching(
    models: Sequence[tuple[Path, Sequence[str] | None]], folds: Sequence[str] | None, output: Path, reporter: Reporter
) -> Iterator[Watch]:
    """What compares cases with the training data of the first model; what it found is written, come what may.

    Args:
        models: Their folders, each with the folds that are meant.
        folds: The folds of all, instead.
        output: Gets `predictions.json`.
        reporter: Told where the model knows little of its training images, and where nothing can be written.
    """
    from autounet.inference.predictions import PREDICTIONS, write_predictions
    from autounet.inference.unlike import TrainingLooks, Watch

    path, own_folds = models[0]
    looks = TrainingLooks.of_model(path, folds or own_folds)
    if looks.is_coarse:
        reporter.say(
            f"{path} knows little of its training images (imported, or trained before they were measured), so only "
            "voxel size, extent and the range of intensities are compared with them"
        )
    watch = Watch(looks)
    try:
        yield watch
    finally:
        try:
            write_predictions(output, [folder for folder, _ in models], watch.found, is_coarse=looks.is_coarse)
        except OSError as error:  # which must not hide what else went wrong
            reporter.say(f"{output / PREDICTIONS} cannot be written ({error.strerror})")


def require_alike(watch: Watch, cases: Sequence[RawCase], images: Path, reporter: Reporter) -> None:
    """Refuse cases that are unlike the training data, before anything is predicted.

    Raises:
        DataError: There are some.
    """
    from autounet.inference.unlike import unlike_problems

    problems = unlike_problems(watch, cases, reporter)
    if problems:
        count = len({problem.case for problem in problems})
        raise DataError(
            f"{images} ({count} of {len(cases)} cases are unlike the training data, so nothing was predicted; without "
            "--strict all are)",
            problems,
        )
