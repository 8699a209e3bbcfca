"""Readers and writers by file ending. All of them give `(C, Z, Y, X)` and take `(Z, Y, X)` labels.

A library is imported only when a file of its format is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
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
from autounet.data.io.colours import COLOUR_ENDINGS, fitted
from autounet.data.io.content import require_content
from autounet.geometry import Array, Geometry
from autounet.registry import Registry

__all__ = [
    "DICOM_ENDING",
    "FOLDER_ENDINGS",
    "READERS",
    "FileError",
    "Image",
    "Reader",
    "is_there",
    "known_ending",
    "label_ending",
    "read_image",
    "read_label",
    "read_stored",
    "reader_for",
    "write_label",
]

_NIFTI = "autounet.data.io.nifti:READER"
_SITK = "autounet.data.io.sitk:READER"
_NATURAL = "autounet.data.io.natural:READER"
_TIFF = "autounet.data.io.tiff:READER"
_ZARR = "autounet.data.io.ome_zarr:READER"
_DICOM = "autounet.data.io.dicom:READER"

DICOM_ENDING = ".dcm"  # stands for folders of slices too, whose names may have no ending
FOLDER_ENDINGS = (".ome.zarr", DICOM_ENDING)

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
        ".jpg": _NATURAL,
        ".jpeg": _NATURAL,
        ".tif": _TIFF,
        ".tiff": _TIFF,
        ".ome.tif": _TIFF,
        ".ome.tiff": _TIFF,
        ".ome.zarr": _ZARR,
        DICOM_ENDING: _DICOM,
    },
)
# Where label maps cannot be kept in the images' format: the ending of labels and predictions.
_LABEL_ENDINGS: Mapping[str, str] = MappingProxyType(
    {".jpg": ".png", ".jpeg": ".png", ".ome.zarr": ".tif", DICOM_ENDING: ".nii.gz"}
)


def reader_for(ending_or_path: str | Path) -> Reader:
    """The reader of a file ending, or of a file by its name.

    Raises:
        RequestError: No reader takes that ending; the message lists all that are known.
    """
    name = Path(ending_or_path).name.lower()
    ending = known_ending(name)
    return READERS.find(ending or "." + name.partition(".")[2])


def known_ending(name: str) -> str | None:
    """The ending by which a file of that name is read, or `None`; the longest that fits: a.nii.gz is no .gz."""
    lowered = name.lower()
    return max((ending for ending in READERS if lowered.endswith(ending)), key=len, default=None)


def is_there(path: Path) -> bool:
    """Whether a file is there, or a folder where a folder can be an image (DICOM, OME-Zarr)."""
    return path.is_file() or (path.is_dir() and (known_ending(path.name) or DICOM_ENDING) in FOLDER_ENDINGS)


def label_ending(file_ending: str) -> str:
    """The ending of label files and predictions in a dataset whose images end in `file_ending`.

    The same, but for formats in which a label map cannot be kept: `.png` beside JPEG, which alters values, `.nii.gz`
    beside DICOM, `.tif` beside OME-Zarr.
    """
    return _LABEL_ENDINGS.get(file_ending.lower(), file_ending)


def read_image(paths: Sequence[Path], num_channels: int | None = None) -> Image:
    """Read a case's image: one file per channel, or one file with several channels.

    Args:
        paths: Files, or folders where the format is one of folders.
        num_channels: As the dataset declares. A single colour file with more is read without its alpha channel, or
            as grey, where that loses nothing; `None` reads all that is there.

    Returns:
        The image `(C, Z, Y, X)`, float32.

    Raises:
        FileError: A file cannot be read, or differs from the first in shape or place.
    """
    arrays, geometries = zip(*(read_stored(path, as_label=False) for path in paths), strict=True)
    if num_channels is not None and len(paths) == 1 and paths[0].name.lower().endswith(COLOUR_ENDINGS):
        arrays = (fitted(paths[0], arrays[0], num_channels),)
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
    array, geometry = read_stored(path, as_label=True)
    if array.shape[0] != 1:
        raise FileError(path, f"a label file has one channel, this has {array.shape[0]}", "Save label values as grey.")
    return whole_numbers(path, array[0]), geometry


def write_label(path: Path, label: Array, geometry: Geometry) -> None:
    """Write a label map `(Z, Y, X)` in the format of the path's ending, atomically.

    Raises:
        RequestError: The ending is unknown, or the format cannot hold the label map.
    """
    reader_for(path).write_label(path, label, geometry)


def read_stored(path: Path, *, as_label: bool) -> tuple[Array, Geometry]:
    """Read one file, or folder, as `(C, Z, Y, X)` of the numeric type in which it is stored.

    Args:
        path: Its ending and its content choose the reader; both must agree.
        as_label: It holds label values.

    Raises:
        FileError: It cannot be read, is of another format than its ending says, or places nothing in space.
    """
    if not path.exists():
        raise FileError(path, "does not exist", "Check the name and the folder.")
    ending = known_ending(path.name)
    if path.is_dir():
        if ending is not None and ending not in FOLDER_ENDINGS:
            raise FileError(path, f"is a folder, no {ending} file", "Replace it by the file, or correct its name.")
        reader = reader_for(ending or DICOM_ENDING)
    else:
        reader = reader_for(path)
        require_content(path, ending or "")
    try:
        array, geometry = reader.read(path, as_label=as_label)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error})", "Check the permissions of the file or folder.") from error
    require_sound(path, array, geometry)
    return array, geometry
