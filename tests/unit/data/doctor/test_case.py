"""What is wrong with single cases, and how badly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autounet.data.dataset import RawCase
from autounet.data.description import DatasetDescription
from autounet.data.doctor.case import examine_case, place_findings
from autounet.data.doctor.findings import Repair
from autounet.errors import Severity
from autounet.geometry import Geometry

PLACE = Geometry.from_spacing((3.0, 1.0, 1.0))


def moved(millimetres: float) -> Geometry:
    return PLACE.model_copy(update={"affine": ((1, 0, 0, millimetres), *PLACE.affine[1:])})


@pytest.mark.parametrize(
    ("other", "severity"),
    [
        (moved(1e-8), None),
        (moved(0.05), Severity.HARMLESS),
        (moved(0.6), Severity.REPAIRABLE),
        (moved(40), Severity.HOPELESS),
        (Geometry.from_spacing((6.0, 1.0, 1.0)), Severity.HOPELESS),
        # The corner lies 9 x 0.02 = 0.18 mm off: more than a tenth of the smallest voxel side.
        (Geometry.from_spacing((3.02, 1.0, 1.0)), Severity.REPAIRABLE),
    ],
)
def test_displacement_in_millimetres_decides(other: Geometry, severity: Severity | None) -> None:
    found = place_findings("x", Path("a.nii"), Path("b.nii"), (PLACE, other), (10, 12, 14), Repair.PLACE_LABEL)
    assert [entry.severity for entry in found] == ([] if severity is None else [severity])
    assert all((entry.repair is None) == (severity is Severity.HOPELESS) for entry in found)


def test_a_file_that_tells_no_place_contradicts_nothing() -> None:
    nowhere = Geometry.from_spacing((1.0, 1.0, 1.0), tells_spacing=False)
    assert place_findings("x", Path("a"), Path("b"), (PLACE, nowhere), (10, 12, 14), Repair.PLACE_LABEL) == []


@pytest.fixture
def found(
    tmp_path: Path, make_description: Callable[..., DatasetDescription]
) -> Callable[..., list[tuple[str, str, Severity]]]:
    """Check, value and class of everything found in a case of these voxels."""

    def examine(*channels: np.ndarray, label: np.ndarray | None = None) -> list[tuple[str, str, Severity]]:
        label = np.zeros(channels[0].shape, np.uint8) if label is None else label
        images = []
        for index, channel in enumerate(channels):
            images.append(tmp_path / f"x_{index:04d}.nii")
            nib.save(nib.Nifti1Image(channel.T.astype(np.float32), np.eye(4)), images[-1])
        nib.save(nib.Nifti1Image(label.T, np.eye(4)), tmp_path / "x.nii")
        case = RawCase(name="x", images=tuple(images), label=tmp_path / "x.nii")
        exam = examine_case(case, make_description(num_channels=len(channels)), ())
        assert all(entry.problem.case == "x" and entry.problem.remedy for entry in exam.findings)
        return [(entry.check, entry.value, entry.severity) for entry in exam.findings]

    return examine


IMAGE = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)


def test_sound(found: Callable[..., list[tuple[str, str, Severity]]]) -> None:
    assert found(IMAGE) == []


def test_few_voxels_that_are_no_numbers_are_repairable_many_hopeless(
    found: Callable[..., list[tuple[str, str, Severity]]],
) -> None:
    few, many = IMAGE.copy(), IMAGE.copy()
    few.flat[:5], many.flat[:500] = np.nan, np.inf
    assert found(IMAGE, few) == [("finite", "0.50%", Severity.REPAIRABLE)]
    assert found(many) == [("finite", "50.00%", Severity.HOPELESS)]


def test_an_empty_channel_is_harmless_an_empty_image_hopeless(
    found: Callable[..., list[tuple[str, str, Severity]]],
) -> None:
    empty = np.full_like(IMAGE, 3)
    assert found(IMAGE, empty) == [("constant", "3", Severity.HARMLESS)]
    assert [severity for _, _, severity in found(empty, empty)] == [Severity.HOPELESS] * 2


@pytest.mark.parametrize(
    ("value", "check", "severity"),
    [
        (1.0000001, "whole", Severity.HARMLESS),
        (0.98, "whole", Severity.REPAIRABLE),
        (np.nan, "whole", Severity.REPAIRABLE),
        (0.5, "read", Severity.HOPELESS),
    ],
)
def test_labels_of_floats(
    found: Callable[..., list[tuple[str, str, Severity]]], value: float, check: str, severity: Severity
) -> None:
    label = np.zeros(IMAGE.shape, np.float32)
    label[0, 0, :3] = value
    assert [(entry[0], entry[2]) for entry in found(IMAGE, label=label)] == [(check, severity)]


def test_shapes_channels_and_values(found: Callable[..., list[tuple[str, str, Severity]]]) -> None:
    assert found(IMAGE, IMAGE[:5]) == [("shape", "(5, 10, 10)", Severity.HOPELESS)]
    assert found(IMAGE, label=np.zeros((5, 10, 10), np.uint8)) == [("shape", "(5, 10, 10)", Severity.HOPELESS)]
    assert [entry[0] for entry in found(IMAGE, label=np.full(IMAGE.shape, 9, np.uint8))] == ["values"]


def test_a_reader_that_fails_unforeseen_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, found: Callable[..., list[tuple[str, str, Severity]]]
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("autounet.data.doctor.case.read_image", fail)
    assert found(IMAGE) == [("read", "ZeroDivisionError", Severity.HOPELESS)]
