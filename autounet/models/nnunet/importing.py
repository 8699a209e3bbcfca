"""A trained model of nnU-Net's as a model folder of ours.

    TRAINER__PLANS__CONFIGURATION/{plans.json, dataset.json, fold_*/checkpoint_final.pth}
        ->  MODEL/fold_*/{model.json, weights.safetensors, selftest.safetensors, checksums.json}

The first stage of a cascade is looked for beside the second, in the folder of the same trainer and plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.models.folder import (
    PREVIOUS_STAGE,
    FoldName,
    ModelRecord,
    Origin,
    build_network,
    fold_folder,
    save_weights,
    seal_fold,
)
from autounet.models.nnunet.checkpoint import CHECKPOINT, Checkpoint, read_checkpoint
from autounet.models.nnunet.evidence import known_scores, known_training_data
from autounet.models.nnunet.plans import imported_plan, require_usual_labels
from autounet.models.nnunet.schema import NnUNetPlans
from autounet.models.nnunet.weights import converted_weights
from autounet.plans import Plan
from autounet.progress import SILENT, Reporter
from autounet.records import whole_folder
from autounet.training.config import TrainConfig

PROGRAM = "nnU-Net v2"


@dataclass(frozen=True)
class ImportRequest:
    """What to import.

    Attributes:
        folder: nnU-Net's folder `TRAINER__PLANS__CONFIGURATION`.
        folds: Names of folds (`0`, `all`); by default all that have the checkpoint.
        checkpoint: Its file's name.
    """

    folder: Path
    folds: tuple[str, ...] = ()
    checkpoint: str = CHECKPOINT


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Attributes:
        model: The model folder.
        records: Of its folds.
        previous_stage: The first stage of a cascade.
    """

    model: Path
    records: tuple[ModelRecord, ...]
    previous_stage: Imported | None = None


def import_model(request: ImportRequest, model: Path, reporter: Reporter = SILENT) -> Imported:
    """Turn nnU-Net's folder into a model folder, which appears whole or not at all.

    Raises:
        RequestError: The folder is not one of nnU-Net's, files of it are missing or damaged, something cannot be mapped
            exactly, or `model` is there already.
    """
    with whole_folder(model) as partial:
        imported = _import_stage(request, partial, reporter)
    previous = imported.previous_stage
    moved = previous and Imported(model / PREVIOUS_STAGE, previous.records)
    return Imported(model, imported.records, moved)


def _import_stage(request: ImportRequest, model: Path, reporter: Reporter) -> Imported:
    folder = request.folder
    _require_model_folder(folder)
    source = folder / "plans.json"
    theirs, description = NnUNetPlans.load(source), DatasetDescription.load(folder)
    files = _checkpoints(request)
    plan: Plan | None = None
    name = ""
    records = []
    for fold, path in files.items():
        checkpoint = read_checkpoint(path)
        if plan is None:
            name = checkpoint.init_args.configuration
            plan = imported_plan(theirs, description, [name], theirs.plans_name, source)
        if checkpoint.init_args.configuration != name:
            raise RequestError(
                f"{path} is of configuration '{checkpoint.init_args.configuration}', but the folds before it are of "
                f"'{name}'. Import them apart, with --fold."
            )
        records.append(_import_fold(checkpoint, path, fold, plan, name, folder, model))
        reporter.say(f"{path}: {checkpoint.trainer_name}, {name}, fold {fold}")
    assert plan is not None
    earlier = plan.configuration(name).previous_stage
    if earlier is None:
        return Imported(model, tuple(records))
    require_usual_labels(theirs.configuration(name, str(source)), f"{source}: configuration '{name}'")
    first = ImportRequest(_first_stage_folder(folder, earlier), request.folds, request.checkpoint)
    return Imported(model, tuple(records), _import_stage(first, model / PREVIOUS_STAGE, reporter))


def _import_fold(
    checkpoint: Checkpoint, path: Path, fold: FoldName, plan: Plan, name: str, folder: Path, model: Path
) -> ModelRecord:
    configuration = plan.configuration(name)
    mirrors = checkpoint.inference_allowed_mirroring_axes or ()
    if any(axis not in range(configuration.num_spatial_dims) for axis in mirrors):
        raise RequestError(
            f"{path}: mirrors along the axes {mirrors}, but the network has {configuration.num_spatial_dims}"
        )
    dice, of_classes = known_scores(folder / f"fold_{fold}", plan.labels)
    epochs = checkpoint.current_epoch
    record = ModelRecord(
        plan=plan,
        configuration=configuration,
        fold=fold,
        mirror_axes=mirrors,
        config=TrainConfig(num_epochs=epochs or TrainConfig().num_epochs, laterality="ignore"),
        finished=True,
        validation_dice=dice,
        class_dice=of_classes,
        training_data=known_training_data(folder),
        origin=Origin(program=PROGRAM, trainer=checkpoint.trainer_name, checkpoint=path.name, num_epochs=epochs),
    )
    with torch.device("meta"):
        shapes = build_network(record)
    weights = converted_weights(checkpoint.network_weights, configuration.network, shapes, str(path))
    target = fold_folder(model, fold)
    save_weights(target, weights)
    return seal_fold(target, record)


def _require_model_folder(folder: Path) -> None:
    missing = [name for name in ("plans.json", "dataset.json") if not (folder / name).is_file()]
    if not missing:
        return
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder")
    inside = [path.parent for path in sorted(folder.glob("*/plans.json")) + sorted(folder.glob("*/*/plans.json"))]
    hint = f" Did you mean one of these?\n{chr(10).join(f'  {path}' for path in inside)}" if inside else ""
    beside = folder.parent if (folder.parent / "plans.json").is_file() else None
    hint = f" Did you mean {beside}, with --fold {folder.name.removeprefix('fold_')}?" if beside else hint
    raise RequestError(
        f"{folder / missing[0]} is missing: this is no folder TRAINER__PLANS__CONFIGURATION of nnU-Net v2.{hint}"
    )


def _checkpoints(request: ImportRequest) -> dict[FoldName, Path]:
    """The checkpoint of each fold."""
    found = {
        path.parent.name.removeprefix("fold_"): path
        for path in sorted(request.folder.glob(f"fold_*/{request.checkpoint}"))
    }
    chosen: Sequence[str] = request.folds or list(found)
    missing = [name for name in chosen if name not in found]
    if missing or not chosen:
        others = sorted({path.name for path in request.folder.glob("fold_*/*.pth")})
        hint = f" Checkpoints there: {', '.join(others)} (--checkpoint)." if others else ""
        raise RequestError(
            f"{request.folder} has no {request.checkpoint} of fold {', '.join(missing) or '0 or any other'}; folds "
            f"that have one: {', '.join(found) or 'none'}.{hint}"
        )
    return {int(name) if name.isdigit() else "all": found[name] for name in chosen}


def _first_stage_folder(folder: Path, configuration: str) -> Path:
    """The folder of a cascade's first stage."""
    parts = folder.absolute().name.split("__")
    if len(parts) == 3:
        beside = folder.absolute().parent / "__".join([*parts[:2], configuration])
        if (beside / "plans.json").is_file():
            return beside
    raise RequestError(
        f"{folder} is the second stage of a cascade, whose first, '{configuration}', is not beside it. Put nnU-Net's "
        f"folder TRAINER__PLANS__{configuration} there, under the same trainer and plans."
    )
