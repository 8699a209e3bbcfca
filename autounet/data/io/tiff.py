"""TIFF and OME-TIFF by tifffile: images, colour images and stacks; the voxel size is told as `voxel_size.py` has it."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageSequence
import tifffile

from autounet.data.io.base import FileError, label_for_writing, require_held
from autounet.data.io.voxel_size import sidecar_of, voxel_size_mm
from autounet.geometry import Array, Geometry, Triple
from autounet.records import atomic_path, write_text_atomically

_CHANNEL_AXES = "SC"  # tifffile's letters: samples of a pixel, channels
_NO_SPACING: Triple = (1.0, 1.0, 1.0)
_UNCOMPRESSED = 1  # TIFF 6.0, Compression

# tifffile logs everything odd about a file; what matters is raised.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class TiffReader:
    """Reads and writes `.tif`, `.tiff`, `.ome.tif` and `.ome.tiff`.

    Axes are `(Y, X)`, colours `(Y, X, 3 or 4)`, stacks `(Z, Y, X)`, and channels before or behind the stack's.
    """

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read a file as `(C, Z, Y, X)`; a file without a stack axis is a 2D image."""
        try:
            with tifffile.TiffFile(path) as file:
                axes, stored = _stored(path, file)
                array, has_stack = _arranged(path, axes, stored)
                spacing = voxel_size_mm(path, _ending(path), file, is_stack=has_stack)
        except FileError:
            raise
        except Exception as error:  # damage makes tifffile fail in any way
            raise FileError(
                path, f"is damaged or no TIFF file ({error})", "Export it again, or copy it again."
            ) from error
        geometry = Geometry.from_spacing(
            spacing or _NO_SPACING, num_spatial_dims=3 if has_stack else 2, tells_spacing=spacing is not None
        )
        return array, geometry

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Write a label map `(Z, Y, X)` and its voxel size: into OME-XML, or a JSON file beside a plain TIFF."""
        values = label_for_writing(path, label)
        is_2d = geometry.num_spatial_dims == 2 and values.shape[0] == 1
        ending = _ending(path)
        is_ome = ending.startswith(".ome")
        metadata: dict[str, Any] = {"axes": "YX" if is_2d else "ZYX"}
        if is_ome and geometry.tells_spacing:
            for axis, size in zip("ZYX", geometry.spacing_mm, strict=True):
                metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "mm"}
        elif not is_ome and (not is_2d or geometry.spacing_mm != _NO_SPACING):
            text = json.dumps({"spacing": list(geometry.spacing_mm)})
            write_text_atomically(sidecar_of(path, ending), text + "\n")
        with atomic_path(path) as partial:
            tifffile.imwrite(
                partial,
                values[0] if is_2d else values,
                ome=is_ome,
                photometric="minisblack",
                compression="zlib",
                metadata=metadata,
            )


READER = TiffReader()


def _ending(path: Path) -> str:
    """The ending as it stands in the file's name."""
    inner = Path(path.stem).suffix
    return inner + path.suffix if inner.lower() == ".ome" else path.suffix


def _stored(path: Path, file: Any) -> tuple[str, Array]:
    """The letters of the axes, and the array as stored."""
    if len(file.series) != 1:
        raise FileError(
            path, f"holds {len(file.series)} images of different kinds", "Save one image or one stack per file."
        )
    series = file.series[0]
    axes: str = series.axes
    is_compressed = any(page.compression != _UNCOMPRESSED for page in series.pages[:1] if page is not None)
    require_held(
        path, math.prod(series.shape) * series.dtype.itemsize, path.stat().st_size, is_compressed=is_compressed
    )
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
