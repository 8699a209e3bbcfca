"""Whether the elements of a DICOM file lie within it (DICOM PS3.5, chapter 7).

GDCM takes the memory that an element's length asks for before it looks whether the file has as much.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from autounet.data.io.base import FileError

PREAMBLE_BYTES = 128
MAGIC = b"DICM"
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = (b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99")
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_PIXEL_DATA = (0x7FE0, 0x0010)
_META_GROUP = 0x0002
_ITEM_GROUP = 0xFFFE  # items and their ends have no type
_META_TYPES = (b"UL", b"OB", b"UI", b"SH", b"AE", b"UR")  # PS3.10, table 7.1-1
_REMEDY = "Copy or export it again."
_UNDEFINED = 0xFFFFFFFF
_LONG_TYPES = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


def require_within(path: Path) -> None:
    """Refuse a file of which an element reaches beyond its end.

    Raises:
        FileError: The file is cut short, or a length in it is wrong.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(PREAMBLE_BYTES + len(MAGIC))[PREAMBLE_BYTES:] != MAGIC:
            return
        syntax = b""
        while True:
            element = _element(file, syntax)
            if element is None:
                return
            tag, kind, length = element
            if tag[0] == _META_GROUP and kind not in _META_TYPES:
                raise FileError(path, f"its header is damaged: ({tag[0]:04x},{tag[1]:04x}) has no known type", _REMEDY)
            if length == _UNDEFINED:
                # A sequence or an item, whose elements follow; the types in what is unknown cannot be known.
                if tag == _PIXEL_DATA or kind == b"UN":
                    return
                continue
            end = file.tell() + length
            if end > size:
                what = f"the file is cut short or its header is wrong: ({tag[0]:04x},{tag[1]:04x}) ends at {end}, "
                raise FileError(path, f"{what}the file at {size} bytes", _REMEDY)
            if tag == _TRANSFER_SYNTAX:
                syntax = file.read(length).rstrip(b"\0 ")
                if syntax == _DEFLATED:
                    return
            file.seek(end)


def _element(file: BinaryIO, syntax: bytes) -> tuple[tuple[int, int], bytes, int] | None:
    """Tag, type and length of the next element; `None` at the end of the file."""
    head = file.read(8)
    if len(head) < 8:
        return None
    is_meta = head[:2] == struct.pack("<H", _META_GROUP)
    order = ">" if syntax == _BIG_ENDIAN and not is_meta else "<"
    group, number = struct.unpack(f"{order}HH", head[:4])
    if group == _ITEM_GROUP or (syntax == _IMPLICIT and not is_meta):
        return (group, number), b"", struct.unpack(f"{order}I", head[4:])[0]
    kind = head[4:6]
    if kind not in _LONG_TYPES:
        return (group, number), kind, struct.unpack(f"{order}H", head[6:])[0]
    more = file.read(4)
    if len(more) < 4:
        return None
    return (group, number), kind, struct.unpack(f"{order}I", more)[0]
