"""Readers and writers by file ending. All of them give `(C, Z, Y, X)` and take `(Z, Y, X)` labels.

A library is imported only when a file of its format is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autounet.data.io.base import (
    FileError,
    Image,
    Reader,
    geometry_difference,
    require_sound,
    whole_numbers,
)
from autounet.errors import RequestError
from autounet.geometry import Array, Geometry
from autounet.registry import Registry

__all__ = [
    "READERS",
    "FileError",
    "Image",
    "Reader",
    "known_ending",
    "read_image",
    "read_label",
    "reader_for",
    "write_label",
]

_NIFTI = "autounet.data.io.nifti:READER"
_SITK = "autounet.data.io.sitk:READER"
_NATURAL = "autounet.data.io.natural:READER"
_TIFF = "autounet.data.io.tiff:READER"

READERS: Registry[Reader] = Registry(
    "autounet.data.io",
    "file ending",
    {
        ".nii.gz": _NIFTI,
        ".nii": _NIFTI,
        ".nrrd": _SITK,
        ".mha": _SITK,
        ".mhd": _SITK,
        ".gipl": _SITK,
        ".png": _NATURAL,
        ".bmp": _NATURAL,
        ".tif": _TIFF,
        ".tiff": _TIFF,
    },
)


def reader_for(ending_or_path: str | Path) -> Reader:
    """The reader of a file ending, or of a file by its name.

    Raises:
        RequestError: No reader takes that ending; the message lists all that are known.
    """
    name = Path(ending_or_path).name.lower()
    ending = known_ending(name)
    if ending is None and name.endswith((".jpg", ".jpeg")):
        raise RequestError(f"'{name}': JPEG is not supported, it alters intensities and labels. Convert to .png.")
    return READERS.find(ending or "." + name.partition(".")[2])


def known_ending(name: str) -> str | None:
    """The ending by which a file of that name is read, or `None`; the longest that fits: a.nii.gz is no .gz."""
    lowered = name.lower()
    return max((ending for ending in READERS if lowered.endswith(ending)), key=len, default=None)


def read_image(paths: Sequence[Path]) -> Image:
    """Read a case's image: one file per channel, or one file with several channels.

    Returns:
        The image `(C, Z, Y, X)`, float32.

    Raises:
        FileError: A file cannot be read, or differs from the first in shape or place.
    """
    arrays, geometries = zip(*(_read(path, as_label=False) for path in paths), strict=True)
    first = arrays[0]
    for path, array, geometry in zip(paths[1:], arrays[1:], geometries[1:], strict=True):
        difference = (
            f"the shapes differ: {first.shape[1:]} and {array.shape[1:]} (z, y, x)"
            if array.shape[1:] != first.shape[1:]
            else geometry_difference(geometries[0], geometry, first.shape[1:])
        )
        if difference:
            raise FileError(
                path, f"does not fit to {paths[0].name}: {difference}", "Resample the channels to one grid."
            )
    # Values beyond float32 become infinite, which the integrity check tells of.
    with np.errstate(over="ignore"):
        joined = first if len(arrays) == 1 else np.concatenate(arrays, dtype=np.float32, casting="unsafe")
        whole: npt.NDArray[np.float32] = np.require(joined, dtype=np.float32, requirements=["C", "W"])
    return Image(array=whole, geometry=geometries[0])


def read_label(path: Path) -> tuple[npt.NDArray[np.integer[Any]], Geometry]:
    """Read a label map `(Z, Y, X)` of integers; floats that are whole numbers are accepted.

    Raises:
        FileError: The file cannot be read, has several channels, or holds values that are no whole numbers.
    """
    array, geometry = _read(path, as_label=True)
    if array.shape[0] != 1:
        raise FileError(path, f"a label file has one channel, this has {array.shape[0]}", "Save label values as grey.")
    return whole_numbers(path, array[0]), geometry


def write_label(path: Path, label: Array, geometry: Geometry) -> None:
    """Write a label map `(Z, Y, X)` in the format of the path's ending, atomically.

    Raises:
        RequestError: The ending is unknown, or the format cannot hold the label map.
    """
    reader_for(path).write_label(path, label, geometry)


def _read(path: Path, *, as_label: bool) -> tuple[Array, Geometry]:
    if not path.is_file():
        raise FileError(path, "does not exist", "Check the name and the folder.")
    array, geometry = reader_for(path).read(path, as_label=as_label)
    require_sound(path, array, geometry)
    return array, geometry
