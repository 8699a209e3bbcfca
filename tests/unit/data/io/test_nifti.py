"""NIfTI: axes, scaling, channels, affines that only one of sform and qform can tell, and damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autounet.data.io import FileError, read_image, read_label, write_label
from autounet.geometry import Geometry

AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0.75, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1.0]])


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_axes_are_reversed(ending: str, tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = read_image([save(tmp_path / f"a{ending}", array)])
    np.testing.assert_array_equal(image.array[0], array.T)
    assert image.geometry.spacing_mm == (3.0, 0.75, 0.5)
    np.testing.assert_array_equal(image.geometry.matrix, AFFINE)


def test_same_as_nibabel_on_scaled_big_endian_nifti2(tmp_path: Path) -> None:
    header = nib.Nifti2Header(endianness=">")
    header.set_data_dtype(np.int16)
    header.set_slope_inter(0.5, -3)
    array = np.arange(24.0).reshape(2, 3, 4)
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti2Image(array, AFFINE, header), path)
    np.testing.assert_allclose(read_image([path]).array[0], nib.load(path).get_fdata().T)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4, 1, 5)])
def test_axes_beyond_the_third_are_channels(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    image = read_image([save(tmp_path / "a.nii", array)])
    assert image.array.shape == (5, 4, 3, 2)
    np.testing.assert_array_equal(image.array[2], array[..., 2].squeeze().T)


def test_2d_has_one_slice(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = read_image([save(tmp_path / "a.nii.gz", array)])
    np.testing.assert_array_equal(image.array[0, 0], array.T)
    assert image.geometry.spacing_mm == (1.0, 0.75, 0.5)
    assert image.geometry.num_spatial_dims == 2
    write_label(tmp_path / "b.nii.gz", image.array[0].astype(np.uint8), image.geometry)
    assert nib.load(tmp_path / "b.nii.gz").shape == (2, 3)


def written(tmp_path: Path, affine: np.ndarray) -> nib.Nifti1Header:
    image = read_image([save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.uint8), affine)])
    write_label(tmp_path / "b.nii", image.array[0].astype(np.uint8), image.geometry)
    return nib.load(tmp_path / "b.nii").header


def test_both_forms_are_written(tmp_path: Path) -> None:
    header = written(tmp_path, AFFINE)
    np.testing.assert_allclose(header.get_sform(), AFFINE, atol=1e-6)
    np.testing.assert_allclose(header.get_qform(), AFFINE, atol=1e-5)
    assert int(header["qform_code"]) == int(header["sform_code"]) == 1
    np.testing.assert_allclose(header.get_zooms(), (0.5, 0.75, 3))


def test_shear_is_kept_by_the_sform_alone(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.4
    header = written(tmp_path, sheared)
    np.testing.assert_allclose(header.get_best_affine(), sheared, atol=1e-6)
    assert int(header["qform_code"]) == 0


def test_same_label_gives_the_same_bytes(tmp_path: Path) -> None:
    geometry = Geometry.from_spacing((1.0, 1.0, 1.0))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_label(tmp_path / name, np.eye(3, dtype=np.int64)[None], geometry)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_truncation_is_told_with_sizes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.zeros((10, 10, 10), np.float32))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError, match="1000 of 4352 bytes"):
        read_image([path])


def test_truncated_gzip(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).random((10, 10, 10)))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(FileError, match=r"a\.nii\.gz: the compressed file is cut short"):
        read_image([path])


def test_wrong_content_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(b"nothing" * 100))
    with pytest.raises(FileError, match="no valid NIfTI"):
        read_image([path])


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="complex"):
        read_image([save(tmp_path / "a.nii", np.zeros((2, 2, 2), np.complex64))])


def test_singular_affine_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), AFFINE)
    image.header["srow_z"] = 0
    path = tmp_path / "a.nii"
    path.write_bytes(image.header.binaryblock + bytes(4) + bytes(8))
    with pytest.raises(FileError, match="invertible"):
        read_image([path])


def test_whole_floats_are_labels(tmp_path: Path) -> None:
    label, _ = read_label(save(tmp_path / "a.nii", np.array([[[0.0, 1.0, 0.99999]]], np.float32)))
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label.ravel(), [0, 1, 1])
    with pytest.raises(FileError, match=r"2 label voxels are not whole numbers, for example 0\.5"):
        read_label(save(tmp_path / "b.nii", np.array([[[0.5, 1.0, 1.5]]], np.float32)))
    with pytest.raises(FileError, match="1 label voxels are NaN"):
        read_label(save(tmp_path / "c.nii", np.array([[[0.0, np.nan]]], np.float32)))
    with pytest.raises(FileError, match="one channel, this has 2"):
        read_label(save(tmp_path / "d.nii", np.zeros((2, 2, 2, 2), np.uint8)))
