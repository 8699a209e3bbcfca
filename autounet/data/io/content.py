"""Which format a file's first bytes are of, whatever its name says.

The signatures are those of the formats' specifications; a NIfTI, PNG, TIFF, ... file is known by them for certain.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from autounet.data.io.base import FileError

_HEAD_BYTES = 1024
GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BITS = 31  # zlib's window of 15 bits, plus 16 for a gzip header

_NIFTI, _NRRD, _META, _GIPL = "NIfTI", "NRRD", "MetaImage", "GIPL"
_PNG, _BMP, _JPEG, _TIFF, _DICOM = "PNG", "BMP", "JPEG", "TIFF", "DICOM"

# Format -> its usual ending.
_ENDING: Mapping[str, str] = MappingProxyType(
    {
        _NIFTI: ".nii.gz",
        _NRRD: ".nrrd",
        _META: ".mha",
        _GIPL: ".gipl",
        _PNG: ".png",
        _BMP: ".bmp",
        _JPEG: ".jpg",
        _TIFF: ".tif",
        _DICOM: ".dcm",
    }
)
_FORMAT: Mapping[str, str] = MappingProxyType(
    {ending: name for name, ending in _ENDING.items()}
    | {".nii": _NIFTI, ".mhd": _META, ".jpeg": _JPEG, ".tiff": _TIFF, ".ome.tif": _TIFF, ".ome.tiff": _TIFF}
)
# (format, offset, signature)
_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    (_NIFTI, 344, b"n+1\0"),
    (_NIFTI, 344, b"ni1\0"),
    (_NIFTI, 4, b"n+2\0\r\n\x1a\n"),
    (_NIFTI, 4, b"ni2\0\r\n\x1a\n"),
    (_NRRD, 0, b"NRRD000"),
    (_GIPL, 252, b"\xef\xff\xe9\xb0"),
    (_GIPL, 252, b"\x2a\xe3\x89\xb8"),
    (_PNG, 0, b"\x89PNG\r\n\x1a\n"),
    (_JPEG, 0, b"\xff\xd8\xff"),
    (_TIFF, 0, b"II*\0"),
    (_TIFF, 0, b"MM\0*"),
    (_TIFF, 0, b"II+\0"),
    (_TIFF, 0, b"MM\0+"),
    (_DICOM, 128, b"DICM"),
)
# What people meet in place of images: (what it is, its first bytes, the way out)
_NO_IMAGES: tuple[tuple[str, bytes, str], ...] = (
    ("a ZIP archive", b"PK\x03\x04", "Unpack it."),
    ("an HDF5 file", b"\x89HDF\r\n\x1a\n", "Export the image that is in it, for example as .nii.gz or .tif."),
    ("a NumPy array", b"\x93NUMPY", "Export it as .nii.gz or .tif, or hand it over by Image.from_array in Python."),
    ("a web page", b"<!doctype html", "The download failed, perhaps for want of a login; download the file again."),
    ("a web page", b"<html", "The download failed, perhaps for want of a login; download the file again."),
    ("a pointer of Git LFS", b"version https://git-lfs", "Fetch the file itself with 'git lfs pull'."),
    ("a PDF document", b"%PDF-", "Export the image that is in it."),
)
# BMP's two letters alone would fit other files; its header's length follows at byte 14.
_BMP_PATTERN = re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)
_META_PATTERN = re.compile(rb"\s*(ObjectType|NDims|Comment)\s*=")


def require_content(path: Path, ending: str) -> None:
    """Refuse a file whose content is surely of another format than its ending; what is in doubt, its reader judges.

    A NIfTI file that is compressed under `.nii`, or plain under `.nii.gz`, is read as what it is.

    Args:
        path: The file.
        ending: By which it is read.

    Raises:
        FileError: The file is empty, or of another format; both are named.
    """
    expected = _FORMAT.get(ending)
    if expected is None:
        return
    head = _head(path)
    if not head:
        raise FileError(path, "the file is empty, it has 0 bytes", "Copy or download it again.")
    for what, start, remedy in _NO_IMAGES:
        if head[: len(start)].lower() == start.lower():
            raise FileError(path, f"is {what}, no {expected} file as its ending {ending} says", remedy)
    found = _format_of(head)
    if found is not None and found != expected:
        raise FileError(
            path,
            f"its content is {found}, but its ending {ending} says {expected}",
            f"Convert it to {expected}; or, if all images are {found}, rename them to end in {_ENDING[found]} and "
            "write that as 'file_ending' in dataset.json.",
        )


def _head(path: Path) -> bytes:
    """The first bytes, decompressed where that works."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(path, f"cannot be read ({reason})", "Check the file's permissions.") from error
    if head.startswith(GZIP_MAGIC):
        try:
            return zlib.decompressobj(wbits=_GZIP_BITS).decompress(head, _HEAD_BYTES) or head
        except zlib.error:
            return head
    return head


def _format_of(head: bytes) -> str | None:
    for name, offset, signature in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return name
    if _BMP_PATTERN.match(head):
        return _BMP
    return _META if _META_PATTERN.match(head) else None
