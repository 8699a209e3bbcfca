"""TIFF by tifffile: images, colour images and stacks.

The voxel size of a stack is in a JSON file beside it, `{"spacing": [z, y, x]}`, as in nnU-Net's `Tiff3DIO`. The
resolution tags are not used: their unit is ambiguous, and most writers leave a default in them.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageSequence
import tifffile

from autounet.data.io.base import FileError, label_for_writing
from autounet.errors import RequestError
from autounet.geometry import Array, Geometry, Triple
from autounet.records import atomic_path, read_json, write_text_atomically

_CHANNEL_AXES = "SC"  # tifffile's letters: samples of a pixel, channels
_NO_SPACING: Triple = (1.0, 1.0, 1.0)
_CHANNEL_SUFFIX = re.compile(r"_\d{4}$")


class TiffReader:
    """Reads and writes `.tif` and `.tiff`: `(Y, X)`, `(Y, X, 3 or 4)` colours, and stacks `(Z, Y, X)`."""

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read a file as `(C, Z, Y, X)`; a file without a stack axis is a 2D image."""
        try:
            axes, stored = _stored(path)
        except FileError:
            raise
        except (OSError, ValueError, IndexError, KeyError, EOFError, zlib.error, struct.error) as error:
            raise FileError(
                path, f"is damaged or no TIFF file ({error})", "Export it again, or copy it again."
            ) from error
        array, has_stack = _arranged(path, axes, stored)
        return array, Geometry.from_spacing(_spacing(path), num_spatial_dims=3 if has_stack else 2)

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Write a label map `(Z, Y, X)`, and the JSON file with the voxel size where there is one to tell."""
        values = label_for_writing(path, label)
        is_2d = geometry.num_spatial_dims == 2 and values.shape[0] == 1
        if not is_2d or geometry.spacing_mm != _NO_SPACING:
            text = json.dumps({"spacing": list(geometry.spacing_mm)})
            write_text_atomically(path.with_suffix(".json"), text + "\n")
        with atomic_path(path) as partial:
            tifffile.imwrite(
                partial,
                values[0] if is_2d else values,
                photometric="minisblack",
                compression="zlib",
                metadata={"axes": "YX" if is_2d else "ZYX"},
            )


READER = TiffReader()


def _stored(path: Path) -> tuple[str, Array]:
    """The letters of the axes, and the array as stored."""
    with tifffile.TiffFile(path) as file:
        if len(file.series) != 1:
            raise FileError(
                path, f"holds {len(file.series)} images of different kinds", "Save one image or one stack per file."
            )
        series = file.series[0]
        axes: str = series.axes
        try:
            return axes, series.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return axes, _decoded_by_pillow(path, series.shape)


def _decoded_by_pillow(path: Path, shape: tuple[int, ...]) -> Array:
    """Decode LZW and other compressions that tifffile only knows together with the package imagecodecs."""
    with PIL.Image.open(path, formats=("TIFF",)) as image:
        frames = np.stack([np.asarray(frame) for frame in PIL.ImageSequence.Iterator(image)])
    if frames.size != np.prod(shape):
        raise FileError(path, "its compression cannot be decoded", "Save it uncompressed or with zlib.")
    return frames.reshape(shape)


def _arranged(path: Path, axes: str, stored: Array) -> tuple[Array, bool]:
    """The array as `(C, Z, Y, X)`, and whether the file has a stack axis."""
    single = [axis for axis, letter in enumerate(axes) if letter not in "YX" and stored.shape[axis] == 1]
    spare = single[: max(0, len(axes) - 3)]
    letters = [letter for axis, letter in enumerate(axes) if axis not in spare]
    array = np.squeeze(stored, axis=tuple(spare))
    channel = [axis for axis, letter in enumerate(letters) if letter in _CHANNEL_AXES]
    stack = [axis for axis, letter in enumerate(letters) if letter not in "YX" and axis not in channel]
    if len(channel) > 1 or len(stack) > 1 or letters.count("Y") != 1 or letters.count("X") != 1:
        raise FileError(path, f"axes {axes} of shape {stored.shape} are not supported", "Save one stack per channel.")
    order = [*channel, *stack, letters.index("Y"), letters.index("X")]
    array = array.transpose(order)
    if not channel:
        array = array[None]
    return (array if stack else array[:, None]), bool(stack)


def _spacing(path: Path) -> Triple:
    """Voxel size of the JSON file beside an image `case_0000.tif` (`case.json`) or a label `case.tif`."""
    stem = path.name[: -len(path.suffix)]
    names = dict.fromkeys((f"{stem}.json", f"{_CHANNEL_SUFFIX.sub('', stem)}.json"))
    sidecar = next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
    if sidecar is None:
        return _NO_SPACING
    try:
        content = read_json(sidecar)
        z, y, x = (float(size) for size in content["spacing"])
    except (RequestError, KeyError, TypeError, ValueError) as error:
        raise FileError(sidecar, f"tells no voxel size ({error})", 'It must hold {"spacing": [z, y, x]}.') from error
    return (z, y, x)
