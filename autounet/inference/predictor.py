"""A trained model at work: a case in, its label map out."""

from __future__ import annotations

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
from autounet.geometry import Array
from autounet.inference.cascade import first_stage_of, input_channels, swapped_inputs, with_earlier
from autounet.inference.export import export_label
from autounet.inference.sliding_window import SlidingWindow
from autounet.inference.tiles import tile_origins
from autounet.laterality import swapped_channels
from autounet.models.folder import ModelRecord, finished_folds, fold_folder, load_network
from autounet.networks.blocks import SegmentationNetwork
from autounet.plans import Configuration, Plan
from autounet.preprocessing.case import prepare_case
from autounet.training.precision import Precision, choose_precision

# Voxels that a CPU, or a GPU, works on at once: large enough to be efficient, small enough for its memory.
_CPU_BATCH_VOXELS = 4 * 2**17
_GPU_BATCH_VOXELS = 2**23


@dataclass(frozen=True)
class Predictor:
    """The networks of one or more folds, and how they were planned.

    Attributes:
        plan: The dataset's plan.
        configuration: What the networks were trained as.
        networks: Their logits are averaged.
        window: How they are moved over an image.
        device: Where they are.
        first: The first stage of a cascade, whose mask is a further input; `None` where there is none, or where masks
            are given.
    """

    plan: Plan
    configuration: Configuration
    networks: tuple[SegmentationNetwork, ...]
    window: SlidingWindow
    device: torch.device
    first: Predictor | None = None

    @classmethod
    def load(
        cls,
        model: Path,
        *,
        folds: Sequence[str] | None = None,
        device: torch.device,
        precision: Precision | None = None,
        mirror: bool = True,
    ) -> Predictor:
        """Load a model folder; of a cascade's second stage, all finished folds of the first with it.

        Args:
            model: The folder with `fold_0` and so on.
            folds: Which folds; all that are finished by default.
            device: Where to predict.
            precision: Number format; by default the one that the device is fast in.
            mirror: Predict every mirror image too, and average.

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
        networks = tuple(load_network(fold_folder(model, records[name].fold), records[name], device) for name in chosen)
        record = _with_common_mirrors([records[name] for name in chosen])
        found = first_stage_of(model, record)
        first = cls.load(found, device=device, precision=precision, mirror=mirror) if found else None
        predictor = cls.of(record, networks, device=device, precision=precision, mirror=mirror)
        return replace(predictor, first=first)

    @classmethod
    def of(
        cls,
        record: ModelRecord,
        networks: tuple[SegmentationNetwork, ...],
        *,
        device: torch.device,
        precision: Precision | None = None,
        mirror: bool = True,
    ) -> Predictor:
        """A predictor of networks in memory."""
        patch = record.configuration.patch_size
        mirrors = record.mirroring
        budget = _CPU_BATCH_VOXELS if device.type == "cpu" else _GPU_BATCH_VOXELS
        window = SlidingWindow(
            tile=patch,
            mirror_axes=mirrors.axes if mirror else (),
            precision=precision or choose_precision("auto", device),
            batch_size=max(1, int(budget // np.prod(patch))),
            swap_axis=mirrors.swap_axis,
            swapped_channels=swapped_channels(record.plan.labels, mirrors.pairs),
            swapped_inputs=swapped_inputs(record.plan, record.configuration, mirrors.pairs),
        )
        return cls(record.plan, record.configuration, networks, window, device)

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
        num_broken = int(np.count_nonzero(~np.isfinite(image.array)))
        if num_broken:
            raise RequestError(f"{num_broken} voxels are NaN or infinite; every voxel needs a value to be predicted")
        prepared = prepare_case(image, None, self.plan, self.configuration)
        if earlier is None and self.first is not None:
            earlier = self.first.predict(image)
        if earlier is not None:
            prepared = with_earlier(prepared, earlier, self.plan)
        return export_label(self.logits(input_channels(prepared, self.plan)), prepared.properties, self.plan)

    def logits(self, prepared: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits `(K, Z, Y, X)` of a prepared image `(C, Z, Y, X)`."""
        tensor = torch.from_numpy(np.ascontiguousarray(prepared, dtype=np.float32)).to(self.device)
        result: npt.NDArray[np.float32] = self.window.logits(self.networks, tensor).cpu().numpy()
        return result

    def without_mirrors(self) -> Predictor:
        """The same predictor, faster and a little less exact."""
        return replace(self, window=replace(self.window, mirror_axes=()))

    def num_views(self, shape: Sequence[int]) -> int:
        """Tiles and mirrors that the networks see for a prepared image of this shape `(Z, Y, X)`."""
        tile = self.window.tile
        spatial = shape[len(shape) - len(tile) :]
        padded = [max(size, edge) for size, edge in zip(spatial, tile, strict=True)]
        slices = int(np.prod(shape[: len(shape) - len(tile)]))
        mirrors: int = 2 ** len(self.window.mirror_axes)
        return len(tile_origins(padded, tile, self.window.step)) * slices * mirrors

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
