"""What every reader shares: the image in memory, the protocol, and the checks on what was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from autounet.errors import RequestError
from autounet.geometry import Array, Geometry, Shape3, corner_displacement_mm

Affine = tuple[tuple[float, float, float, float], ...]

# Voxel sizes that let two grids drift apart by more than this share of a voxel are different voxel sizes. nnU-Net
# compares each size to five digits; the drift over the volume is what matters, and float noise stays far below.
_SPACING_DRIFT = 0.1
# Origin and direction are often lost by tools that write labels, and nnU-Net only warns of any difference. Up to one
# voxel (half-voxel conventions, sform against qform) is let pass; beyond that the two files show different places.
_MAX_DISPLACEMENT_VOXELS = 1.0
# Labels that were stored as scaled integers come back as 0.99999.
_WHOLE_NUMBER_TOLERANCE = 1e-3
# Deflate shrinks at most to 1/1032, LZW of 12 bits to 1/1365, and JPEG less (zlib's technical notes; TIFF 6.0). A
# header that claims more than the larger of these two is no compression but a lie.
_MAX_COMPRESSION = 2000
_ALWAYS_PLAUSIBLE_BYTES = 64 << 20
# Of unit axes; a real direction matrix has 1, a strong shear more than 0.1.
_MIN_DETERMINANT = 1e-6


class FileError(RequestError):
    """One file cannot be used.

    Attributes:
        path: The file.
        what: What is wrong with it.
        remedy: What the user can do about it.
    """

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        self.path = path
        self.what = what
        self.remedy = remedy
        super().__init__(f"{path}: {what}. {remedy}")

    def __reduce__(self) -> tuple[type[FileError], tuple[Path, str, str]]:
        # Errors are pickled on their way back from a worker process.
        return type(self), (self.path, self.what, self.remedy)


@dataclass(frozen=True)
class Image:
    """One case's image.

    Attributes:
        array: `(C, Z, Y, X)` float32, contiguous and writeable.
        geometry: Where its grid lies; of the first channel's file.
    """

    array: npt.NDArray[np.float32]
    geometry: Geometry

    @property
    def shape(self) -> Shape3:
        """Voxels `(z, y, x)`."""
        _, z, y, x = self.array.shape
        return (z, y, x)

    @classmethod
    def from_array(
        cls, array: npt.ArrayLike, spacing_mm: Sequence[float] | None = None, *, affine: Affine | None = None
    ) -> Image:
        """An image of a NumPy array.

        The number of voxel sizes tells the axes: with three of them `(Z, Y, X)` or `(C, Z, Y, X)`, with two
        `(Y, X)` or `(C, Y, X)`. Without any, an array of two axes is an image, one of three or four a volume.

        Args:
            array: Real numbers.
            spacing_mm: Voxel size `(z, y, x)` or `(y, x)` in mm; `None` where nobody knows.
            affine: From voxel index `(x, y, z)` to world in mm, RAS+; made of the voxel sizes if left out.

        Raises:
            RequestError: The array's type or axes, the voxel sizes or the affine do not fit.
        """
        voxels = np.asarray(array)
        num_spatial_dims = (2 if voxels.ndim == 2 else 3) if spacing_mm is None else len(spacing_mm)
        if num_spatial_dims not in (2, 3) or voxels.ndim - num_spatial_dims not in (0, 1):
            given = "no voxel sizes" if spacing_mm is None else f"{num_spatial_dims} voxel sizes"
            raise RequestError(
                f"an array of shape {voxels.shape} with {given} is not an image. Give (Z, Y, X) or (C, Z, Y, X) and "
                "three voxel sizes, or (Y, X) or (C, Y, X) and two."
            )
        channels = voxels if voxels.ndim > num_spatial_dims else voxels[None]
        if num_spatial_dims == 2:
            channels = channels[:, None]
        sizes = (1.0, 1.0, 1.0) if spacing_mm is None else (1.0, *map(float, spacing_mm))[-3:]
        spacing = (sizes[0], sizes[1], sizes[2])
        geometry = Geometry.from_spacing(spacing, num_spatial_dims, tells_spacing=spacing_mm is not None)
        if affine is not None:
            geometry = Geometry(spacing_mm=spacing, affine=affine, num_spatial_dims=num_spatial_dims)
        require_sound(Path("array"), channels, geometry)
        with np.errstate(over="ignore"):
            return cls(array=np.array(channels, dtype=np.float32, order="C"), geometry=geometry)


class Reader(Protocol):
    """Reads and writes one family of file formats."""

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read a file as `(C, Z, Y, X)` of the numeric type in which it is stored.

        Args:
            path: The file.
            as_label: The file holds label values; the indices of a palette are then values, not colours.

        Raises:
            FileError: The file cannot be read.
        """

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Write a label map `(Z, Y, X)` at its place in space, as uint8 or uint16, atomically.

        Raises:
            FileError: The format cannot hold it.
        """


def affine_rows(matrix: npt.NDArray[np.floating[Any]]) -> Affine:
    """A `(4, 4)` array as the rows of a `Geometry`."""
    rows = matrix.tolist()
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in rows)


def label_for_writing(path: Path, label: Array, *, max_value: int = 2**32 - 1) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The label map `(Z, Y, X)` as contiguous uint8, or as uint16 or uint32 where its values need it.

    What comes as uint16 stays so, where the format allows.

    Raises:
        FileError: A value is negative or exceeds `max_value`.
    """
    low, high = (int(label.min()), int(label.max())) if label.size else (0, 0)
    if low < 0 or high > max_value:
        raise FileError(
            path,
            f"label values from {low} to {high} cannot be written; this format holds 0 to {max_value}",
            "Renumber the labels, or use .nii.gz.",
        )
    smallest = np.uint8 if high < 256 else np.uint16 if high < 65536 else np.uint32
    # Maps of objects come in one type for all images, however many each shows.
    is_kept = label.dtype == np.uint16 and max_value >= 65535
    return np.ascontiguousarray(label, dtype=np.uint16 if is_kept else smallest)


def require_planar(path: Path, label: Array) -> None:
    """Refuse a volume for a format that holds single slices.

    Raises:
        FileError: The label map has more than one slice.
    """
    if label.shape[0] != 1:
        raise FileError(
            path, f"a volume of {label.shape[0]} slices cannot be written as {path.suffix}", "Use .nii.gz or .tif."
        )


def refuse_label(path: Path, what: str, ending: str) -> NoReturn:
    """Refuse to write a label map in a format that is only read.

    Raises:
        FileError: Always; it names the ending to use.
    """
    raise FileError(path, f"label maps are not written as {what}", f"Write it as {ending}.")


def require_held(path: Path, num_bytes: int, stored_bytes: int, *, is_compressed: bool) -> None:
    """Refuse a header that claims more than its file can hold, before memory is taken for it.

    Args:
        path: The file.
        num_bytes: Of all voxels, as the header has it.
        stored_bytes: Of the file that holds them.
        is_compressed: Whether the voxels may take less there than in memory.

    Raises:
        FileError: The claim cannot be true.
    """
    most = max(_ALWAYS_PLAUSIBLE_BYTES, _MAX_COMPRESSION * stored_bytes) if is_compressed else stored_bytes
    if num_bytes > most:
        raise FileError(
            path,
            f"the file is cut short or its header is wrong: it claims {num_bytes} bytes of voxels, and "
            f"{stored_bytes} bytes are there",
            "Copy or export it again.",
        )


def require_sound(path: Path, array: Array, geometry: Geometry) -> None:
    """Refuse an array without voxels or numbers, and a geometry that places nothing.

    Raises:
        FileError: The array is empty or not of real numbers, a voxel size is not positive, or the affine singular.
    """
    if array.size == 0:
        raise FileError(path, f"the image is empty, its shape is {array.shape}", "Export it again.")
    if array.dtype.kind not in "iufb":
        raise FileError(
            path, f"voxels of type {array.dtype} are not supported", "Save real numbers, one file per channel."
        )
    require_sound_geometry(path, geometry)


def require_sound_geometry(path: Path, geometry: Geometry) -> None:
    """Refuse a geometry that places nothing.

    Raises:
        FileError: A voxel size is not positive, or the affine is singular.
    """
    if not all(np.isfinite(size) and size > 0 for size in geometry.spacing_mm):
        raise FileError(
            path,
            f"the voxel size {geometry.spacing_mm} mm (z, y, x) is not positive",
            "Correct the header, it must tell the size of a voxel on every axis.",
        )
    axes = geometry.matrix[:3, :3]
    if not np.isfinite(geometry.matrix).all() or not _spans_space(axes):
        raise FileError(
            path, "the header's orientation is not a valid, invertible matrix", "Correct its sform or direction."
        )


def _spans_space(axes: npt.NDArray[np.float64]) -> bool:
    """Whether three axes `(3, 3)` (columns) span a volume that is more than rounding."""
    lengths = np.linalg.norm(axes, axis=0)
    return bool(lengths.all() and abs(np.linalg.det(axes / lengths)) > _MIN_DETERMINANT)


def geometry_difference(first: Geometry, second: Geometry, shape: Shape3) -> str | None:
    """How two files of a case differ in their place in space, as a clause; `None` where they agree well enough.

    A file that tells no voxel size, such as a PNG beside a TIFF, contradicts nothing.

    Args:
        first: The geometry that the other is compared with.
        second: The other.
        shape: Voxels `(z, y, x)` of both.
    """
    if not (first.tells_spacing and second.tells_spacing):
        return None
    smallest = min(first.spacing_mm)
    drift = max(
        abs(one - other) * (size - 1)
        for one, other, size in zip(first.spacing_mm, second.spacing_mm, shape, strict=True)
    )
    if drift > _SPACING_DRIFT * smallest:
        return f"the voxel sizes differ: {_triple(first.spacing_mm)} and {_triple(second.spacing_mm)} mm (z, y, x)"
    displacement = corner_displacement_mm(first, second, shape)
    if displacement > _MAX_DISPLACEMENT_VOXELS * smallest:
        return (
            f"origin or direction differ: the same corner lies {displacement:.3g} mm apart "
            f"(a voxel measures {smallest:.3g} mm)"
        )
    return None


def whole_numbers(path: Path, array: Array) -> npt.NDArray[np.integer[Any]]:
    """The values of a label file in the smallest of uint8, uint16 and int64 that holds them.

    Raises:
        FileError: A value is not finite or not a whole number.
    """
    values = array
    if array.dtype.kind == "f":
        num_bad = int(array.size - np.isfinite(array).sum())
        if num_bad:
            raise FileError(path, f"{num_bad} label voxels are NaN or infinite", "Label voxels must be whole numbers.")
        values = np.rint(array)
        off = np.abs(values - array) > _WHOLE_NUMBER_TOLERANCE
        if off.any():
            raise FileError(
                path,
                f"{int(off.sum())} label voxels are not whole numbers, for example {float(array[off][0]):.6g}",
                "Resample labels with nearest neighbour only, and save them as integers.",
            )
    low, high = int(values.min()), int(values.max())
    dtype = np.uint8 if low >= 0 and high < 256 else np.uint16 if low >= 0 and high < 65536 else np.int64
    return np.ascontiguousarray(values, dtype=dtype)


def _triple(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
