"""A folder of DICOM slices as a case, or a single DICOM file, by SimpleITK's GDCM.

GDCM applies the rescale slope and intercept of every slice, so that CT comes in Hounsfield units. Slices are sorted
by their place along the normal of their plane (DICOM PS3.3, C.7.6.2: ImagePositionPatient, ImageOrientationPatient),
not by file name or instance number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from autounet.data.io.base import FileError, affine_rows, refuse_label, require_held
from autounet.data.io.dicom_lengths import MAGIC, PREAMBLE_BYTES, require_within
from autounet.data.io.sitk import LPS_TO_RAS, SitkReader, num_bytes, reason_of
from autounet.geometry import Array, Geometry

_GDCM = "GDCMImageIO"
_SLICE_THICKNESS = "0018|0050"
_PATIENT_ID, _SERIES_DESCRIPTION, _MODALITY = "0010|0020", "0008|103e", "0008|0060"
# A gap so much larger than the usual one misses a slice.
_MISSING_SLICE = 1.5
# Slices may lie off an even grid by this share of a gap: positions are often rounded to a tenth of a millimetre.
_UNEVENNESS = 0.25
_SAME_DIRECTION = 1e-3
_MOST_SHOWN = 5


class DicomReader:
    """Reads folders of `.dcm` slices of one series; the names of the files do not matter."""

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read a folder, or a single file, as `(C, Z, Y, X)`; a file of one frame is a 2D image."""
        if path.is_dir():
            return _joined(path, [_slice(file) for file in _series(path)])
        require_within(path)
        array, geometry = SitkReader().read(path)
        return array, geometry.model_copy(update={"num_spatial_dims": 2 if array.shape[1] == 1 else 3})

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Not done: label maps of DICOM images are NIfTI."""
        refuse_label(path, "DICOM", ".nii.gz")


READER = DicomReader()


def patient_id(path: Path) -> str | None:
    """The PatientID of a DICOM file, or of the slices in a folder; `None` where there is none.

    Raises:
        FileError: It cannot be read as DICOM.
    """
    if path.is_dir():
        path = _series(path)[0]
    else:
        require_within(path)
    reader = _header(path)
    return _tag(reader, _PATIENT_ID) or None


@dataclass(frozen=True)
class _Slice:
    """One slice.

    Attributes:
        file: It was read from.
        voxels: `(C, Y, X)`.
        spacing_mm: Of pixels `(x, y)`.
        position_mm: Of the first voxel `(x, y, z)`, LPS.
        direction: Columns are the directions of the image's x, its y, and the normal, LPS.
    """

    file: Path
    voxels: Array
    spacing_mm: tuple[float, float]
    position_mm: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]


def _series(folder: Path) -> list[Path]:
    """The files of the one series in a folder."""
    for file in sorted(folder.iterdir()):
        if file.is_file():
            require_within(file)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not names:
        deeper = " (its folders may)" if any(entry.is_dir() for entry in folder.iterdir()) else ""
        raise FileError(folder, f"holds no DICOM slices{deeper}", "Put the slices of one series right into it.")
    files = {name: SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), name) for name in names}
    if len(names) > 1:
        listed = "; ".join(_described(name, files[name]) for name in names[:_MOST_SHOWN])
        more = f"; and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
        raise FileError(
            folder,
            f"holds {len(names)} series: {listed}{more}",
            "Keep one of them; move the others to folders of their own.",
        )
    slices = [Path(file) for file in files[names[0]]]
    _require_none_left_out(folder, {file.name for file in slices})
    return slices


def _require_none_left_out(folder: Path, names: set[str]) -> None:
    """GDCM passes over damaged files without a word; at the end of a volume their absence would not be seen."""
    for file in sorted(folder.iterdir()):
        if file.name in names or file.name.startswith(".") or file.name.upper() == "DICOMDIR" or not file.is_file():
            continue
        with file.open("rb") as content:
            is_dicom = content.read(len(MAGIC) + PREAMBLE_BYTES)[PREAMBLE_BYTES:] == MAGIC
        if is_dicom or file.suffix.lower() == ".dcm":
            raise FileError(
                file,
                "is damaged, or no image like the slices beside it",
                "Export the slice again; move structure sets and reports out of the folder.",
            )


def _described(name: str, files: Sequence[str]) -> str:
    reader = _header(Path(files[0]))
    words = (
        " ".join(filter(None, (_tag(reader, _MODALITY), _tag(reader, _SERIES_DESCRIPTION)))) or "without description"
    )
    return f"{name} ({words}, {len(files)} file{'s' * (len(files) != 1)})"


def _tag(reader: Any, key: str) -> str:
    return str(reader.GetMetaData(key)).strip() if reader.HasMetaDataKey(key) else ""


def _header(file: Path) -> Any:
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(_GDCM)
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise FileError(file, f"is damaged or no DICOM image ({reason_of(error)})", "Export it again.") from error
    return reader


def _slice(file: Path) -> _Slice:
    reader = _header(file)
    if reader.GetDimension() != 3 or reader.GetSize()[2] != 1:
        raise FileError(
            file,
            f"holds {reader.GetSize()[2:]} frames, and other files lie beside it",
            "Keep it alone as case_0000.dcm.",
        )
    require_held(file, num_bytes(reader), file.stat().st_size, is_compressed=True)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise FileError(file, f"its pixels cannot be read ({reason_of(error)})", "Export it again.") from error
    voxels = SimpleITK.GetArrayFromImage(image)[0]
    x, y, _ = image.GetSpacing()
    return _Slice(
        file=file,
        voxels=np.moveaxis(voxels, -1, 0) if voxels.ndim == 3 else voxels[None],
        spacing_mm=(x, y),
        position_mm=np.asarray(image.GetOrigin()),
        direction=np.asarray(image.GetDirection()).reshape(3, 3),
    )


def _joined(folder: Path, slices: Sequence[_Slice]) -> tuple[Array, Geometry]:
    first = slices[0]
    for other in slices[1:]:
        _require_same_plane(first, other)
    normal = first.direction[:, 2]
    ordered = sorted(slices, key=lambda entry: float(entry.position_mm @ normal))
    axes = first.direction * [*first.spacing_mm, 1.0]
    if len(ordered) > 1:
        _require_even(folder, ordered, np.array([float(entry.position_mm @ normal) for entry in ordered]))
        # From the first to the last slice: a tilted gantry shifts every slice within its plane, which is a shear.
        axes[:, 2] = (ordered[-1].position_mm - ordered[0].position_mm) / (len(ordered) - 1)
    else:
        axes[:, 2] = normal * _thickness(first.file)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes, ordered[0].position_mm
    x, y, z = np.linalg.norm(axes, axis=0).tolist()
    geometry = Geometry(spacing_mm=(z, y, x), affine=affine_rows(LPS_TO_RAS @ matrix), num_spatial_dims=3)
    # Slices of one series may differ in type, where slope and intercept are whole numbers in some of them only.
    return np.stack([entry.voxels for entry in ordered], axis=1), geometry


def _thickness(file: Path) -> float:
    """Of a slice without neighbours, in mm."""
    reader = _header(file)
    try:
        return abs(float(_tag(reader, _SLICE_THICKNESS))) or 1.0
    except ValueError:
        return float(reader.GetSpacing()[2])


def _require_same_plane(first: _Slice, other: _Slice) -> None:
    differences = {
        "shape": (first.voxels.shape, other.voxels.shape),
        "pixel size": (first.spacing_mm, other.spacing_mm),
        "orientation": (first.direction.round(3).tolist(), other.direction.round(3).tolist()),
    }
    same = (
        first.voxels.shape == other.voxels.shape,
        np.allclose(first.spacing_mm, other.spacing_mm, rtol=_SAME_DIRECTION),
        np.allclose(first.direction, other.direction, atol=_SAME_DIRECTION),
    )
    for (what, (one, two)), equal in zip(differences.items(), same, strict=True):
        if not equal:
            raise FileError(
                other.file,
                f"its {what} {two} differs from {one} of {first.file.name}, in the same series",
                "Take out what is not part of the volume, for example localizers.",
            )


def _require_even(folder: Path, slices: Sequence[_Slice], places_mm: npt.NDArray[np.float64]) -> None:
    """Slices must lie at even distances, up to rounding."""
    gaps = np.diff(places_mm)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # the lower median: of two gaps, the wider one is the odd one
    names = [entry.file.name for entry in slices]
    if usual <= 0 or (gaps <= _UNEVENNESS * usual).any():
        index = int(np.argmin(gaps))
        raise FileError(
            folder,
            f"{names[index]} and {names[index + 1]} lie at the same place ({places_mm[index]:.6g} mm)",
            "Remove copies; save points in time, echoes or phases as one folder each.",
        )
    wide = np.flatnonzero(gaps > _MISSING_SLICE * usual)
    if wide.size:
        missing = int(sum(max(1, round(float(gaps[index]) / usual) - 1) for index in wide))
        index = int(wide[0])
        raise FileError(
            folder,
            f"{missing} slice{'s are' if missing > 1 else ' is'} missing of {len(names) + missing}: {names[index]} and "
            f"{names[index + 1]} lie {gaps[index]:.4g} mm apart, the others {usual:.4g} mm",
            "Export the series again.",
        )
    even = np.linspace(places_mm[0], places_mm[-1], len(places_mm))
    worst = int(np.argmax(np.abs(even - places_mm)))
    if abs(even[worst] - places_mm[worst]) > _UNEVENNESS * usual:
        low, high = min(b - a for a, b in pairwise(places_mm)), max(b - a for a, b in pairwise(places_mm))
        raise FileError(
            folder,
            f"its slices lie at uneven distances, {low:.4g} to {high:.4g} mm",
            "Resample it to even distances, or keep the part that is even.",
        )
