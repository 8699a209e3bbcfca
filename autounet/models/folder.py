"""The folder of a trained model: weights without pickle, and a record that says all that prediction needs.

results/DATASET/PLANNER__NETWORK__CONFIGURATION/fold_0/
    model.json            the record; written when training starts, marked finished when it ends
    weights.safetensors   the final weights
    selftest.safetensors  a made-up input and some of its logits, to see that the network computes the same elsewhere
    checksums.json        sizes and SHA-256 of these files

In a model of two stages, the folder of the first lies inside, as `previous_stage/`.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from autounet import __version__
from autounet.diffusion.condition import num_masks
from autounet.diffusion.intensity import IntensityRange
from autounet.diffusion.options import DiffusionOptions, diffusion_options, resolved_objective
from autounet.errors import RequestError
from autounet.laterality import Mirroring, mirroring
from autounet.models.integrity import RECORD, WEIGHTS, require_intact, write_checksums
from autounet.models.selftest import SelfTest, write_self_test
from autounet.models.training_data import TrainingData
from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork
from autounet.plans import Configuration, Plan, file_label
from autounet.records import SCHEMA_VERSION, Record
from autounet.training.checkpoint import load_tensors, save_tensors
from autounet.training.config import FormatName, TrainConfig
from autounet.workspace import Workspace, dataset_number

FoldName = int | Literal["all"]
PREVIOUS_STAGE = "previous_stage"


class Origin(Record):
    """Where a model comes from that was not trained here.

    Attributes:
        program: What trained it.
        trainer: Its trainer's name.
        checkpoint: The file that was taken over.
        num_epochs: As far as it had been trained; `None` where nobody knows.
    """

    program: str
    trainer: str
    checkpoint: str
    num_epochs: int | None = None


class ModelRecord(Record):
    """A network trained on one fold.

    Attributes:
        autounet_version: What wrote it; likewise PyTorch's and Python's versions.
        plan: The dataset's plan.
        configuration: What was trained; patch, batch and width may have been sized to the time given, and its `time`
            says how.
        fold: Fold number, or `all`.
        mirror_axes: Spatial axes that training mirrored, so that prediction may.
        config: How it was trained.
        computed_in: The number format that its network was trained in; `None` where nobody noted it.
        finished: Whether training came to its end.
        stopped_by: Who ended it before its time; its weights are usable all the same. `None` where nobody did.
        validation_dice: Mean foreground Dice on the fold's validation cases.
        validation_loss: Mean loss on them, of a model that draws images.
        intensities: Of the images that it draws, likewise.
        class_dice: The same of each class; `None` for one that no validation case shows.
        training_data: What it was trained on; `None` where nobody knows.
        self_test: What came of the stored input.
        origin: Where it comes from, if it was not trained here.
        training_digest: Of the names of the cases it was trained on, so that nobody takes it for one that has not
            seen them; `None` in models from before there was such a thing.
        previous_model: Name of the first stage's model folder, in the second stage of a cascade; it lies beside.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    autounet_version: str = __version__
    torch_version: str = Field(default_factory=lambda: str(torch.__version__))
    python_version: str = Field(default_factory=platform.python_version)
    plan: Plan
    configuration: Configuration
    fold: FoldName
    mirror_axes: tuple[int, ...]
    config: TrainConfig
    computed_in: FormatName | None = None
    finished: bool = False
    stopped_by: str | None = None
    validation_dice: float | None = None
    class_dice: dict[str, float | None] = Field(default_factory=dict)
    validation_loss: float | None = None
    intensities: IntensityRange | None = None
    training_data: TrainingData | None = None
    self_test: SelfTest | None = None
    origin: Origin | None = None
    training_digest: str | None = None
    previous_model: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether its training ended, so that it has weights and checksums."""
        return self.finished or self.stopped_by is not None

    @property
    def diffusion(self) -> DiffusionOptions | None:
        """How it was trained to draw images; `None` where it segments."""
        return diffusion_options(resolved_objective(self.config.objective, self.configuration.network.name))

    @property
    def num_inputs(self) -> int:
        """Input channels of its network: image and masks."""
        if self.diffusion is None:
            return self.plan.num_inputs(self.configuration)
        return len(self.plan.channels) + num_masks(self.plan.labels)

    @property
    def num_outputs(self) -> int:
        """Output channels of its network: classes, or channels of an image."""
        return self.plan.labels.num_outputs if self.diffusion is None else len(self.plan.channels)

    @property
    def mirroring(self) -> Mirroring:
        """How training mirrored patches, so that prediction does the same."""
        dims = self.configuration.num_spatial_dims
        return mirroring(self.plan.laterality, self.config.laterality, self.mirror_axes, dims)


def model_folder(workspace: Workspace, plan: Plan, configuration: Configuration) -> Path:
    """Where the folds of a configuration lie."""
    network = file_label(plan.network or configuration.network.name)
    return workspace.results / plan.dataset_name / f"{plan.planner}__{network}__{configuration.name}"


def previous_stage_folder(model: Path, record: ModelRecord) -> Path | None:
    """The model folder of the first stage: inside the second's, where both were handed on as one, else beside it."""
    inside = model / PREVIOUS_STAGE
    if inside.is_dir():
        return inside
    return None if record.previous_model is None else model.parent / record.previous_model


def fold_folder(model: Path, fold: FoldName) -> Path:
    """Where one fold lies."""
    return model / f"fold_{fold}"


def record_path(fold: Path) -> Path:
    """The record of a fold."""
    return fold / RECORD


def save_weights(fold: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write the final weights."""
    save_tensors(fold / WEIGHTS, weights, {"format": "autounet"})


def seal_fold(fold: Path, record: ModelRecord) -> ModelRecord:
    """Close a fold whose weights are saved: its self-test, its record, and the checksums of all.

    Args:
        fold: Its folder.
        record: What is known of it.

    Returns:
        The record as it was written.
    """
    # From the file, so that the test is of what was stored.
    network = _stored_network(fold, record)
    self_test = write_self_test(
        fold,
        network,
        record.configuration,
        num_inputs=record.num_inputs,
        num_channels=len(record.plan.channels),
        labels=record.plan.labels if record.diffusion is None else None,
    )
    sealed = record.model_copy(update={"self_test": self_test})
    sealed.write(record_path(fold))
    write_checksums(fold)
    return sealed


def build_network(record: ModelRecord) -> SegmentationNetwork:
    """The network of a record, freshly initialised."""
    network = NETWORKS.find(record.configuration.network.name)
    return network(record.configuration.network, record.num_inputs, record.num_outputs)


def load_network(fold: Path, record: ModelRecord, device: torch.device) -> SegmentationNetwork:
    """The trained network of a fold, ready to predict.

    Raises:
        RequestError: A file of the fold is missing, damaged or was changed, or the weights are of another network.
    """
    require_intact(fold)
    return _stored_network(fold, record).to(device)


def _stored_network(fold: Path, record: ModelRecord) -> SegmentationNetwork:
    path = fold / WEIGHTS
    weights, _ = load_tensors(path)
    network = build_network(record)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise RequestError(f"{path} does not belong to the network in {record_path(fold)}: {error}") from None
    return network.eval()


def finished_folds(model: Path) -> dict[str, ModelRecord]:
    """The folds of a model folder that have weights, as training ended or was stopped, by name (`0`, ..., `all`)."""
    folds = {}
    for path in sorted(model.glob("fold_*/model.json")):
        record = ModelRecord.read(path)
        if record.is_closed:
            folds[str(record.fold)] = record
    return folds


def trained_folds(model: Path) -> dict[str, ModelRecord]:
    """The same where there must be one.

    Raises:
        RequestError: There is none.
    """
    folds = finished_folds(model)
    if not folds:
        there = "" if model.exists() else ": there is no such folder"
        raise RequestError(f"{model} holds no trained fold (fold_*/model.json){there}. Name a model folder.")
    return folds


def model_and_folds(path: Path) -> tuple[Path, list[str] | None]:
    """The model folder and the folds that a path names: all of a model folder, or the one of a fold's folder."""
    if record_path(path).exists():
        return path.absolute().parent, [path.absolute().name.removeprefix("fold_")]
    return path, None


def trained_models(workspace: Workspace, dataset: str | None = None, configuration: str | None = None) -> list[Path]:
    """All model folders that segment and have a finished fold, of a dataset and a configuration if named."""
    return [path for path in _with_finished_folds(workspace, dataset, configuration) if not is_drawing(path)]


def _with_finished_folds(
    workspace: Workspace, dataset: str | None = None, configuration: str | None = None
) -> list[Path]:
    pattern = f"{dataset or '*'}/*__{configuration or '*'}"
    return [path for path in sorted(workspace.results.glob(pattern)) if path.is_dir() and finished_folds(path)]


def is_drawing(model: Path) -> bool:
    """Whether the trained folds of a model folder draw images instead of segmenting them."""
    return any(record.diffusion is not None for record in finished_folds(model).values())


def find_drawing_model(workspace: Workspace, dataset: str) -> Path:
    """The one trained model of a dataset that draws images.

    Raises:
        RequestError: There is none, or several; they are listed.
    """
    models = [path for path in _with_finished_folds(workspace, dataset) if is_drawing(path)]
    if not models:
        raise RequestError(
            f"no trained model of {dataset} in {workspace.results} draws images. Train one: "
            f"autounet train {dataset_number(dataset)} 2d 0 --network diffusion_unet"
        )
    if len(models) > 1:
        listing = ", ".join(str(path) for path in models)
        raise RequestError(f"{len(models)} models of {dataset} draw images; name one instead of the dataset: {listing}")
    return models[0]


def find_model(workspace: Workspace, dataset: str | None = None, configuration: str | None = None) -> Path:
    """The one trained model that is meant.

    Raises:
        RequestError: There is none, or several; they are listed.
    """
    models = trained_models(workspace, dataset, configuration)
    if len(models) == 1:
        return models[0]
    if not models:
        raise RequestError(
            f"no trained model{f' of {dataset}' if dataset else ''} in {workspace.results}. "
            "Train one (autounet train DATASET CONFIGURATION FOLD), or name a folder with --model."
        )
    listing = "\n".join(f"  --model {path}" for path in models)
    raise RequestError(f"{len(models)} trained models are in {workspace.results}; choose one:\n{listing}")
