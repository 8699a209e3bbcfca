"""What is looked at in a MetaImage or NRRD file before ITK reads it.

ITK crashes on a MetaImage header with a wrong number of dimensions, writes its complaints to stderr, and takes packed
voxels that are damaged, or fewer than the header claims, for whatever they unpack to.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autounet.data.io.base import FileError

_HEADER_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_ZLIB_BITS, _GZIP_BITS = 15, 31  # of `zlib.decompressobj`: MetaImage packs as zlib does, NRRD as gzip does
_RANKS = (2, 3, 4)
# MetaImage's and NRRD's names for the file with the voxels, and for voxels that are packed or written as text.
_DATA_FILE = re.compile(rb"^(?:ElementDataFile\s*=|data ?file\s*:)\s*([^\r\n]+)\r?\n?", re.IGNORECASE | re.MULTILINE)
_NOT_RAW = re.compile(
    rb"^(?:CompressedData\s*=\s*True|BinaryData\s*=\s*False|encoding\s*:\s*(?!raw))", re.IGNORECASE | re.MULTILINE
)
_META_PACKED = re.compile(rb"^CompressedData\s*=\s*True", re.IGNORECASE | re.MULTILINE)
_NRRD_PACKED = re.compile(rb"^encoding\s*:\s*(?:gz|gzip)\s*$", re.IGNORECASE | re.MULTILINE)
_NRRD_SKIP = re.compile(rb"^(?:line|byte) ?skip\s*:", re.IGNORECASE | re.MULTILINE)
_NRRD_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(rb"^\s*(\w+)\s*=[ \t]*([^\r\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class VoxelFile:
    """Where the voxels lie.

    Attributes:
        path: The file that holds them: the header's own, or another.
        offset: Bytes before them; 0 where that is not known.
        is_packed: Whether they may take less there than in memory.
        unpacking: Window bits by which zlib unpacks them; `None` where they are not checked.
    """

    path: Path
    offset: int
    is_packed: bool
    unpacking: int | None = None


def voxel_file(path: Path) -> VoxelFile:
    """Where a MetaImage or NRRD file has its voxels."""
    head = _head(path)
    match = _DATA_FILE.search(head)
    name = match[1].decode("utf-8", "replace").strip() if match else "LOCAL"
    is_packed = _NOT_RAW.search(head) is not None
    is_nrrd = path.suffix.lower() == ".nrrd"
    packed_by = _NRRD_PACKED if is_nrrd else _META_PACKED
    unpacking = (_GZIP_BITS if is_nrrd else _ZLIB_BITS) if packed_by.search(head) else None
    if name.split()[:1] in (["LOCAL"], ["LIST"]) or "%" in name:
        # A list of files, one a slice, is rare; ITK reads each of them on its own and stops at the first that fails.
        is_list = not name.startswith("LOCAL")
        end = _NRRD_END.search(head) if is_nrrd else match
        known = end is not None and not is_list
        return VoxelFile(path, end.end() if known and end else 0, is_packed or is_list, unpacking if known else None)
    return VoxelFile(path.with_name(name), 0, is_packed, None if _NRRD_SKIP.search(head) else unpacking)


def require_sound_meta(path: Path) -> None:
    """Refuse a MetaImage header that ITK would not survive, or not without noise.

    Raises:
        FileError: A value is missing, or is none of those that it can be.
    """
    head = _head(path)
    end = _DATA_FILE.search(head)
    lines = _LINE.findall(head[: end.end()] if end else head)
    told = {key.decode(): value.decode("utf-8", "replace").strip() for key, value in lines}
    rank = told.get("NDims", "")
    if not rank.isdigit() or int(rank) not in _RANKS:
        raise _wrong(path, "NDims", rank, "2, 3 or 4")
    count = int(rank)
    _require_numbers(path, told, "DimSize", count, "whole numbers above 0", _is_size)
    for key in ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin"):
        if key in told:
            _require_numbers(path, told, key, count, "numbers", _is_number)
    for key in ("TransformMatrix", "Rotation", "Orientation"):
        if key in told:
            _require_numbers(path, told, key, count * count, "numbers", _is_number)
    for key in ("ElementType", "ElementDataFile"):
        if not told.get(key):
            raise _wrong(path, key, "", "there")


def require_intact(path: Path, voxels: VoxelFile, num_bytes: int) -> None:
    """Unpack packed voxels, piece by piece, to see that they are whole.

    Args:
        path: The file that is read, for the message.
        voxels: Where they lie.
        num_bytes: That they must unpack to.

    Raises:
        FileError: They are damaged, or more or fewer.
    """
    if voxels.unpacking is None:
        return
    unpacker = zlib.decompressobj(wbits=voxels.unpacking)
    found, fault = 0, ""
    try:
        with voxels.path.open("rb") as file:
            file.seek(voxels.offset)
            while not unpacker.eof and found <= num_bytes and (piece := file.read(_PIECE_BYTES)):
                found += len(unpacker.decompress(piece, num_bytes + 1 - found))
                while unpacker.unconsumed_tail and found <= num_bytes:
                    found += len(unpacker.decompress(unpacker.unconsumed_tail, num_bytes + 1 - found))
    except OSError as error:
        fault = f"the file of the voxels, {voxels.path.name}, cannot be read ({error.strerror})"
    except zlib.error as error:
        fault = f"the packed voxels are damaged ({error})"
    if not fault and (found != num_bytes or not unpacker.eof):
        fault = f"the packed voxels are cut short or the header is wrong: {num_bytes} bytes are claimed, {found} found"
    if fault:
        raise FileError(path, fault, "Copy or export it again.")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)


def _require_numbers(
    path: Path, told: dict[str, str], key: str, count: int, what: str, holds: Callable[[str], bool]
) -> None:
    words = told.get(key, "").split()
    if len(words) != count or not all(map(holds, words)):
        raise _wrong(path, key, told.get(key, ""), f"{count} {what}")


def _is_size(word: str) -> bool:
    return word.isascii() and word.isdigit() and int(word) > 0


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _wrong(path: Path, key: str, value: str, expected: str) -> FileError:
    is_told = f"is '{value}'" if value else "is missing"
    return FileError(path, f"its header is wrong: {key} {is_told}, and must be {expected}", "Export it again.")
