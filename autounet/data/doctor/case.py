"""One case looked at: its files read once, what is wrong with them, and the figures to compare it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autounet.data.dataset import RawCase, short_path
from autounet.data.description import DatasetDescription
from autounet.data.doctor.findings import Finding, Repair
from autounet.data.doctor.grids import show_same_view
from autounet.data.doctor.measure import ImageFigures, centroids_mm, image_figures
from autounet.data.integrity import channel_problems, label_problems, reading_problem, value_counts
from autounet.data.io import FileError, Image, read_image, read_stored
from autounet.data.io.base import geometry_difference, whole_numbers
from autounet.data.likeness import digest
from autounet.errors import Problem, RequestError, Severity
from autounet.geometry import Array, Geometry, Shape3, Triple, corner_displacement_mm

# Shares of a voxel that a file's corners may lie off. Below the first it is rounding in the header.
_NO_DISPLACEMENT, _HARMLESS_DISPLACEMENT, _REPAIRABLE_DISPLACEMENT = 0.01, 0.1, 1.0
# NaN in more voxels is no blemish but a part of the image that is missing.
_MAX_SHARE_NOT_FINITE = 0.01
# Labels stored as scaled integers are off by less; interpolated ones are off by up to a half.
_MAX_ROUNDED = 0.05
# Columns of the affine and the voxel size are stored apart in NIfTI; float32 keeps six digits.
_MAX_SPACING_RATIO = 1.01


@dataclass(frozen=True)
class CaseExam:
    """What was found in one case.

    Attributes:
        name: The case.
        image_file: Its first image, for tables.
        label_file: Its label, for tables.
        findings: What is wrong with it alone.
        image: Figures of its image; `None` where it cannot be read.
        counts: Voxels of each label value; `None` where the label cannot be read.
        label_digest: Hash of the label's voxels.
        centroids_mm: World place `(x, y, z)`, RAS+, of the label values that were asked for.
    """

    name: str
    image_file: str
    label_file: str
    findings: tuple[Finding, ...]
    image: ImageFigures | None = None
    counts: dict[int, int] | None = None
    label_digest: str = ""
    centroids_mm: dict[int, Triple] | None = None


def examine_case(case: RawCase, description: DatasetDescription, sided_values: Sequence[int]) -> CaseExam:
    """Read a case and look for problems; never raises, whatever the files hold.

    Args:
        case: Its files.
        description: What is expected.
        sided_values: Label values whose centres are measured.
    """
    assert case.label is not None
    image, findings = _examined_image(case, description)
    label, place, label_findings = _examined_label(case, case.label)
    findings += label_findings
    counts = None if label is None else value_counts(label)
    if counts is not None:
        findings += [Finding(entry, "values") for entry in label_problems(case, case.label, counts, description)]
    if image is not None and label is not None and place is not None:
        findings += _label_place_findings(case, case.label, image, label, place)
    return CaseExam(
        name=case.name,
        image_file=short_path(case.images[0]),
        label_file=short_path(case.label),
        findings=tuple(findings),
        image=None if image is None else image_figures(image.array, image.geometry),
        counts=counts,
        label_digest="" if label is None else digest(label),
        centroids_mm=None if label is None or place is None else centroids_mm(label, place, sided_values),
    )


def place_findings(
    case: str, path: Path, reference: Path, places: tuple[Geometry, Geometry], shape: Shape3, repair: Repair
) -> list[Finding]:
    """Whether a file lies where its reference does, in mm of corner displacement.

    Args:
        case: Its name.
        path: The file.
        reference: The file that it should agree with.
        places: Geometry of the reference, and of the file.
        shape: Voxels `(z, y, x)` of both.
        repair: What mends it.
    """
    first, other = places
    if not (first.tells_spacing and other.tells_spacing):
        return []
    difference = geometry_difference(first, other, shape)
    displacement = corner_displacement_mm(first, other, shape)
    share = displacement / min(first.spacing_mm)
    if difference is None and share <= _NO_DISPLACEMENT:
        return []
    what = difference or f"the same corner lies {displacement:.3g} mm apart"
    severity = Severity.REPAIRABLE
    remedy = f"--fix gives it the place of {reference.name}"
    if share > _REPAIRABLE_DISPLACEMENT:
        severity = Severity.HOPELESS
        remedy = f"resample it to {reference.name}; or, if the voxels do match, copy the header of that file"
    elif difference is None and share <= _HARMLESS_DISPLACEMENT:
        severity = Severity.HARMLESS
        remedy = f"nothing needs to be done; {remedy}"
    problem = Problem(
        case, short_path(path), f"does not lie where {reference.name} does: {what}", remedy, severity=severity
    )
    value = f"{displacement:.4g} mm"
    return [Finding(problem, "geometry", value, None if severity is Severity.HOPELESS else repair)]


def _examined_image(case: RawCase, description: DatasetDescription) -> tuple[Image | None, list[Finding]]:
    findings: list[Finding] = []
    parts: list[Image] = []
    num_channels = description.num_channels if len(case.images) == 1 else None
    for path in case.images:
        try:
            parts.append(read_image([path], num_channels))
        except Exception as error:
            findings.append(unreadable(case, path, error))
    if findings:
        return None, findings
    first = parts[0]
    for path, part in zip(case.images[1:], parts[1:], strict=True):
        if part.shape != first.shape:
            what = f"its shape {part.shape} differs from that of {case.images[0].name}, {first.shape} (z, y, x)"
            problem = Problem(case.name, short_path(path), what, "resample the channels to one grid")
            findings.append(Finding(problem, "shape", str(part.shape)))
            continue
        places = (first.geometry, part.geometry)
        findings += place_findings(case.name, path, case.images[0], places, first.shape, Repair.PLACE_CHANNEL)
    if any(part.shape != first.shape for part in parts):
        return None, findings
    array = first.array if len(parts) == 1 else np.concatenate([part.array for part in parts])
    image = Image(array=array, geometry=first.geometry)
    findings += [Finding(problem, "channels") for problem in channel_problems(case, image, description)]
    findings += _spacing_findings(case, first.geometry)
    findings += _intensity_findings(case, array)
    return image, findings


def _spacing_findings(case: RawCase, place: Geometry) -> list[Finding]:
    """Whether the voxel size agrees with the matrix: NIfTI stores both."""
    columns = np.linalg.norm(place.matrix[:3, :3], axis=0)[: place.num_spatial_dims]
    stored = np.array(place.spacing_mm[::-1])[: place.num_spatial_dims]
    ratio = np.maximum(columns / stored, stored / columns).max()
    if ratio <= _MAX_SPACING_RATIO:
        return []
    texts = [" x ".join(f"{size:.4g}" for size in sizes[::-1]) for sizes in (stored, columns)]
    what = f"the header tells two voxel sizes, {texts[0]} mm (pixdim, used) and {texts[1]} mm (affine)"
    remedy = "find out which is right, and correct the header"
    problem = Problem(case.name, short_path(case.images[0]), what, remedy, severity=Severity.HARMLESS)
    return [Finding(problem, "spacing", " and ".join(texts))]


def _intensity_findings(case: RawCase, array: npt.NDArray[np.float32]) -> list[Finding]:
    """NaN, infinity, and channels of a single value."""
    findings = []
    constant = []
    for index, channel in enumerate(array):
        path = case.images[index] if len(case.images) == len(array) else case.images[0]
        # NaN passes through minimum and maximum: no mask of the whole volume is needed to see that all is well.
        with np.errstate(invalid="ignore"):
            low, high = float(channel.min()), float(channel.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            findings.append(_not_finite(case.name, path, index, channel))
        elif low == high:
            constant.append((path, index, low))
    whole = len(constant) == len(array)
    for path, index, value in constant:
        remedy = "export it again, or leave the case out" if whole else "make sure that this case lacks the channel"
        severity = Severity.HOPELESS if whole else Severity.HARMLESS
        what = f"channel {index} is empty: every voxel is {value:g}"
        problem = Problem(case.name, short_path(path), what, remedy, severity=severity)
        findings.append(Finding(problem, "constant", f"{value:g}"))
    return findings


def _not_finite(case: str, path: Path, index: int, channel: npt.NDArray[np.float32]) -> Finding:
    num_nan, num_infinite = int(np.isnan(channel).sum()), int(np.isinf(channel).sum())
    share = (num_nan + num_infinite) / channel.size
    what = f"channel {index} has {num_nan} NaN and {num_infinite} infinite voxels of {channel.size}"
    few = share <= _MAX_SHARE_NOT_FINITE
    remedy = "--fix sets them to 0" if few else "replace them by the value of air, or export the image again"
    severity = Severity.REPAIRABLE if few else Severity.HOPELESS
    problem = Problem(case, short_path(path), what, remedy, severity=severity)
    return Finding(problem, "finite", f"{share:.2%}", Repair.FILL if few else None)


def _examined_label(case: RawCase, path: Path) -> tuple[Array | None, Geometry | None, list[Finding]]:
    """The label map `(Z, Y, X)` of integers, its place, and what is wrong with the file."""
    try:
        stored, place = stored_label(path)
        if stored.dtype.kind != "f":
            return whole_numbers(path, stored), place, []
        whole, findings = _rounded(case, path, stored)
    except Exception as error:
        return None, None, [unreadable(case, path, error)]
    return whole, place, findings


def stored_label(path: Path) -> tuple[Array, Geometry]:
    """A label map `(Z, Y, X)` with the numbers that are stored, whole or not.

    Raises:
        FileError: The file cannot be read, or has several channels.
    """
    array, place = read_stored(path, as_label=True)
    if array.shape[0] != 1:
        raise FileError(path, f"a label file has one channel, this has {array.shape[0]}", "Save label values as grey.")
    return array[0], place


def rounded_label(stored: Array) -> Array:
    """Whole numbers of a label map of floats; what is no number becomes background."""
    return np.rint(np.where(np.isfinite(stored), stored, 0)).astype(np.int64)


def _rounded(case: RawCase, path: Path, stored: Array) -> tuple[Array, list[Finding]]:
    """Label values of a map of floats, and a finding where they are no whole numbers.

    Raises:
        FileError: They are too far from whole numbers to be rounded.
    """
    whole = whole_numbers(path, rounded_label(stored))
    finite = np.isfinite(stored)
    off = np.where(finite, np.abs(stored - whole), 0)
    num_bad = int(np.count_nonzero(off) + np.count_nonzero(~finite))
    if not num_bad:
        return whole, []
    severity, remedy = Severity.REPAIRABLE, "--fix rounds them, and makes NaN background"
    try:
        whole_numbers(path, stored)
    except FileError:
        if off.max() > _MAX_ROUNDED or np.count_nonzero(~finite) > _MAX_SHARE_NOT_FINITE * stored.size:
            raise
    else:
        severity, remedy = Severity.HARMLESS, "nothing needs to be done, they are rounded; --fix saves whole numbers"
    example = f"{float(stored.flat[int(off.argmax())]) if off.any() else float('nan'):.9g}"
    what = f"{num_bad} label voxels are no whole numbers, for example {example}"
    problem = Problem(case.name, short_path(path), what, remedy, severity=severity)
    return whole, [Finding(problem, "whole", example, Repair.ROUND_LABEL)]


def _label_place_findings(case: RawCase, path: Path, image: Image, label: Array, place: Geometry) -> list[Finding]:
    """Whether the label covers the voxels of the image."""
    z, y, x = label.shape
    resamplable = show_same_view(image.geometry, image.shape, place, (z, y, x))
    reference = case.images[0]
    if label.shape != image.shape:
        what = f"the label's shape {label.shape} differs from the image's, {image.shape} (z, y, x)"
        remedy = f"bring it to the grid of {reference.name}, with nearest neighbour"
        problem = Problem(case.name, short_path(path), what, remedy)
        findings = [Finding(problem, "shape", str(label.shape))]
    else:
        places = (image.geometry, place)
        findings = place_findings(case.name, path, reference, places, image.shape, Repair.PLACE_LABEL)
    if resamplable and any(entry.severity is Severity.HOPELESS for entry in findings):
        return [_resamplable(entry, reference) for entry in findings]
    return findings


def _resamplable(finding: Finding, reference: Path) -> Finding:
    remedy = f"both fill the same box in space: --fix resamples the label to {reference.name}, with nearest neighbour"
    problem = replace(finding.problem, severity=Severity.REPAIRABLE, remedy=remedy)
    return replace(finding, problem=problem, repair=Repair.RESAMPLE_LABEL)


def unreadable(case: RawCase, path: Path, error: Exception) -> Finding:
    """A file that cannot be read, whatever its reader met."""
    if isinstance(error, RequestError):
        return Finding(reading_problem(case, error, path), "read")
    # A doctor goes on where a reader gives up: one file of a kind that nobody thought of hides no other problem.
    what = f"cannot be read ({type(error).__name__}: {error})"
    problem = Problem(case.name, short_path(path), what, "export it again, or leave the case out")
    return Finding(problem, "read", type(error).__name__)
