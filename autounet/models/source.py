"""Weights to start from: what a path names, read and described."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from autounet.errors import RequestError
from autounet.models.folder import FoldName, ModelRecord, fold_folder, record_path
from autounet.models.integrity import require_intact
from autounet.plans import Configuration
from autounet.training.checkpoint import load_tensors, without_prefix
from autounet.training.ports import Ports
from autounet.training.transfer import Source

_WEIGHTS, _CHECKPOINT = "weights.safetensors", "checkpoint.safetensors"
_FORMS = "a model folder, a fold's folder, or a file weights.safetensors or checkpoint.safetensors"


@dataclass(frozen=True)
class StartingPoint:
    """A trained network to start from.

    Attributes:
        source: Its weights, and what goes in and comes out.
        record: Of the run that trained it; `None` where no `model.json` lies beside the weights.
    """

    source: Source
    record: ModelRecord | None

    def shape(self, configuration: Configuration) -> Configuration:
        """The configuration with the source's network, so that all of it can be taken over.

        The patch keeps its size, or gets the nearest that the network can pool. Without a record, and where the number
        of axes differs, nothing changes.
        """
        if self.record is None:
            return configuration
        network = self.record.configuration.network
        if network.num_spatial_dims != configuration.num_spatial_dims:
            return configuration
        patch = network.nearest_size(configuration.patch_size)
        return configuration.model_copy(update={"network": network, "patch_size": patch})


def read_starting_point(path: Path, fold: FoldName) -> StartingPoint:
    """Read what `--from` names.

    Args:
        path: A model folder, a fold's folder, or a file of weights or a checkpoint. Of a checkpoint, the averaged
            weights are taken where it has them.
        fold: Of the run to come; of a model folder, the fold of that name is taken, else `all`, else its only one.

    Raises:
        RequestError: There are no such weights, or they are damaged.
    """
    file = _file(path, fold)
    tensors, _ = load_tensors(file)
    weights = _weights(tensors)
    if not weights:
        raise RequestError(f"{file} holds no weights. --from takes {_FORMS}.")
    beside = record_path(file.parent)
    record = ModelRecord.read(beside) if beside.exists() else None
    if record is not None and record.is_closed:
        require_intact(file.parent)
    ports = Ports.of(record.plan, record.configuration) if record else None
    return StartingPoint(Source(str(file), weights, ports), record)


def _weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights among the tensors of a file; of a checkpoint those that would be stored if it ended there."""
    network = without_prefix("network", tensors)
    return {**network, **without_prefix("average", tensors)} if network else tensors


def _file(path: Path, fold: FoldName) -> Path:
    if path.is_file():
        if path.suffix != ".safetensors":
            raise RequestError(
                f"{path} is no .safetensors file, and pickled weights are not loaded. --from takes {_FORMS}."
            )
        return path
    if not path.exists():
        raise RequestError(f"{path} does not exist. --from takes {_FORMS}.")
    folder = path if _weights_file(path) else _fold(path, fold)
    file = _weights_file(folder)
    assert file is not None
    return file


def _weights_file(folder: Path) -> Path | None:
    """The final weights of a fold, else those of its last checkpoint."""
    return next((folder / name for name in (_WEIGHTS, _CHECKPOINT) if (folder / name).is_file()), None)


def _fold(model: Path, fold: FoldName) -> Path:
    """The fold of a model folder to start from."""
    folds = [folder for folder in sorted(model.glob("fold_*")) if _weights_file(folder)]
    if not folds:
        raise RequestError(f"{model} holds no trained fold. --from takes {_FORMS}.")
    for wanted in (fold_folder(model, fold), fold_folder(model, "all")):
        if wanted in folds:
            return wanted
    if len(folds) > 1:
        listing = "\n".join(f"  --from {folder}" for folder in folds)
        raise RequestError(f"{model} has no fold {fold}, but {len(folds)} others; choose one:\n{listing}")
    return folds[0]
