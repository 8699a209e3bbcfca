"""A trained model at work: a case in, its label map out."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from autounet.data.io import Image
from autounet.errors import RequestError
from autounet.geometry import Array, Shape3
from autounet.inference.cascade import first_stage_of, input_channels, swapped_inputs, with_earlier
from autounet.inference.constant import without_rounding
from autounet.inference.export import CaseLogits, export_case
from autounet.inference.sliding_window import SlidingWindow, Tell
from autounet.laterality import swapped_channels
from autounet.models.folder import ModelRecord, finished_folds, fold_folder, load_network
from autounet.networks.base import SegmentationNetwork
from autounet.networks.layout import set_fast_layout
from autounet.plans import Configuration, Plan
from autounet.preprocessing.case import CaseProperties, PreparedCase, prepare_case, prepared_shape
from autounet.training.config import PrecisionName
from autounet.training.precision import Precision, choose_precision, fitting

# Voxels that a CPU, or a GPU, works on at once: large enough to be efficient, small enough for its memory.
_CPU_BATCH_VOXELS = 2**20
_GPU_BATCH_VOXELS = 2**23
# Logits stay on a GPU if they take no more than this share of what is free there; the network needs some too.
_SHARE_FOR_RESULTS = 0.5


@dataclass(frozen=True)
class WindowOptions:
    """What a user may choose of how a network is moved over an image.

    Attributes:
        mirror: Predict every mirror image too, and average.
        overlap: Of neighbouring tiles, at least this share; from 0 to below 1.
        accumulate: What tiles are added up in.
        skip: Compute tiles in which nothing varies once.
    """

    mirror: bool = True
    overlap: float = 0.5
    accumulate: torch.dtype = torch.float32
    skip: bool = True

    def __post_init__(self) -> None:
        """Check the overlap.

        Raises:
            RequestError: It is out of range.
        """
        if not 0 <= self.overlap < 1:
            raise RequestError(f"--overlap {self.overlap:g}: give a share of the tile from 0 to below 1, as 0.5")


@dataclass(frozen=True)
class Predictor:
    """The networks of one or more folds, and how they were planned. Threads may share it.

    Attributes:
        plan: The dataset's plan.
        configuration: What the networks were trained as.
        networks: Their logits are averaged.
        window: How they are moved over an image.
        device: Where they are.
        first: The first stage of a cascade, whose mask is a further input; `None` where there is none, or where masks
            are given.
        untried: A faster number format, which the masks must be seen to bear before it is used
            (`autounet.inference.trial`).
    """

    plan: Plan
    configuration: Configuration
    networks: tuple[SegmentationNetwork, ...]
    window: SlidingWindow
    device: torch.device
    first: Predictor | None = None
    untried: Precision | None = None

    @classmethod
    def load(
        cls,
        model: Path,
        *,
        folds: Sequence[str] | None = None,
        device: torch.device,
        precision: Precision | None = None,
        mirror: bool = True,
        options: WindowOptions | None = None,
    ) -> Predictor:
        """Load a model folder; of a cascade's second stage, all finished folds of the first with it.

        Args:
            model: The folder with `fold_0` and so on.
            folds: Which folds; all that are finished by default.
            device: Where to predict.
            precision: Number format; by default the one that the device is fast in. Unless it was asked for, a model
                that was trained in float32 on demand stays with that, and one that was not trained here until
                another is tried.
            mirror: Predict every mirror image too, and average.
            options: All that may be chosen, instead of `mirror`.

        Raises:
            RequestError: No finished fold, or one that is missing or damaged.
        """
        records = finished_folds(model)
        chosen = list(records) if folds is None else list(folds)
        missing = [fold for fold in chosen if fold not in records]
        if missing or not chosen:
            raise RequestError(
                f"{model} has no finished fold {', '.join(missing) or 'at all'}; "
                f"finished: {', '.join(records) or 'none'}"
            )
        drawing = [fold for fold in chosen if records[fold].diffusion is not None]
        if drawing:
            raise RequestError(
                f"{model} draws images and segments none: autounet sample {model} -i LABELMAPS -o IMAGES"
            )
        networks = tuple(load_network(fold_folder(model, records[name].fold), records[name], device) for name in chosen)
        record = _with_common_mirrors([records[name] for name in chosen])
        precision = precision or prediction_precision(device)
        found = first_stage_of(model, record)
        first = None
        if found is not None:
            first = cls.load(found, device=device, precision=precision, mirror=mirror, options=options)
        begun, untried = _begun_in(record, fitting(networks[0], device, precision))
        predictor = cls.of(record, networks, device=device, precision=begun, mirror=mirror, options=options)
        predictor.lay_out()
        return replace(predictor, first=first, untried=untried)

    @classmethod
    def of(
        cls,
        record: ModelRecord,
        networks: tuple[SegmentationNetwork, ...],
        *,
        device: torch.device,
        precision: Precision | None = None,
        mirror: bool = True,
        options: WindowOptions | None = None,
    ) -> Predictor:
        """A predictor of networks in memory."""
        chosen = options or WindowOptions(mirror=mirror)
        precision = precision or prediction_precision(device)
        patch = record.configuration.patch_size
        mirrors = record.mirroring
        budget = _CPU_BATCH_VOXELS if device.type == "cpu" else _GPU_BATCH_VOXELS
        window = SlidingWindow(
            tile=patch,
            mirror_axes=mirrors.axes if chosen.mirror else (),
            precision=precision,
            step=1 - chosen.overlap,
            batch_size=max(1, int(budget // np.prod(patch))),
            swap_axis=mirrors.swap_axis,
            swapped_channels=swapped_channels(record.plan.labels, mirrors.pairs),
            swapped_inputs=swapped_inputs(record.plan, record.configuration, mirrors.pairs),
            accumulate=chosen.accumulate,
            skip=chosen.skip,
            halo=record.configuration.network.halo,
            divisor=record.configuration.network.divisor,
        )
        return cls(record.plan, record.configuration, networks, window, device)

    def lay_out(self) -> None:
        """Give the networks the memory layout that is fastest; not while they are trained."""
        for network in self.networks:
            set_fast_layout(network, self.device, self.window.precision.dtype)

    def in_precision(self, precision: Precision) -> Predictor:
        """The same predictor in a number format, for good; its networks are laid out for it."""
        predictor = replace(self, window=replace(self.window, precision=precision), untried=None)
        predictor.lay_out()
        return predictor

    def predict(self, image: Image, earlier: Array | None = None) -> npt.NDArray[Any]:
        """The label map of a raw image.

        Args:
            image: `(C, Z, Y, X)` with its geometry, as a reader gives it.
            earlier: The first stage's mask `(Z, Y, X)` in the same frame, for the second stage of a cascade; predicted
                by `first` if not given.

        Returns:
            `(Z, Y, X)`, uint8 or uint16, in the frame of the image.

        Raises:
            RequestError: The image does not fit the model.
        """
        return export_case([self.case_logits(self.prepare(image, earlier))])

    def prepare(self, image: Image, earlier: Array | None = None) -> PreparedCase:
        """A raw image as the networks see it, and the mask of the stage before, if any, on the same grid.

        Raises:
            RequestError: The image does not fit the model.
        """
        prepared = self.prepare_image(image)
        if earlier is None and self.first is not None:
            earlier = self.first.predict(image)
        return prepared if earlier is None else with_earlier(prepared, earlier, self.plan)

    def prepare_image(self, image: Image) -> PreparedCase:
        """A raw image as the networks see it, without the mask of a stage before.

        Raises:
            RequestError: The image does not fit the model.
        """
        num_broken = int(np.count_nonzero(~np.isfinite(image.array)))
        if num_broken:
            raise RequestError(f"{num_broken} voxels are NaN or infinite; every voxel needs a value to be predicted")
        return prepare_case(image, None, self.plan, self.configuration)

    def first_shape(self, properties: CaseProperties) -> Shape3 | None:
        """Shape in which the first stage of a cascade sees a case that was prepared; `None` where there is none."""
        if self.first is None:
            return None
        return prepared_shape(properties.crop, properties.spacing_mm, self.first.configuration)

    def case_logits(self, prepared: PreparedCase, tell: Tell | None = None) -> CaseLogits:
        """What the networks say of a prepared case; `tell` is called after every batch of tiles."""
        logits = self.logits(input_channels(prepared, self.plan), tell)
        return CaseLogits(logits, prepared.properties, self.plan)

    def logits(self, prepared: npt.NDArray[np.float32], tell: Tell | None = None) -> npt.NDArray[Any]:
        """Logits `(K, Z, Y, X)` of a network's input `(C, Z, Y, X)`, in what they were added up in."""
        tensor = torch.from_numpy(np.ascontiguousarray(prepared, dtype=np.float32)).to(self.device)
        if self.window.skip:
            tensor = without_rounding(tensor)
        host = torch.device("cpu")
        on = self.device if self.results_bytes(prepared.shape[1:]) <= _bytes_for_results(self.device) else host
        try:
            result = self.window.logits(self.networks, tensor, results_on=on, tell=tell)
        except torch.OutOfMemoryError:
            # The least that there is to hold beside the networks: one tile, and results on the host.
            torch.cuda.empty_cache()
            frugal = replace(self.window, batch_size=1)
            result = frugal.logits(self.networks, tensor, results_on=host, tell=tell)
        return result.cpu().numpy()

    def results_bytes(self, shape: Sequence[int]) -> int:
        """What the logits of a prepared image of this spatial shape take."""
        num_voxels = int(np.prod(self.window.padded_shape(shape)))
        return num_voxels * self.plan.labels.num_outputs * self.window.accumulate.itemsize

    def prune(self, depth: int) -> None:
        """Leave out what lies deeper in the networks.

        Raises:
            RequestError: They cannot be pruned, or not so.
        """
        for network in self.networks:
            network.prune(depth)

    def without_mirrors(self) -> Predictor:
        """The same predictor, faster and a little less exact."""
        return replace(self, window=replace(self.window, mirror_axes=()))

    def num_views(self, shape: Sequence[int]) -> int:
        """Tiles and mirrors of a prepared image of this shape `(Z, Y, X)`; fewer are computed if some are skipped."""
        return self.window.num_tiles(shape) * self.window.num_mirrors

    def seconds_per_view(self, num_channels: int) -> float:
        """Measured seconds for one tile, in batches as in a prediction."""
        batch = self.window.batch_size
        tiles = torch.zeros(batch, num_channels, *self.window.tile, device=self.device)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            with torch.inference_mode(), self.window.precision.autocast(self.device):
                for network in self.networks:
                    network(tiles)[0].cpu()
            seconds.append(time.perf_counter() - start)
        return min(seconds) / batch


def _with_common_mirrors(records: Sequence[ModelRecord]) -> ModelRecord:
    """The first record with those mirror axes that all folds were trained with, in the same way."""
    first = records[0].mirroring
    others = [record.mirroring for record in records[1:]]
    common = [
        axis
        for axis in first.axes
        if all(axis in other.axes and (axis == other.swap_axis) == (axis == first.swap_axis) for other in others)
    ]
    return records[0].model_copy(update={"mirror_axes": tuple(common)})


def _begun_in(record: ModelRecord, fast: Precision) -> tuple[Precision, Precision | None]:
    """The number format that a model begins in, and the faster one that is to be tried, if there is one."""
    if fast.is_asked or fast.dtype == torch.float32:
        return fast, None
    exact = Precision(torch.float32, "until a faster format is tried")
    if record.origin is not None:
        return exact, fast
    return (exact if record.config.precision == "float32" else fast), None


def prediction_precision(device: torch.device, name: PrecisionName = "auto") -> Precision:
    """The number format to predict in; a CPU without units for bfloat16 need not be timed."""
    if name != "auto":
        return choose_precision(name, device)
    has_units = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # of x86; newer than the oldest PyTorch
    if device.type == "cpu" and platform.machine() in ("x86_64", "AMD64") and has_units and not has_units():
        return Precision(torch.float32, "the CPU has no units for bfloat16")
    return choose_precision("auto", device)


def _bytes_for_results(device: torch.device) -> float:
    """What logits may take on a device, so that the network has room."""
    return _SHARE_FOR_RESULTS * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
