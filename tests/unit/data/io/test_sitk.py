"""The formats of SimpleITK against NIfTI files that SimpleITK wrote: two ways to the same place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from autounet.data.io import FileError, read_image, write_label
from autounet.geometry import Geometry

ENDINGS = [".nrrd", ".mha", ".mhd"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_lps_becomes_ras(ending: str, tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).random((4, 5, 6), dtype=np.float32))
    image.SetSpacing((0.5, 0.75, 3))
    image.SetOrigin((1, 2, 3))
    image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    for name in (f"a{ending}", "a.nii.gz"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
    ours, nifti = (read_image([tmp_path / name]) for name in (f"a{ending}", "a.nii.gz"))
    np.testing.assert_array_equal(ours.array, nifti.array)
    assert ours.geometry.spacing_mm == nifti.geometry.spacing_mm == (3.0, 0.75, 0.5)
    np.testing.assert_allclose(ours.geometry.matrix, nifti.geometry.matrix, atol=1e-6)


@pytest.mark.parametrize("ending", ENDINGS)
def test_vectors_are_channels(ending: str, tmp_path: Path) -> None:
    for shape in ((3, 4, 5, 2), (4, 5, 2)):
        array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=True), str(tmp_path / f"a{ending}"))
        image = read_image([tmp_path / f"a{ending}"])
        expected = np.moveaxis(array, -1, 0)
        np.testing.assert_array_equal(image.array, expected if array.ndim == 4 else expected[:, None])
        assert image.geometry.num_spatial_dims == array.ndim - 1


def test_fourth_axis_is_channels(tmp_path: Path) -> None:
    volumes = [SimpleITK.GetImageFromArray(np.full((3, 4, 5), value, np.int16)) for value in (1, 2)]
    SimpleITK.WriteImage(SimpleITK.JoinSeries(volumes), str(tmp_path / "a.mha"))
    assert read_image([tmp_path / "a.mha"]).array[:, 0, 0, 0].tolist() == [1, 2]


def test_mhd_is_one_file(tmp_path: Path) -> None:
    write_label(tmp_path / "a.mhd", np.ones((2, 3, 4), np.uint8), Geometry.from_spacing((1.0, 1.0, 1.0)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mhd"]
    assert SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.mhd"))).sum() == 24


def test_cut_gipl_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.gipl"
    write_label(path, np.ones((20, 30, 40), np.uint8), Geometry.from_spacing((1.0, 1.0, 1.0)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FileError, match="cut short"):
        read_image([path])
