"""The Python interface: predict arrays and files in a program of one's own.

from autounet import Predictor
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from autounet.data.dataset import RawCase, find_cases
from autounet.data.io import Image, known_ending, label_ending
from autounet.errors import DataError, RequestError, UnlikeInputWarning
from autounet.evaluation.finish import Finish
from autounet.inference.cases import OutputOptions, predict_cases
from autounet.inference.export import export_case
from autounet.inference.predictor import Predictor as ModelPredictor
from autounet.inference.predictor import prediction_precision
from autounet.inference.trial import settle_on_first, settled
from autounet.inference.unlike import TrainingLooks, Watch
from autounet.models.best import read_finish
from autounet.models.folder import model_and_folds
from autounet.training.config import PrecisionName
from autounet.training.device import choose_device

_LOG = logging.getLogger(__name__)
_CHANNEL = "_0000"


class Predictor:
    """A trained model, loaded once, that predicts as often as is asked.

    It starts no processes, and several threads may use one at the same time.

    Args:
        model: A model folder, or the folder of one of its folds.
        folds: Names of the folds to average (`"0"`, `"all"`); all that are trained by default.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        mirror: Average over mirror images, as far as training mirrored; slower, a little better.
        precision: `auto`, `float32`, `bfloat16` or `float16`; `auto` is what the device is fast in, for a model that
            was not trained here only if the first image's mask bears it.
        postprocess: Use the thresholds and components rule that `find_best` decided for the model, if it did.
        compare: Compare every image with those that the model was trained on, and warn of what is unlike
            (`UnlikeInputWarning`).

    Raises:
        RequestError: The folder is no whole model, or has no such fold or device.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        folds: Sequence[str] | None = None,
        device: str = "auto",
        mirror: bool = True,
        precision: PrecisionName = "auto",
        postprocess: bool = True,
        compare: bool = True,
    ) -> None:
        folder, its_folds = model_and_folds(Path(model))
        chosen = folds or its_folds
        self._finish = (read_finish(folder) if postprocess else None) or Finish()
        found = choose_device(device)
        self._predictor = ModelPredictor.load(
            folder, folds=chosen, device=found, precision=prediction_precision(found, precision), mirror=mirror
        )
        self._settling = threading.Lock()
        self._looks = TrainingLooks.of_model(folder, chosen) if compare else None

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        folds: Sequence[str] | None = None,
        device: str = "auto",
        mirror: bool = True,
        precision: PrecisionName = "auto",
        postprocess: bool = True,
        compare: bool = True,
    ) -> Predictor:
        """The same as calling the class."""
        return cls(
            model,
            folds=folds,
            device=device,
            mirror=mirror,
            precision=precision,
            postprocess=postprocess,
            compare=compare,
        )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """What the channels of an image must be, in their order."""
        return tuple(channel.name for channel in self._predictor.plan.channels)

    @property
    def labels(self) -> Mapping[str, tuple[int, ...]]:
        """The values in a label map that show each class; of a region there are several."""
        return MappingProxyType({entry.name: entry.values for entry in self._predictor.plan.labels.classes})

    def predict(self, array: npt.ArrayLike, spacing_mm: Sequence[float] | None = None) -> npt.NDArray[Any]:
        """The label map of an image in memory.

        Args:
            array: `(Y, X)` or `(C, Y, X)` with two voxel sizes, `(Z, Y, X)` or `(C, Z, Y, X)` with three.
            spacing_mm: Voxel size `(y, x)` or `(z, y, x)`, in the order of the array's axes. Without it voxels
                measure 1 mm, and an array of three axes is a volume.

        Returns:
            `(Y, X)` or `(Z, Y, X)`, uint8 or uint16, on the image's own grid.

        Raises:
            RequestError: The array is no image, or not one that the model takes.

        Warns:
            UnlikeInputWarning: The image is unlike the training data; where its axes run is not known of an array.
        """
        image = Image.from_array(array, spacing_mm)
        if self._looks is not None:
            _warn(Watch(self._looks.without_axes).look("the image", image))
        with self._settling:
            self._predictor = settled(self._predictor, image, "the image", _LOG.info)
        logits = self._predictor.case_logits(self._predictor.prepare(image))
        label = export_case([logits], offsets=self._finish.offsets(self._predictor.plan.labels))
        label = self._finish.postprocessing.apply(label)
        return label[0] if image.geometry.num_spatial_dims == 2 else label

    def predict_files(self, inputs: str | Path | Sequence[Path | Sequence[Path]], output: str | Path) -> list[Path]:
        """Write the label maps of image files into a folder, each at its image's place in space.

        Args:
            inputs: A folder of images, named as in `imagesTr`; or a list, with a file for each case, or its files,
                one a channel.
            output: The folder; masks are called after the images, without the number of the channel.

        Returns:
            The masks, in the order of the cases.

        Raises:
            RequestError: Two of the inputs have one name, or nothing can be read by that ending.
            DataError: Some cases cannot be read or do not fit the model; all others were predicted.

        Warns:
            UnlikeInputWarning: A case is unlike the training data; one for each that is.
        """
        plan, folder = self._predictor.plan, Path(output)
        if isinstance(inputs, (str, Path)):
            cases = find_cases(Path(inputs), plan.file_ending, len(plan.channels))
        else:
            cases = tuple(_case(entry) for entry in inputs)
        names = [case.name for case in cases]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise RequestError(f"two of the inputs are called {repeated}; their masks would be one file. Rename one.")
        watch = None if self._looks is None else Watch(self._looks)
        options = OutputOptions(finish=self._finish, watch=watch)
        with self._settling:
            (self._predictor,) = settle_on_first([self._predictor], cases, _LOG.info)
        failures = predict_cases([(self._predictor,)], cases, folder, options)
        if watch is not None:
            for name in names:
                _warn(watch.told(name))
        if failures:
            title = f"{folder} (the other {len(cases) - len(failures)} cases were predicted)"
            raise DataError(title, [failure.problem for failure in failures])
        return [folder / f"{name}{label_ending(plan.file_ending)}" for name in names]


def _warn(unlike: str | None) -> None:
    """Warn the caller of a method of the predictor, if there is something to tell."""
    if unlike is not None:
        warnings.warn(unlike, UnlikeInputWarning, stacklevel=3)


def _case(entry: Path | Sequence[Path]) -> RawCase:
    files = (entry,) if isinstance(entry, (str, Path)) else entry
    paths = tuple(Path(file) for file in files)
    if not paths:
        raise RequestError("one of the inputs is an empty list: give a file, or a file for each channel")
    ending = known_ending(paths[0].name)
    if ending is None:
        raise RequestError(f"{paths[0]}: no reader knows this ending")
    return RawCase(name=paths[0].name[: -len(ending)].removesuffix(_CHANNEL), images=paths)
