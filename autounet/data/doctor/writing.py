"""Repaired images on disk, as float32 in the format of their ending."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autounet.data.io import FileError, known_ending
from autounet.geometry import Geometry
from autounet.records import write_text_atomically

# Endings of what `write_image` writes.
WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".tif", ".tiff")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_image(path: Path, array: npt.NDArray[np.float32], place: Geometry) -> None:
    """Write an image `(C, Z, Y, X)` at its place in space.

    Raises:
        FileError: Images of this ending cannot be written.
    """
    ending = known_ending(path.name) or ""
    if ending in (".nii", ".nii.gz"):
        _write_nifti(path, array, place)
    elif ending in (".nrrd", ".mha", ".mhd", ".gipl"):
        _write_sitk(path, array, place)
    elif ending in (".tif", ".tiff"):
        _write_tiff(path, array, place)
    else:
        raise FileError(path, "repaired images of this kind cannot be written", "Correct the original by hand.")


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
