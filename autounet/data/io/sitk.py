"""NRRD, MetaImage and GIPL by SimpleITK.

SimpleITK places voxels in LPS (x to the left, y to the back), `Geometry` in RAS: the signs of world x and y differ.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from autounet.data.io.base import FileError, affine_rows, label_for_writing, require_held, require_sound_geometry
from autounet.data.io.text_headers import VoxelFile, require_intact, require_sound_meta, voxel_file
from autounet.geometry import Array, Geometry
from autounet.records import atomic_path

_GIPL_HEADER_BYTES = 256
_META_ENDINGS = (".mha", ".mhd")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# ITK would otherwise start a thread a core in every worker process, and write its warnings to stderr.
SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


class SitkReader:
    """Reads and writes `.nrrd`, `.mha`, `.mhd` and `.gipl`; vectors and a fourth axis are channels."""

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read a file as `(C, Z, Y, X)`."""
        if path.suffix.lower() in _META_ENDINGS:
            require_sound_meta(path)
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
            _require_sound_header(path, reader)
            image = reader.Execute()
        except RuntimeError as error:
            raise FileError(
                path, f"is damaged or no {path.suffix} file ({reason_of(error)})", "Export it again, or copy it again."
            ) from error
        num_dims = image.GetDimension()
        is_vector = image.GetNumberOfComponentsPerPixel() > 1
        array = SimpleITK.GetArrayFromImage(image)
        if is_vector:
            array = np.moveaxis(array, -1, 0)
        elif num_dims < 4:
            array = array[None]
        return (array[:, None] if num_dims == 2 else array), _geometry(image)

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Write a label map `(Z, Y, X)`, with two axes where the geometry has two."""
        values = label_for_writing(path, label, max_value=2**16 - 1 if path.suffix.lower() == ".gipl" else 2**32 - 1)
        is_2d = geometry.num_spatial_dims == 2 and values.shape[0] == 1
        num_dims = 2 if is_2d else 3
        image = SimpleITK.GetImageFromArray(values[0] if is_2d else values)
        spacing = geometry.spacing_mm[::-1]
        lps = LPS_TO_RAS @ geometry.matrix
        image.SetSpacing(spacing[:num_dims])
        image.SetOrigin(lps[:num_dims, 3].tolist())
        image.SetDirection((lps[:3, :3] / spacing)[:num_dims, :num_dims].ravel().tolist())
        with atomic_path(path) as partial:
            _write(image, partial)


READER = SitkReader()


def reason_of(error: RuntimeError) -> str:
    """The line of an ITK error that tells what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The last line may be errno's text of an earlier call, "Reason: No such file or directory".
    return next((line for line in reversed(lines) if not line.startswith("Reason:")), "no reason given")


def num_bytes(reader: Any) -> int:
    """Bytes of all voxels, as the header has it that an `ImageFileReader` has read."""
    # An image of one voxel tells the bytes of a number, without a table of ITK's types.
    one = SimpleITK.Image([1] * reader.GetDimension(), reader.GetPixelID(), reader.GetNumberOfComponents())
    return int(math.prod(reader.GetSize())) * int(one.GetSizeOfPixelComponent()) * int(reader.GetNumberOfComponents())


def _require_sound_header(path: Path, reader: Any) -> None:
    """Refuse what ITK would read wrongly, or take memory for, before the voxels are read."""
    num_dims, is_vector = reader.GetDimension(), reader.GetNumberOfComponents() > 1
    if num_dims not in (2, 3, 4) or (num_dims == 4 and is_vector):
        raise FileError(path, f"an image of size {reader.GetSize()} is not supported", "Save one volume per channel.")
    require_sound_geometry(path, _geometry(reader))
    voxels, claimed = _voxel_file(path), num_bytes(reader)
    stored = voxels.path.stat().st_size - voxels.offset if voxels.path.is_file() else 0
    require_held(path, claimed, stored, is_compressed=voxels.is_packed)
    require_intact(path, voxels, claimed)


def _voxel_file(path: Path) -> VoxelFile:
    """The file that holds the voxels, how many bytes of it are header, and whether the voxels are packed."""
    if path.suffix.lower() == ".gipl":
        # ITK fills the missing part of a GIPL file with whatever lies in memory, and says nothing.
        return VoxelFile(path, _GIPL_HEADER_BYTES, is_packed=False)
    if path.suffix.lower() in (*_META_ENDINGS, ".nrrd"):
        return voxel_file(path)
    return VoxelFile(path, 0, is_packed=True)


def _geometry(image: Any) -> Geometry:
    num_dims = image.GetDimension()
    num_spatial_dims = min(num_dims, 3)
    spacing, origin = np.ones(3), np.zeros(3)
    direction = np.eye(3)
    direction_stored = np.asarray(image.GetDirection()).reshape(num_dims, num_dims)
    spacing[:num_spatial_dims] = image.GetSpacing()[:num_spatial_dims]
    origin[:num_spatial_dims] = image.GetOrigin()[:num_spatial_dims]
    direction[:num_spatial_dims, :num_spatial_dims] = direction_stored[:num_spatial_dims, :num_spatial_dims]
    lps = np.eye(4)
    with np.errstate(invalid="ignore", over="ignore"):  # a broken header is told of by whoever asks for the place
        lps[:3, :3] = direction * spacing
    lps[:3, 3] = origin
    x, y, z = spacing.tolist()
    return Geometry(spacing_mm=(z, y, x), affine=affine_rows(LPS_TO_RAS @ lps), num_spatial_dims=num_spatial_dims)


def _write(image: Any, path: Path) -> None:
    # An .mhd usually names a second file with the voxels, which cannot be replaced together with it. The format also
    # allows them inside, as in an .mha, and every reader of .mhd takes that.
    single = path.with_suffix(".mha") if path.suffix.lower() == ".mhd" else path
    try:
        SimpleITK.WriteImage(image, str(single), useCompression=True)
        single.replace(path)
    finally:
        if single != path:
            single.unlink(missing_ok=True)
