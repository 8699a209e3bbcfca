"""Images written anew, repaired or in another format: as float32, or in PNG as whole numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autounet.data.io import FileError, known_ending
from autounet.geometry import Geometry
from autounet.records import write_text_atomically

# Endings of what `write_image` writes.
WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".tif", ".tiff", ".png")
# Channels of a PNG: grey, colours, colours and alpha.
_PNG_CHANNELS, _MAX_BYTE, _MAX_GREY = (1, 3, 4), 255, 65535
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_image(path: Path, array: npt.NDArray[np.float32], place: Geometry) -> None:
    """Write an image `(C, Z, Y, X)` at its place in space.

    Raises:
        FileError: Images of this ending cannot be written, or cannot hold this one.
    """
    ending = known_ending(path.name) or ""
    if ending in (".nii", ".nii.gz"):
        _write_nifti(path, array, place)
    elif ending in (".nrrd", ".mha", ".mhd", ".gipl"):
        _write_sitk(path, array, place)
    elif ending in (".tif", ".tiff"):
        _write_tiff(path, array, place)
    elif ending == ".png":
        _write_png(path, array)
    else:
        raise FileError(path, f"{ending or path.suffix} images cannot be written", f"Use one of {', '.join(WRITABLE)}.")


def _write_nifti(path: Path, array: npt.NDArray[np.float32], place: Geometry) -> None:
    import nibabel as nib

    is_2d = place.num_spatial_dims == 2
    voxels = array[:, 0].T if is_2d else array.T  # (x, y[, z], c)
    if len(array) == 1:
        voxels = voxels[..., 0]
    elif is_2d:
        voxels = voxels[:, :, None]
    image = nib.Nifti1Image(voxels, place.matrix)
    zooms = [*place.spacing_mm[::-1], 1.0]
    image.header.set_zooms(zooms[: voxels.ndim])
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


def _write_sitk(path: Path, array: npt.NDArray[np.float32], place: Geometry) -> None:
    import SimpleITK

    num_dims = 2 if place.num_spatial_dims == 2 else 3
    voxels = array[:, 0] if num_dims == 2 else array
    is_vector = len(array) > 1
    image = SimpleITK.GetImageFromArray(np.moveaxis(voxels, 0, -1) if is_vector else voxels[0], isVector=is_vector)
    spacing = place.spacing_mm[::-1]
    lps = _LPS_TO_RAS @ place.matrix
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing[:num_dims])
    image.SetOrigin(lps[:num_dims, 3].tolist())
    image.SetDirection((lps[:3, :3] / lengths)[:num_dims, :num_dims].ravel().tolist())
    # An .mhd has its voxels in a second file; there is no need for compression to keep them apart.
    SimpleITK.WriteImage(image, str(path), useCompression=path.suffix.lower() != ".gipl")


def _write_tiff(path: Path, array: npt.NDArray[np.float32], place: Geometry) -> None:
    import tifffile

    is_2d = place.num_spatial_dims == 2
    axes = "YX" if is_2d else "ZYX"
    voxels = array[:, 0] if is_2d else array
    if len(array) == 1:
        tifffile.imwrite(path, voxels[0], metadata={"axes": axes}, photometric="minisblack", compression="zlib")
    else:
        tifffile.imwrite(path, voxels, metadata={"axes": f"C{axes}"}, photometric="minisblack", compression="zlib")
    if not is_2d or place.spacing_mm != (1.0, 1.0, 1.0):
        sidecar = {"spacing": list(place.spacing_mm)}
        write_text_atomically(path.with_suffix(".json"), json.dumps(sidecar) + "\n")


def _write_png(path: Path, array: npt.NDArray[np.float32]) -> None:
    import PIL.Image

    num_channels, num_slices = array.shape[:2]
    highest = _MAX_GREY if num_channels == 1 else _MAX_BYTE
    if num_slices > 1 or num_channels not in _PNG_CHANNELS:
        what = f"a PNG holds 1, 3 or 4 channels of one slice, this image has {num_channels} of {num_slices}"
        raise FileError(path, what, "Use .tif or .nii.gz.")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > highest or not np.array_equal(array, np.rint(array)):
        what = f"a PNG holds whole numbers from 0 to {highest}, this image has values from {low:g} to {high:g}"
        raise FileError(path, what, "Use .tif or .nii.gz.")
    pixels = array[:, 0].astype(np.uint8 if high <= _MAX_BYTE else np.uint16)
    PIL.Image.fromarray(pixels[0] if num_channels == 1 else np.moveaxis(pixels, 0, -1)).save(path)
