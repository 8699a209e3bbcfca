"""Headers that lie or make no sense: told without taking the memory that they claim."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile

from autounet.data.io import FileError, read_image, read_label

GIB = 1 << 30
SIDE = 2048


def nifti2(shape: tuple[int, ...], pixdim: tuple[float, ...] = (1, 1, 1)) -> bytes:
    header = nib.Nifti2Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), 1)
    header["pixdim"][1 : 1 + len(pixdim)] = pixdim
    header["vox_offset"] = 544
    header["magic"] = b"n+2\0\r\n\x1a\n"
    return bytes(header.binaryblock) + bytes(4) + bytes(100)


def meta(**changed: str) -> bytes:
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "ElementSpacing": "1 1 1",
        "DimSize": "4 4 4",
        "ElementType": "MET_UCHAR",
    } | changed
    return (
        "".join(f"{key} = {value}\n" for key, value in fields.items()).encode()
        + b"ElementDataFile = LOCAL\n"
        + bytes(64)
    )


def nrrd(sizes: str = "4 4 4", directions: str = "(1,0,0) (0,1,0) (0,0,1)", encoding: str = "raw") -> bytes:
    head = (
        f"NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
        f"space directions: {directions}\nendian: little\nencoding: {encoding}\nspace origin: (0,0,0)\n\n"
    )
    return head.encode() + (bytes(64) if encoding == "raw" else gzip.compress(bytes(64)))


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    )


def gipl(shape: tuple[int, int, int]) -> bytes:
    head = bytearray(256)
    struct.pack_into(">4H", head, 0, *shape, 1)
    struct.pack_into(">H", head, 8, 8)  # unsigned bytes
    struct.pack_into(">4f", head, 10, 1, 1, 1, 1)
    struct.pack_into(">I", head, 252, 0xEFFFE9B0)
    return bytes(head) + bytes(100)


LIES = {
    "a.nii": nifti2((SIDE, SIDE, 1_000_000)),
    "a.nii.gz": gzip.compress(nifti2((SIDE, SIDE, 1_000_000))),
    "two_gib.nii.gz": gzip.compress(nifti2((SIDE, SIDE, 512))),
    "a.mha": meta(DimSize=f"{SIDE} {SIDE} 1000000"),
    "packed.mha": meta(DimSize=f"{SIDE} {SIDE} 512", CompressedData="True"),
    "a.nrrd": nrrd(f"{SIDE} {SIDE} 1000000"),
    "packed.nrrd": nrrd(f"{SIDE} {SIDE} 512", encoding="gzip"),
    "a.gipl": gipl((SIDE, SIDE, 512)),
    "a.png": png(60000, 60000),
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_takes_no_memory(name: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    (tmp_path / name).write_bytes(LIES[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="the file is cut short"):
            read_image([tmp_path / name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < GIB // 16
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIB // 4


def test_a_tiff_that_lies_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(50_000)
    with pytest.raises(FileError, match="the file is cut short"):
        read_image([path])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("zero.mha", meta(ElementSpacing="1 0 1")),
        ("negative.mha", meta(ElementSpacing="1 -1 1")),
        ("zero.nrrd", nrrd(directions="(1,0,0) (0,0,0) (0,0,1)")),
        ("zero.nii", nifti2((4, 4, 4), (1, 0, 1))),
        ("nan.nii", nifti2((4, 4, 4), (1, float("nan"), 1))),
    ],
)
def test_voxel_sizes_must_be_positive(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=r"the voxel size .* is not positive"):
        read_image([tmp_path / name])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mha", meta(TransformMatrix="1 0 0 1 0 0 0 0 1")),
        ("nearly.mha", meta(TransformMatrix="1 0 0 1 0.0000001 0 0 0 1")),
        ("a.nrrd", nrrd(directions="(1,0,0) (1,0,0) (0,0,1)")),
    ],
)
def test_directions_must_span_space(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match="invertible"):
        read_image([tmp_path / name])


def test_negative_pixdim_is_read_as_its_size(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # NIfTI-1: pixdim is positive; many old writers left a sign in it, and the affine tells the direction.
    (tmp_path / "a.nii").write_bytes(nifti2((4, 4, 4), (-2, 1, 3)))
    assert read_image([tmp_path / "a.nii"]).geometry.spacing_mm == (3.0, 1.0, 2.0)
    assert capfd.readouterr() == ("", "")


def test_a_mirror_in_nrrd_is_a_direction(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(nrrd(directions="(1,0,0) (0,-2,0) (0,0,1)"))
    geometry = read_image([tmp_path / "a.nrrd"]).geometry
    assert geometry.spacing_mm == (1.0, 2.0, 1.0)
    np.testing.assert_array_equal(np.diag(geometry.matrix), [-1, 2, 1, 1])  # LPS to RAS turns x and y


def test_half_of_a_pair_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(np.zeros((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "a.img")
    (tmp_path / "a.hdr").rename(tmp_path / "a.nii")
    with pytest.raises(FileError, match="half of a NIfTI pair"):
        read_image([tmp_path / "a.nii"])


def test_an_archive_of_zeros_is_unpacked_no_further_than_the_header_asks(tmp_path: Path) -> None:
    content = nifti2((4, 4, 4))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content + bytes(200 << 20), 1))
    tracemalloc.start()
    try:
        assert read_label(tmp_path / "a.nii.gz")[0].shape == (4, 4, 4)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    content = nifti2((8, 8, 8)) + bytes(412)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:600]) + gzip.compress(content[600:]))
    assert read_image([tmp_path / "a.nii.gz"]).shape == (8, 8, 8)


def test_damage_behind_the_voxels_is_noticed(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(nifti2((4, 4, 4))[: 544 + 64]))
    whole[-6] ^= 1  # in the checksum
    (tmp_path / "a.nii.gz").write_bytes(whole)
    with pytest.raises(FileError, match="cut short or damaged"):
        read_image([tmp_path / "a.nii.gz"])
