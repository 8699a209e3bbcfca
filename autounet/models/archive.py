"""A model folder as one file to hand on: a zip archive of the files that a model folder has, and no others.

What comes in may come from anybody: names are compared with those that are expected, nothing is written outside the
target, sizes are bounded before and while they are unpacked, and checksums are compared at the end.
"""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from autounet.errors import RequestError
from autounet.evaluation.finish import Finish
from autounet.models.best import FINISH_FILE, read_finish
from autounet.models.folder import PREVIOUS_STAGE, finished_folds, fold_folder, previous_stage_folder, trained_folds
from autounet.models.integrity import CHECKSUMS, FOLD_FILES, require_intact
from autounet.records import atomic_path, whole_folder

_NAMES = (CHECKSUMS, *FOLD_FILES)
_EXPECTED = re.compile(
    rf"(?:{PREVIOUS_STAGE}/)?fold_(?:\d{{1,6}}|all)/(?:{'|'.join(map(re.escape, _NAMES))})|{re.escape(FINISH_FILE)}",
    re.ASCII,
)
_RECORD_BYTES = 64 * 2**20  # of a JSON file; a plan of a thousand cases has some MB
_MAX_FILES = 4096
_CHUNK = 2**20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same model gives the same archive
_PERMISSIONS = 0o644 << 16
DEFAULT_MAX_GIB = 32.0


def pack_model(model: Path, archive: Path) -> int:
    """Write a model folder into a zip archive, whole or not at all.

    Args:
        model: The folder; its trained folds are taken, those of a cascade's first stage, which may lie inside or beside
            (in the archive it is inside), and `finish.json`, if it is of these folds.
        archive: The file to write.

    Returns:
        Its size in bytes.

    Raises:
        RequestError: The folder holds no trained fold, or one that is not whole, or lacks its first stage.
    """
    folds = _named_folds(model)
    for fold in folds.values():
        require_intact(fold)
    files = {f"{place}/{name}": fold / name for place, fold in folds.items() for name in _NAMES}
    if read_finish(model) not in (None, Finish()):
        files[FINISH_FILE] = model / FINISH_FILE
    with atomic_path(archive) as partial, zipfile.ZipFile(partial, "w") as target:
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _PERMISSIONS
            # Weights are as good as random: packing them takes long and saves some percent.
            entry.compress_type = zipfile.ZIP_DEFLATED if path.suffix == ".json" else zipfile.ZIP_STORED
            with path.open("rb") as source, target.open(entry, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink, _CHUNK)
    return archive.stat().st_size


def unpack_model(archive: Path, model: Path, max_gib: float = DEFAULT_MAX_GIB) -> list[Path]:
    """Unpack what `pack_model` wrote, whole or not at all.

    Args:
        archive: The zip file.
        model: The folder to make; it must not be there yet.
        max_gib: What it may take on disk.

    Returns:
        The folders of the folds.

    Raises:
        RequestError: The file is missing or damaged, holds anything but a model, is too large, or its checksums differ.
    """
    limit = int(max_gib * 2**30)
    try:
        with zipfile.ZipFile(archive) as source, whole_folder(model) as partial:
            entries = source.infolist()
            _require_expected(archive, entries, limit)
            for entry in entries:
                _extract(archive, source, entry, partial)
            folds = _all_folds(partial)
            expected = {fold.relative_to(partial) / name for fold in folds for name in _NAMES}
            if not folds or {Path(entry.filename) for entry in entries} - {Path(FINISH_FILE)} != expected:
                raise RequestError(
                    f"{archive} holds no trained fold, or one that lacks a file. Copy or download it again."
                )
            for fold in folds:
                require_intact(fold)
            read_finish(partial)
    except FileNotFoundError:
        raise RequestError(f"{archive} does not exist") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise RequestError(f"{archive} is damaged or no zip file ({error}). Copy or download it again.") from None
    return _all_folds(model)


def _named_folds(model: Path) -> dict[str, Path]:
    """The trained folds of a model and of its first stage, by their place in the archive."""
    folds = trained_folds(model)
    found = {f"fold_{name}": fold_folder(model, record.fold) for name, record in folds.items()}
    record = next(iter(folds.values()))
    first = previous_stage_folder(model, record)
    if first is None or not first.is_dir():
        if record.configuration.previous_stage is None:
            return found
        where = first or model.parent / f"*__{record.configuration.previous_stage}"
        raise RequestError(
            f"{model} is the second stage of a cascade, and its first stage {where} is not there; without it "
            "the packed model would not predict. Put it there, or train it."
        )
    return found | {f"{PREVIOUS_STAGE}/{name}": fold for name, fold in _named_folds(first).items()}


def _all_folds(model: Path) -> list[Path]:
    """The trained folds of a model folder and of the first stage inside it."""
    return [
        fold_folder(stage, record.fold)
        for stage in (model, model / PREVIOUS_STAGE)
        for record in finished_folds(stage).values()
    ]


def _require_expected(archive: Path, entries: list[zipfile.ZipInfo], limit: int) -> None:
    """Refuse names that no model has, names that occur twice, and sizes beyond the limit."""
    seen: set[str] = set()
    if len(entries) > _MAX_FILES:
        raise RequestError(f"{archive} holds {len(entries)} files; a model has at most {_MAX_FILES}")
    for entry in entries:
        # What is not a regular file by its Unix mode (a link, a device) is refused by being none; 0 is "not told".
        kind = entry.external_attr >> 28
        if not _EXPECTED.fullmatch(entry.filename) or kind not in (0, 8) or entry.flag_bits & 1:
            raise RequestError(
                f"{archive} holds {entry.filename!r:.100}, which is no file of a model folder; nothing was unpacked. "
                "Make it with: autounet model pack MODEL -o FILE.zip"
            )
        if entry.filename in seen:
            raise RequestError(f"{archive} holds {entry.filename} twice; nothing was unpacked. Make it again.")
        seen.add(entry.filename)
        if entry.filename.endswith(".json") and entry.file_size > _RECORD_BYTES:
            raise RequestError(
                f"{archive}: {entry.filename} would take {entry.file_size} bytes; no record is that large"
            )
    total = sum(entry.file_size for entry in entries)
    if total > limit:
        raise RequestError(
            f"{archive} would take {total / 2**30:.1f} GiB on disk, more than the {limit / 2**30:g} GiB allowed. If "
            "you trust it, allow more: --max-gib"
        )


def _extract(archive: Path, source: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(entry.filename).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with source.open(entry) as packed, target.open("xb") as file:
        for chunk in _chunks(packed):
            written += len(chunk)
            if written > entry.file_size:
                raise RequestError(f"{archive}: {entry.filename} is larger than the archive says. Do not trust it.")
            file.write(chunk)


def _chunks(packed: IO[bytes]) -> Iterator[bytes]:
    while chunk := packed.read(_CHUNK):
        yield chunk
