"""OME-Zarr (NGFF 0.1 to 0.5): a folder of chunks, of which the finest level is read.

The metadata is that of https://ngff.openmicroscopy.org, `multiscales`: axes with units, and for every level a scale
and maybe a translation. The chunks are decoded by the package zarr, which is an extra.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autounet.data.io.base import FileError, affine_rows, refuse_label, require_held
from autounet.data.io.units import mm_per_unit
from autounet.errors import RequestError
from autounet.geometry import Array, Geometry

_DEFAULT_AXES = "tczyx"  # of versions 0.1 and 0.2, which do not name them
_REMEDY = "Export it again as OME-Zarr 0.4 or 0.5."


class OmeZarrReader:
    """Reads `.ome.zarr` folders."""

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read the finest level as `(C, Z, Y, X)`."""
        zarr = _zarr()
        if not path.is_dir():
            raise FileError(path, "is no folder, as an OME-Zarr image is", "Unpack it, or correct its ending.")
        try:
            group = zarr.open_group(str(path), mode="r")
            level = _finest_level(path, dict(group.attrs))
            stored = group[level.path]
            _require_axes(path, level, stored.shape)
            require_held(path, math.prod(stored.shape) * stored.dtype.itemsize, _folder_bytes(path), is_compressed=True)
            voxels = np.asarray(stored[...])
        except FileError:
            raise
        except Exception as error:  # broken metadata makes zarr, and the look-ups above, fail in any way
            raise FileError(
                path, f"is damaged or no OME-Zarr image ({error or type(error).__name__})", _REMEDY
            ) from error
        return _arranged(voxels, level.axes), _geometry(level, voxels.shape)

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Not done: label maps of such images are TIFF."""
        refuse_label(path, "OME-Zarr", ".tif")


READER = OmeZarrReader()


@dataclass(frozen=True)
class _Level:
    """One resolution: where it is, the letters of its axes, and the size and place of voxels along each, in mm."""

    path: str
    axes: str
    scale_mm: tuple[float, ...]
    start_mm: tuple[float, ...]
    tells_spacing: bool


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise RequestError("OME-Zarr needs the package zarr. Install it with: pip install 'autounet[zarr]'") from error
    return zarr


def _finest_level(path: Path, attributes: Mapping[str, Any]) -> _Level:
    """The first dataset of the one multiscale image; version 0.5 keeps its metadata under `ome`."""
    content = attributes.get("ome", attributes)
    images = content.get("multiscales") or []
    if len(images) != 1:
        what = "tells of no image (no 'multiscales')" if not images else f"holds {len(images)} images"
        raise FileError(path, what, "Name the folder of one image, the one with 'multiscales' in its metadata.")
    image = images[0]
    dataset = image["datasets"][0]
    named = image.get("axes") or list(_DEFAULT_AXES)
    axes = [axis if isinstance(axis, str) else str(axis["name"]) for axis in named]
    units = ["" if isinstance(axis, str) else str(axis.get("unit") or "") for axis in named]
    scale, start = np.ones(len(axes)), np.zeros(len(axes))
    for entry in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if entry.get("type") == "scale":
            scale, start = scale * entry["scale"], start * entry["scale"]
        elif entry.get("type") == "translation":
            start = start + entry["translation"]
    sizes = [mm_per_unit(unit) for unit in units]
    in_plane = [size for name, size in zip(axes, sizes, strict=True) if name in ("y", "x")]
    # Along an axis without unit, "1" is a number of pixels.
    tells = bool(in_plane) and all(size is not None for size in in_plane)
    mm = np.array([1.0 if size is None or not tells else size for size in sizes])
    return _Level(
        path=str(dataset["path"]),
        axes="".join(axes),
        scale_mm=tuple((scale * mm).tolist()),
        start_mm=tuple((start * mm).tolist()),
        tells_spacing=tells,
    )


def _require_axes(path: Path, level: _Level, shape: Sequence[int]) -> None:
    if len(level.axes) != len(shape) or not {"y", "x"} <= set(level.axes) <= set(_DEFAULT_AXES):
        raise FileError(path, f"the axes {list(level.axes)} do not fit to an image of shape {tuple(shape)}", _REMEDY)
    moments = shape[level.axes.index("t")] if "t" in level.axes else 1
    if moments > 1:
        raise FileError(path, f"holds {moments} moments in time", "Save one image per moment.")


def _arranged(voxels: Array, axes: str) -> Array:
    """The array as `(C, Z, Y, X)`, whatever the order of its axes."""
    if "t" in axes:
        voxels = voxels.take(0, axis=axes.index("t"))
    letters = axes.replace("t", "")
    for missing in "zc":
        if missing not in letters:
            voxels, letters = voxels[None], missing + letters
    return voxels.transpose([letters.index(letter) for letter in "czyx"])


def _geometry(level: _Level, shape: Sequence[int]) -> Geometry:
    spacing, start = (
        tuple(values[level.axes.index(letter)] if letter in level.axes else default for letter in "zyx")
        for values, default in ((level.scale_mm, 1.0), (level.start_mm, 0.0))
    )
    matrix = np.diag([*spacing[::-1], 1.0])
    matrix[:3, 3] = start[::-1]
    z, y, x = spacing
    return Geometry(
        spacing_mm=(z, y, x),
        affine=affine_rows(matrix),
        num_spatial_dims=3 if "z" in level.axes and shape[level.axes.index("z")] > 1 else 2,
        tells_spacing=level.tells_spacing,
    )


def _folder_bytes(path: Path) -> int:
    return sum((Path(folder) / name).stat().st_size for folder, _, names in os.walk(path) for name in names)
