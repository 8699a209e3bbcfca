"""Files that an image is read from besides the one that is named, and whether any of them changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from autounet.data.io import known_ending

FileState = tuple[str, int, int]
"""Name, bytes, and time of the last change in ns."""

# The voxel size of a TIFF (`io/voxel_size.py`), and the voxels of a MetaImage whose header is apart.
_SPACING, _VOXELS = (".json",), (".raw", ".zraw", ".img")
_SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {".tif": _SPACING, ".tiff": _SPACING, ".ome.tif": _SPACING, ".ome.tiff": _SPACING, ".mhd": _VOXELS}
)
_CHANNEL_SUFFIX = re.compile(r"_\d{4}$")


def companions_of(path: Path) -> list[Path]:
    """The files beside a file that belong to it: under its own name first, then under that of its case."""
    ending = known_ending(path.name) or ""
    stem = path.name[: len(path.name) - len(ending)]
    names = dict.fromkeys((stem, _CHANNEL_SUFFIX.sub("", stem)))
    beside = (path.with_name(name + suffix) for name in names for suffix in _SUFFIXES.get(ending, ()))
    return [other for other in beside if other.is_file()]


def file_states(paths: Iterable[Path]) -> list[FileState]:
    """The state of every file that these are read from; a folder (DICOM, OME-Zarr) stands for all files in it."""
    states: list[FileState] = []
    for path in paths:
        inside = path.is_dir()
        files = sorted(path.rglob("*")) if inside else [path, *companions_of(path)]
        states += [_state(each, path.parent) for each in files if not inside or each.is_file()]
    return states


def _state(path: Path, root: Path) -> FileState:
    found = path.stat()
    return path.relative_to(root).as_posix(), found.st_size, found.st_mtime_ns
