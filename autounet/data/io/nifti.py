"""NIfTI-1 and NIfTI-2, plain or compressed, by nibabel's headers.

The voxels of a NIfTI file are stored with x fastest, so the `(x, y, z)` array in Fortran order and the `(z, y, x)`
array in C order are the same bytes: reading is decompression and a view.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from nibabel.wrapstruct import WrapStructError

from autounet.data.io.base import FileError, affine_rows, label_for_writing
from autounet.data.io.content import GZIP_MAGIC
from autounet.geometry import Array, Geometry
from autounet.records import atomic_path

_NIFTI2_HEADER_BYTES = 540
_PACKED_HEAD_BYTES = 1 << 14  # enough compressed bytes to hold a header
_GZIP_BITS = 31  # zlib's window of 15 bits, plus 16 for a gzip header
# Label maps shrink to hundredths at any level; the low ones are several times faster.
_COMPRESSION_LEVEL = 3
_SCANNER = 1  # NIfTI code of an affine that leads to scanner coordinates
_UNKNOWN = 0
# nibabel logs every header it mends to stderr.
_SILENT = logging.getLogger("autounet.nifti")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class NiftiReader:
    """Reads and writes `.nii` and `.nii.gz`; a fourth (or fifth) axis is the channels."""

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read a file as `(C, Z, Y, X)`; an image of two axes has one slice of 1 mm."""
        content = _content(path)
        try:
            header = _header(path, _unpacked(path, content[:_PACKED_HEAD_BYTES], _NIFTI2_HEADER_BYTES, whole=False))
            stored = _voxels(path, header, _unpacked(path, content, _num_bytes(header), whole=True))
        except (HeaderDataError, WrapStructError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError(
                path, f"is no valid NIfTI file ({error})", "Export it again, or save it under its true ending."
            ) from error
        return stored, _geometry(header)

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Write a label map `(Z, Y, X)`, with two axes where the geometry has two."""
        values = label_for_writing(path, label)
        is_2d = geometry.num_spatial_dims == 2 and values.shape[0] == 1
        image = nib.Nifti1Image((values[0] if is_2d else values).T, geometry.matrix)
        header = image.header
        header.set_sform(geometry.matrix, code=_SCANNER)
        # A quaternion cannot tell a shear; a qform that would contradict the sform is left out.
        header.set_qform(geometry.matrix, code=_SCANNER, strip_shears=True)
        if not np.allclose(header.get_qform(), geometry.matrix, rtol=1e-4, atol=1e-4 * min(geometry.spacing_mm)):
            header.set_qform(None, code=_UNKNOWN)
        header.set_zooms(geometry.spacing_mm[::-1][: 2 if is_2d else 3])
        header.set_xyzt_units("mm")
        content = image.to_bytes()
        with atomic_path(path) as partial:
            compressed = path.name.lower().endswith(".gz")
            # No time stamp inside: the same labels give the same file.
            partial.write_bytes(gzip.compress(content, _COMPRESSION_LEVEL, mtime=0) if compressed else content)


READER = NiftiReader()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error})", "Check the file's permissions.") from error


def _unpacked(path: Path, content: bytes, limit: int, *, whole: bool) -> bytes:
    """The decompressed content, at most `limit` bytes of it and never more than there are.

    Args:
        path: Names the file in errors.
        content: Compressed or not.
        limit: Bytes that are wanted.
        whole: Refuse content that ends before the compressed stream does; `False` for the first part of a file.
    """
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        # One byte more than is wanted makes zlib go to the end of the stream and compare the checksum.
        stream = zlib.decompressobj(wbits=_GZIP_BITS)
        unpacked = stream.decompress(content, limit + 1)
        if not whole or len(unpacked) > limit:
            return unpacked
        if not stream.eof:
            raise EOFError("the compressed stream has no end")
        if stream.unused_data.startswith(GZIP_MAGIC) and len(unpacked) < limit:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as members:
                return members.read(limit)
        return unpacked
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(
            path, f"the compressed file is cut short or damaged ({error})", "Copy or download it again."
        ) from error


def _header(path: Path, content: bytes) -> Any:
    size = content[:4]
    is_nifti2 = _NIFTI2_HEADER_BYTES in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))
    kind = nib.Nifti2Header if is_nifti2 else nib.Nifti1Header
    if not kind.may_contain_header(content):
        raise ValueError("its first bytes are not those of a NIfTI header")
    header = kind.from_fileobj(io.BytesIO(content), check=False)
    if bytes(header["magic"])[:2] == b"ni":
        raise FileError(path, "is one half of a NIfTI pair (.hdr and .img)", "Save both as one .nii.gz file.")
    shape = tuple(int(size) for size in header.get_data_shape())
    if any(size < 0 for size in shape):
        raise FileError(path, f"the header's shape {shape} (x, y, ...) is negative", "Export it again.")
    zooms = [float(zoom) for zoom in header["pixdim"][1 : 1 + min(3, len(shape))]]
    # nibabel would make 1 mm of a size of zero. The standard ignores the sign; an axis of one voxel needs no size.
    if any(not np.isfinite(zoom) or (zoom == 0 and size > 1) for zoom, size in zip(zooms, shape, strict=False)):
        text = ", ".join(f"{zoom:g}" for zoom in zooms)
        raise FileError(
            path,
            f"the voxel size ({text}) mm (x, y, z) is not positive",
            "Correct pixdim in the header, or export again.",
        )
    header.check_fix(logger=_SILENT)
    return header


def _num_bytes(header: Any) -> int:
    """Bytes up to the last voxel."""
    voxels = header.get_data_dtype().itemsize * math.prod(int(size) for size in header.get_data_shape())
    return int(header.get_data_offset()) + int(voxels)


def _voxels(path: Path, header: Any, content: bytes) -> Array:
    """The voxels `(C, Z, Y, X)` as a view of the file's content, scaled where the header asks for it."""
    shape = tuple(int(size) for size in header.get_data_shape())
    dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    needed = _num_bytes(header)
    if len(content) < needed:
        raise FileError(
            path, f"the file is cut short: {len(content)} of {needed} bytes are there", "Copy or download it again."
        )
    stored: Array = np.ndarray(shape, dtype, buffer=content, offset=offset, order="F").T
    slope, inter = header.get_slope_inter()
    if slope is not None and (slope, inter) != (1.0, 0.0) and dtype.kind in "iuf":
        stored = apply_read_scaling(stored, slope, inter)
    # Reversed, (x, y[, z[, t[, c]]]) became ([[[c, ]t, ]z, ]y, x); time and vector axes are both channels.
    num_axes = len(shape)
    if num_axes < 2 or (num_axes > 4 and sum(size > 1 for size in shape[3:]) > 1):
        raise FileError(path, f"an image of shape {shape} (x, y, ...) is not supported", "Save one volume per channel.")
    z, y, x = (1, *stored.shape) if num_axes == 2 else stored.shape[-3:]
    return stored.reshape(-1, z, y, x)


def _geometry(header: Any) -> Geometry:
    num_spatial_dims = 2 if len(header.get_data_shape()) == 2 else 3
    zooms = [float(zoom) for zoom in header.get_zooms()[:num_spatial_dims]]
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    if num_spatial_dims == 2 and not affine[:3, 2].any():
        # Some writers leave the third axis of an image empty; it points away from the image.
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    return Geometry(
        spacing_mm=(zooms[2] if num_spatial_dims == 3 else 1.0, zooms[1], zooms[0]),
        affine=affine_rows(affine),
        num_spatial_dims=num_spatial_dims,
    )
