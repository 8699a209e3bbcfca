"""Trained models: taken over from nnU-Net, looked at, tested, packed and unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.errors import RequestError
from autounet.progress import SILENT, Reporter

if TYPE_CHECKING:
    from autounet.models.folder import ModelRecord
    from autounet.models.nnunet.importing import Imported
    from autounet.models.selftest import SelfTestResult


@dataclass(frozen=True)
class ModelInfo:
    """What a model folder holds.

    Attributes:
        model: The folder.
        folds: Its trained folds by name.
        num_bytes: Of the files of a model, those of a first stage included.
        previous_stage: The first stage of a cascade.
    """

    model: Path
    folds: dict[str, ModelRecord]
    num_bytes: int
    previous_stage: ModelInfo | None = None


def import_nnunet(
    folder: Path, model: Path, *, folds: Sequence[str] = (), checkpoint: str | None = None, reporter: Reporter = SILENT
) -> Imported:
    """Turn a trained model of nnU-Net v2 into a model folder.

    Args:
        folder: nnU-Net's `TRAINER__PLANS__CONFIGURATION`.
        model: The folder to make.
        folds: Which folds; all that have the checkpoint by default.
        checkpoint: Its name; `checkpoint_final.pth` by default.
        reporter: Told of every fold.

    Raises:
        RequestError: The folder is none of nnU-Net's, something in it cannot be mapped exactly, or `model` is there.
    """
    from autounet.models.nnunet.checkpoint import CHECKPOINT
    from autounet.models.nnunet.importing import ImportRequest, import_model

    return import_model(ImportRequest(folder, tuple(folds), checkpoint or CHECKPOINT), model, reporter)


def model_info(model: Path) -> ModelInfo:
    """What a model folder holds; its files are compared with their checksums.

    Raises:
        RequestError: There is no trained fold, or a file is missing or was changed.
    """
    from autounet.models.folder import fold_folder, previous_stage_folder, trained_folds
    from autounet.models.integrity import CHECKSUMS, FOLD_FILES, require_intact

    folds = trained_folds(model)
    paths = [fold_folder(model, record.fold) for record in folds.values()]
    for path in paths:
        require_intact(path)
    first = previous_stage_folder(model, next(iter(folds.values())))
    previous = model_info(first) if first is not None and first.is_dir() else None
    num_bytes = sum((path / name).stat().st_size for path in paths for name in (*FOLD_FILES, CHECKSUMS))
    return ModelInfo(model, folds, num_bytes + (previous.num_bytes if previous else 0), previous)


def self_test_model(model: Path, *, device: str = "auto") -> dict[str, SelfTestResult]:
    """Whether every fold of a model still computes what it did when it was stored, by fold.

    Raises:
        RequestError: There is no trained fold, or a file is missing or was changed.
    """
    from autounet.models.folder import PREVIOUS_STAGE, fold_folder, load_network, previous_stage_folder, trained_folds
    from autounet.models.selftest import run_self_test
    from autounet.training.device import choose_device

    chosen = choose_device(device)
    results: dict[str, SelfTestResult] = {}
    for name, record in trained_folds(model).items():
        fold = fold_folder(model, record.fold)
        network = load_network(fold, record, chosen)
        if record.self_test is None:
            raise RequestError(f"{fold} has no self-test; train or import it again")
        results[name] = run_self_test(fold, record.self_test, network, record.plan.labels)
    first = previous_stage_folder(model, record)
    if first is not None and first.is_dir():
        results |= {
            f"{PREVIOUS_STAGE} {name}": result for name, result in self_test_model(first, device=device).items()
        }
    return results


def pack(model: Path, archive: Path, *, overwrite: bool = False) -> int:
    """Write a model folder into one zip file; its size in bytes.

    Raises:
        RequestError: The folder is no whole model, or the file is there already.
    """
    from autounet.models.archive import pack_model

    if archive.exists() and not overwrite:
        raise RequestError(f"{archive} is there already. Name another file, or overwrite it: --overwrite")
    return pack_model(model, archive)


def unpack(archive: Path, model: Path, *, max_gib: float) -> list[Path]:
    """Make a model folder of a zip file; the folders of its folds.

    Raises:
        RequestError: The file is damaged, holds anything but a model or is too large, or `model` is there already.
    """
    from autounet.models.archive import unpack_model

    return unpack_model(archive, model, max_gib)
