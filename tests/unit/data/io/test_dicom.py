"""Folders of DICOM slices, against series written by pydicom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from autounet.data.dataset import RawDataset
from autounet.data.integrity import check_case
from autounet.data.io import FileError, read_image, write_label
from autounet.data.io.dicom import patient_id

SERIES = generate_uid(entropy_srcs=["series"])
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)
VOLUME = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def write_slice(
    path: Path,
    pixels: npt.NDArray[np.int16],
    position: Sequence[float],
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    series: str = SERIES,
    rescale: tuple[float, float] = (1, 0),
    description: str = "",
) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, generate_uid(entropy_srcs=["study"])
    dataset.Modality, dataset.PatientID, dataset.SeriesDescription = "CT", "patient 7", description
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing, dataset.SliceThickness = [0.75, 0.5], 2.5  # rows apart, columns apart
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = list(position), list(orientation)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = rescale
    dataset.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def write_series(folder: Path, places_mm: Sequence[float] = (-10, -7, -4, -1)) -> Path:
    """Axial slices whose names run against their places."""
    for index, place in enumerate(places_mm):
        write_slice(folder / f"{99 - index}", VOLUME[index % len(VOLUME)], (1, 2, place))
    return folder


def test_slices_are_sorted_by_place_not_by_name(tmp_path: Path) -> None:
    image = read_image([write_series(tmp_path / "case_0000")])
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert image.geometry.spacing_mm == (3.0, 0.75, 0.5)
    # LPS to RAS: world x and y change signs.
    expected = np.array([[-0.5, 0, 0, -1], [0, -0.75, 0, -2], [0, 0, 3, -10], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(image.geometry.matrix, expected, atol=1e-9)


def test_direction_is_kept(tmp_path: Path) -> None:
    # The normal of OBLIQUE is (0, 0, 1): the image's x and y are turned about it.
    for index in range(3):
        write_slice(tmp_path / "a" / f"{index}.dcm", VOLUME[index], (0, 0, 2.0 * index), OBLIQUE)
    matrix = read_image([tmp_path / "a"]).geometry.matrix
    np.testing.assert_allclose(matrix[:3, 0], np.array([-0.8, -0.6, 0]) * 0.5, atol=1e-9)
    np.testing.assert_allclose(matrix[:3, 1], np.array([0.6, -0.8, 0]) * 0.75, atol=1e-9)
    np.testing.assert_allclose(matrix[:3, 2], [0, 0, 2], atol=1e-9)


def test_tilted_gantry_is_a_shear(tmp_path: Path) -> None:
    for index in range(3):
        write_slice(tmp_path / "a" / f"{index}.dcm", VOLUME[index], (0, 1.5 * index, 2.0 * index))
    geometry = read_image([tmp_path / "a"]).geometry
    np.testing.assert_allclose(geometry.matrix[:3, 2], [0, -1.5, 2], atol=1e-9)
    assert geometry.spacing_mm[0] == pytest.approx(2.5)


def test_rescale_is_of_each_slice(tmp_path: Path) -> None:
    # As in PET: a slope of its own in every slice, whole only in the first.
    for index, rescale in enumerate([(1, -1000), (0.5, 0.25)]):
        write_slice(tmp_path / "a" / f"{index}.dcm", VOLUME[index], (0, 0, index), rescale=rescale)
    array = read_image([tmp_path / "a"]).array[0]
    np.testing.assert_allclose(array[0], VOLUME[0] - 1000.0)
    np.testing.assert_allclose(array[1], VOLUME[1] * 0.5 + 0.25)


def test_several_series_are_listed(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    write_slice(tmp_path / "a" / "scout", VOLUME[0], (0, 0, 0), series="1.2.3", description="SCOUT")
    with pytest.raises(FileError, match=r"holds 2 series: .*1\.2\.3 \(CT SCOUT, 1 file\).*Keep one"):
        read_image([tmp_path / "a"])


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ((0, 3, 6, 12, 15), "1 slice is missing of 6: .* lie 6 mm apart, the others 3 mm"),
        ((0, 3, 9), "1 slice is missing of 4"),
        ((0, 3, 6, 6, 9), "lie at the same place"),
        ((0, 3, 6, 10, 14, 18), "uneven distances, 3 to 4 mm"),
        ((5, 5, 5), "lie at the same place"),
    ],
)
def test_places_that_make_no_volume(places: Sequence[float], message: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=message):
        read_image([write_series(tmp_path / "a", places)])


def test_rounded_places_are_even_enough(tmp_path: Path) -> None:
    places = [round(0.703 * index, 1) for index in range(8)]
    assert read_image([write_series(tmp_path / "a", places)]).geometry.spacing_mm[0] == pytest.approx(0.7, abs=0.01)


def test_a_localizer_among_the_slices_is_named(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    write_slice(tmp_path / "a" / "localizer", VOLUME[0], (0, 0, 0), (1, 0, 0, 0, 0, -1))
    with pytest.raises(FileError, match=r"its orientation .* differs"):
        read_image([tmp_path / "a"])


def test_a_file_that_gdcm_passes_over_is_named(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    path = tmp_path / "a" / "structures"
    path.write_bytes(bytes(128) + b"DICM")
    with pytest.raises(FileError, match="or no image like the slices beside it") as caught:
        read_image([tmp_path / "a"])
    assert caught.value.path == path


@pytest.mark.parametrize("name", ["98", "96"])  # the last one leaves no gap
def test_a_slice_that_is_cut_short_is_named(name: str, tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    path = tmp_path / "a" / name
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FileError, match="cut short") as caught:
        read_image([tmp_path / "a"])
    assert caught.value.path == path


def test_folders_without_slices(tmp_path: Path) -> None:
    (tmp_path / "a" / "deeper").mkdir(parents=True)
    (tmp_path / "a" / "readme.txt").write_text("no image")
    with pytest.raises(FileError, match=r"holds no DICOM slices \(its folders may\)"):
        read_image([tmp_path / "a"])


def test_a_single_file_is_a_2d_image(tmp_path: Path) -> None:
    write_slice(tmp_path / "case_0000.dcm", VOLUME[1], (0, 0, 0))
    image = read_image([tmp_path / "case_0000.dcm"])
    np.testing.assert_array_equal(image.array[0, 0], VOLUME[1])
    assert image.geometry.num_spatial_dims == 2
    assert image.geometry.spacing_mm[1:] == (0.75, 0.5)


def test_a_single_slice_in_a_folder_has_its_thickness(tmp_path: Path) -> None:
    write_slice(tmp_path / "a" / "1", VOLUME[0], (0, 0, 0))
    assert read_image([tmp_path / "a"]).geometry.spacing_mm == (2.5, 0.75, 0.5)


def test_patient_of_a_folder_and_of_a_file(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    assert patient_id(tmp_path / "a") == patient_id(tmp_path / "a" / "98") == "patient 7"
    (tmp_path / "b.dcm").write_bytes(bytes(2000))
    with pytest.raises(FileError, match="no DICOM image"):
        patient_id(tmp_path / "b.dcm")


def test_a_dataset_of_series_with_nifti_labels_is_sound(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset001_A"
    for name in ("a", "b"):
        series = write_series(folder / "imagesTr" / f"{name}_0000")
        label = (VOLUME > 50).astype(np.uint8)
        write_label(folder / "labelsTr" / f"{name}.nii.gz", label, read_image([series]).geometry)
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".dcm"}
    (folder / "dataset.json").write_text(json.dumps(content))
    dataset = RawDataset.load(folder)
    assert len(dataset.cases) == 2
    assert [check_case(case, dataset.description).problems for case in dataset.cases] == [(), ()]


@pytest.mark.parametrize("as_folder", [False, True])
def test_an_element_that_claims_two_gib_takes_no_memory(as_folder: bool, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    path = tmp_path / "a" / "1.dcm" if as_folder else tmp_path / "a.dcm"
    write_slice(path, VOLUME[0], (0, 0, 0))
    content = path.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW") + 8  # the length of PixelData
    path.write_bytes(content[:start] + (2**31 - 2).to_bytes(4, "little") + content[start + 4 :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FileError, match=r"\(7fe0,0010\) ends at 2147484"):
        read_image([path.parent if as_folder else path])
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 1 << 28


def test_rows_and_columns_that_lie_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write_slice(path, VOLUME[0], (0, 0, 0))
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 65535
    dataset.save_as(path)
    with pytest.raises(FileError, match="cut short"):
        read_image([path])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
def test_other_transfer_syntaxes_and_nested_sequences(syntax: str, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write_slice(path, VOLUME[2], (0, 0, 0))
    dataset = pydicom.dcmread(path)
    inner = pydicom.Dataset()
    inner.CodeValue = "7"
    inner.is_undefined_length_sequence_item = True
    dataset.AnatomicRegionSequence = pydicom.Sequence([inner])
    dataset["AnatomicRegionSequence"].is_undefined_length = True
    is_big = syntax.endswith("2.2")
    if is_big:
        dataset.PixelData = VOLUME[2].astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    pydicom.dcmwrite(path, dataset, implicit_vr=not is_big, little_endian=not is_big)
    np.testing.assert_array_equal(read_image([path]).array[0, 0], VOLUME[2])
