"""Whether the files of a trained fold are those that were written: their sizes and SHA-256, kept beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from autounet.errors import RequestError
from autounet.records import SCHEMA_VERSION, Record

CHECKSUMS = "checksums.json"
RECORD, WEIGHTS, SELF_TEST = "model.json", "weights.safetensors", "selftest.safetensors"
FOLD_FILES = (RECORD, WEIGHTS, SELF_TEST)
_REMEDY = "Copy the model folder again from where it came, or train or import it again."


class FileState(Record):
    """One file as it was written."""

    num_bytes: int
    sha256: str


class Checksums(Record):
    """The files of a fold by name."""

    schema_version: int = SCHEMA_VERSION
    files: dict[str, FileState]


def write_checksums(fold: Path) -> None:
    """Note the files of a fold as they are now."""
    files = {
        name: FileState(num_bytes=(fold / name).stat().st_size, sha256=_sha256(fold / name)) for name in FOLD_FILES
    }
    Checksums(files=files).write(fold / CHECKSUMS)


def weights_digest(fold: Path) -> str:
    """SHA-256 of the weights of a fold, as noted when they were written.

    Raises:
        RequestError: Nothing was noted.
    """
    noted = Checksums.read(fold / CHECKSUMS).files
    if WEIGHTS not in noted:
        raise RequestError(f"{fold / CHECKSUMS} says nothing of {WEIGHTS}. {_REMEDY}")
    return noted[WEIGHTS].sha256


def require_intact(fold: Path) -> None:
    """Compare the files of a fold with what was noted when they were written.

    Raises:
        RequestError: One is missing, cut short or changed.
    """
    path = fold / CHECKSUMS
    if not path.is_file():
        raise RequestError(f"{path} is missing, so nobody can tell whether the model is whole. {_REMEDY}")
    noted = Checksums.read(path).files
    for name in FOLD_FILES:
        file = fold / name
        if name not in noted:
            raise RequestError(f"{path} says nothing of {name}. {_REMEDY}")
        if not file.is_file():
            raise RequestError(f"{file} is missing. {_REMEDY}")
        found, expected = file.stat().st_size, noted[name]
        if found != expected.num_bytes:
            raise RequestError(f"{file} has {found} bytes, not {expected.num_bytes} as it was written. {_REMEDY}")
        if _sha256(file) != expected.sha256:
            raise RequestError(f"{file} was changed after it was written: its checksum differs. {_REMEDY}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
