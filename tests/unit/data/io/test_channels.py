"""Channels in several files have one grid."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from autounet.data.io import FileError, read_image, write_label
from autounet.data.io.base import geometry_difference
from autounet.geometry import Geometry


def place(spacing: tuple[float, float, float], origin_x: float = 0.0) -> Geometry:
    z, y, x = spacing
    rows = ((x, 0.0, 0.0, origin_x), (0.0, y, 0.0, 0.0), (0.0, 0.0, z, 0.0), (0.0, 0.0, 0.0, 1.0))
    return Geometry(spacing_mm=spacing, affine=rows)


def test_files_are_joined_in_order(tmp_path: Path) -> None:
    for value in (1, 2):
        write_label(tmp_path / f"{value}.nii", np.full((2, 3, 4), value), place((3, 1, 1)))
    image = read_image([tmp_path / "1.nii", tmp_path / "2.nii"])
    assert image.array[:, 0, 0, 0].tolist() == [1, 2]
    assert image.shape == (2, 3, 4)


def test_differences_name_both_files(tmp_path: Path) -> None:
    write_label(tmp_path / "a.nii", np.zeros((2, 3, 4)), place((3, 1, 1)))
    write_label(tmp_path / "shape.nii", np.zeros((2, 3, 5)), place((3, 1, 1)))
    write_label(tmp_path / "spacing.nii", np.zeros((2, 3, 4)), place((4, 1, 1)))
    with pytest.raises(FileError, match=r"shape\.nii: does not fit to a\.nii: the shapes differ: \(2, 3, 4\)"):
        read_image([tmp_path / "a.nii", tmp_path / "shape.nii"])
    with pytest.raises(FileError, match=r"does not fit to a\.nii: the voxel sizes differ: \(3, 1, 1\) and \(4, 1, 1\)"):
        read_image([tmp_path / "a.nii", tmp_path / "spacing.nii"])


def test_what_counts_as_a_difference() -> None:
    shape, first = (10, 10, 11), place((3, 1, 1))
    # 10 steps along x of 0.009 mm are 0.09 mm, below a tenth of the smallest voxel edge of 1 mm.
    assert geometry_difference(first, place((3, 1, 1.009)), shape) is None
    assert "voxel sizes" in str(geometry_difference(first, place((3, 1, 1.011)), shape))
    assert geometry_difference(first, place((3, 1, 1), origin_x=1.0), shape) is None
    assert "1.1 mm apart" in str(geometry_difference(first, place((3, 1, 1), origin_x=1.1), shape))


def test_error_survives_the_way_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(FileError(Path("a.nii"), "what", "Remedy.")))
    assert (error.path, error.what, error.remedy, str(error)) == (
        Path("a.nii"),
        "what",
        "Remedy.",
        "a.nii: what. Remedy.",
    )
