"""The same dataset in other formats, broken in ways of their own; and headers that lie about gigabytes."""

from __future__ import annotations

import gzip
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
import SimpleITK
import tifffile

from autounet import pipeline
from autounet.workspace import Workspace

LIE = 1300  # cubed, in 8 bits, more than 2 GiB
MAX_GROWTH_BYTES = 512 << 20


def convert(raw: Any, ending: str, write: Callable[[Path, np.ndarray], object]) -> None:
    """Turn all files of the dataset into another format; `write` gets the voxels `(z, y, x)`."""
    for path in sorted(raw.folder.glob("*Tr/*.nii")):
        voxels = np.asarray(nib.load(path).dataobj).T.copy()
        path.unlink()
        write(path.with_name(path.name.removesuffix(".nii") + ending), voxels)
    raw.describe(file_ending=ending)


def write_sitk(path: Path, voxels: np.ndarray) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(path))


def write_tiff(path: Path, voxels: np.ndarray) -> None:
    tifffile.imwrite(path, voxels, metadata={"axes": "ZYX"})


def write_png(path: Path, voxels: np.ndarray) -> None:
    PIL.Image.fromarray(np.clip(voxels[5], 0, 255).astype(np.uint8)).save(path)


WRITERS = {
    ".mha": write_sitk,
    ".mhd": write_sitk,
    ".nrrd": write_sitk,
    ".gipl": lambda path, voxels: write_sitk(path, voxels.astype(np.uint8)),
    ".tif": write_tiff,
    ".png": write_png,
    ".bmp": write_png,
}


def image(raw: Any, ending: str) -> Path:
    return Path(raw.folder / "imagesTr" / f"case_0_0000{ending}")


def cut(raw: Any, ending: str) -> None:
    path = image(raw, ending)
    path.write_bytes(path.read_bytes()[:300])


def replace(old: bytes, new: bytes) -> Callable[[Any, str], object]:
    def apply(raw: Any, ending: str) -> None:
        path = image(raw, ending)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

    return apply


def scratched(content: bytes) -> bytes:
    """Some bytes amid the packed voxels are others."""
    middle = len(content) // 2
    return content[:middle] + bytes(20) + content[middle + 20 :]


def packed(damage: Callable[[bytes], bytes]) -> Callable[[Any, str], object]:
    """Damage to an image whose voxels are compressed."""

    def apply(raw: Any, ending: str) -> None:
        path = image(raw, ending)
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(path), useCompression=True)
        path.write_bytes(damage(path.read_bytes()))

    return apply


def write_alpha(raw: Any, ending: str) -> None:
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 14, 3), np.uint8)).save(image(raw, ending))


def write_two_series(raw: Any, ending: str) -> None:
    with tifffile.TiffWriter(image(raw, ending)) as file:
        file.write(np.zeros((10, 12, 14), np.float32), metadata={"axes": "ZYX"})
        file.write(np.zeros((3, 5), np.uint8))


BROKEN: dict[str, tuple[str, Callable[[Any, str], object]]] = {
    "MHA cut short": (".mha", cut),
    "MHA wrong size": (".mha", replace(b"DimSize = 14 12 10", b"DimSize = 14 12 99")),
    "MHA negative size": (".mha", replace(b"DimSize = 14 12 10", b"DimSize = 14 12 -9")),
    "MHA of 99 dimensions": (".mha", replace(b"NDims = 3", b"NDims = 99")),
    "MHA size of words": (".mha", replace(b"DimSize = 14 12 10", b"DimSize = a b c")),
    "MHA two spacings": (".mha", replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1")),
    "MHA unknown type": (".mha", replace(b"MET_FLOAT", b"MET_JUNK")),
    "MHA no voxels named": (".mha", replace(b"ElementDataFile", b"ElementDatFile")),
    "packed MHA cut short": (".mha", packed(lambda content: content[: len(content) // 2])),
    "packed MHA damaged": (".mha", packed(scratched)),
    "packed MHA claims more": (
        ".mha",
        packed(lambda content: content.replace(b"DimSize = 14 12 10", b"DimSize = 14 12 20")),
    ),
    "packed NRRD cut short": (".nrrd", packed(lambda content: content[: len(content) // 2])),
    "packed NRRD damaged": (".nrrd", packed(scratched)),
    "MHA spacing zero": (".mha", replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1")),
    "MHA direction singular": (".mha", replace(b"1 0 0 0 1 0 0 0 1", b"1 0 0 1 0 0 0 0 1")),
    "MHA of text": (".mha", lambda raw, ending: image(raw, ending).write_text("hello")),
    "MHD without its voxels": (".mhd", lambda raw, ending: image(raw, ending).with_suffix(".raw").unlink()),
    "NRRD cut short": (".nrrd", cut),
    "NRRD wrong magic": (".nrrd", replace(b"NRRD", b"ABCD")),
    "NRRD of another type": (".nrrd", replace(b"type: float", b"type: block")),
    "GIPL cut short": (".gipl", cut),
    "TIFF cut short": (".tif", cut),
    "TIFF of zeros": (".tif", lambda raw, ending: image(raw, ending).write_bytes(bytes(900))),
    "TIFF of two images": (".tif", write_two_series),
    "TIFF with spacing that is no number": (
        ".tif",
        lambda raw, ending: image(raw, ending).with_name("case_0.json").write_text('{"spacing": "one"}'),
    ),
    "TIFF with negative spacing": (
        ".tif",
        lambda raw, ending: image(raw, ending).with_name("case_0.json").write_text('{"spacing": [1, -1, 1]}'),
    ),
    "PNG cut short": (".png", lambda raw, ending: image(raw, ending).write_bytes(image(raw, ending).read_bytes()[:70])),
    "PNG with a wrong checksum": (".png", replace(b"IHDR\x00\x00\x00\x0e", b"IHDR\x00\x00\x00\x0f")),
    "PNG of three colours": (".png", write_alpha),
    "BMP cut short": (".bmp", lambda raw, ending: image(raw, ending).write_bytes(image(raw, ending).read_bytes()[:60])),
}


@pytest.mark.parametrize("name", BROKEN)
def test_other_formats_are_refused_too(name: str, refused: Callable[..., None]) -> None:
    ending, damage = BROKEN[name]

    def convert_and_damage(raw: Any) -> None:
        convert(raw, ending, WRITERS[ending])
        damage(raw, ending)

    refused(convert_and_damage, "case_0")


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_passes_unbroken(ending: str, raw: Any) -> None:
    convert(raw, ending, WRITERS[ending])
    assert pipeline.check(Workspace.at(raw.folder.parents[1]), "7", jobs=1).diagnosis.findings == ()


def nifti_lie() -> bytes:
    header = nib.Nifti1Header()
    header.set_data_shape((LIE, LIE, LIE))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return bytes(header.binaryblock) + bytes(1000)


def meta_lie() -> bytes:
    size = f"NDims = 3\nDimSize = {LIE} {LIE} {LIE}\n"
    head = f"ObjectType = Image\n{size}ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    return head.encode() + bytes(1000)


def nrrd_lie() -> bytes:
    head = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: {LIE} {LIE} {LIE}\nencoding: raw\n\n"
    return head.encode() + bytes(1000)


def packed_nrrd_lie() -> bytes:
    head = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: {LIE} {LIE} {LIE}\nencoding: gzip\n\n"
    return head.encode() + gzip.compress(bytes(1000))


def png_lie() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


LIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "NIfTI": (".nii", nifti_lie),
    "gzipped NIfTI": (".nii.gz", lambda: gzip.compress(nifti_lie())),
    "MetaImage": (".mha", meta_lie),
    "NRRD": (".nrrd", nrrd_lie),
    "gzipped NRRD": (".nrrd", packed_nrrd_lie),
    "PNG": (".png", png_lie),
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_about_gigabytes_takes_none(name: str, refused: Callable[..., None]) -> None:
    ending, content = LIES[name]

    def lie(raw: Any) -> None:
        for path in sorted(raw.folder.glob("*Tr/*.nii")):
            path.rename(path.with_name(path.name.removesuffix(".nii") + ending))
        raw.describe(file_ending=ending)
        image(raw, ending).write_bytes(content())

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(lie, "case_0")
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MAX_GROWTH_BYTES
