"""Datasets with a file that is damaged, lies about itself, or holds what it should not."""

from __future__ import annotations

import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

Change = Callable[[np.ndarray], np.ndarray]

# Bytes of a NIfTI-1 header (nifti1.h).
DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET, SLOPE, QFORM_CODE, SFORM_CODE, SROW_X, MAGIC = (
    40, 70, 72, 76, 108, 112, 252, 254, 280, 344,
)  # fmt: skip


def patch(path: Path, offset: int, form: str, *values: Any) -> Path:
    """Overwrite a part of a file."""
    content = bytearray(path.read_bytes())
    content[offset : offset + struct.calcsize(form)] = struct.pack(form, *values)
    path.write_bytes(content)
    return path


def rewrite(path: Path, change: Change, affine: np.ndarray | None = None) -> Path:
    """Change the voxels `(x, y, z)` of a NIfTI file, and perhaps its affine."""
    image = nib.load(path)
    voxels = change(np.asarray(image.dataobj).copy())
    nib.save(nib.Nifti1Image(voxels, image.affine if affine is None else affine), path)
    return path


def moved(millimetres: float) -> np.ndarray:
    affine = np.eye(4)
    affine[0, 3] = millimetres
    return affine


def with_value(value: float, count: int = 1, dtype: Any = np.float32) -> Change:
    def change(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(dtype)
        voxels.reshape(-1)[:count] = value
        return voxels

    return change


def zip_all(raw: Any) -> None:
    """Turn the dataset into one of compressed files."""
    for path in [*raw.folder.glob("*Tr/*.nii")]:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    raw.describe(file_ending=".nii.gz")


def zipped(damage: Callable[[Path], object]) -> Callable[[Any], object]:
    """Damage to the first image of a dataset of compressed files."""

    def apply(raw: Any) -> None:
        zip_all(raw)
        damage(raw.image().with_name(raw.image().name + ".gz"))

    return apply


def keep(count: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[:count])


def flip(path: Path) -> None:
    """Change some bytes amid the compressed stream."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    path.write_bytes(content)


def as_foreign(writer: Callable[[Path], object]) -> Callable[[Any], object]:
    return lambda raw: writer(raw.image())


def write_complex(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((14, 12, 10), np.complex64), np.eye(4)), path)


def write_colours(path: Path) -> None:
    voxels = np.zeros((14, 12, 10), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)


BROKEN_IMAGES: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "gzip cut short": (zipped(keep(2000)), ("case_0",)),
    "gzip cut in its header": (zipped(keep(5)), ("case_0",)),
    "gzip with changed bytes": (zipped(flip), ("case_0",)),
    "gzip of nothing": (zipped(lambda path: path.write_bytes(gzip.compress(b""))), ("case_0",)),
    "gzip that is text": (zipped(lambda path: path.write_text("404 Not Found")), ("case_0",)),
    "gzip of text": (zipped(lambda path: path.write_bytes(gzip.compress(b"404" * 999))), ("case_0",)),
    "zero bytes": (lambda raw: raw.image().write_bytes(b""), ("case_0",)),
    "one byte": (lambda raw: raw.image().write_bytes(b"x"), ("case_0",)),
    "random bytes": (lambda raw: raw.image().write_bytes(np.random.default_rng(0).bytes(5000)), ("case_0",)),
    "zeros": (lambda raw: raw.image().write_bytes(bytes(10_000)), ("case_0",)),
    "header alone": (lambda raw: raw.image().write_bytes(raw.image().read_bytes()[:352]), ("case_0",)),
    "half the voxels": (lambda raw: raw.image().write_bytes(raw.image().read_bytes()[:3000]), ("case_0",)),
    "wrong magic": (lambda raw: patch(raw.image(), MAGIC, "4s", b"abcd"), ("case_0",)),
    "million slices": (lambda raw: patch(raw.image(), DIM, "<4h", 3, 14, 12, 32767), ("case_0",)),
    "gigavoxels": (lambda raw: patch(raw.image(), DIM, "<5h", 4, 32767, 32767, 32767, 32767), ("case_0",)),
    "no axes": (lambda raw: patch(raw.image(), DIM, "<h", 0), ("case_0",)),
    "nine axes": (lambda raw: patch(raw.image(), DIM, "<h", 9), ("case_0",)),
    "negative size": (lambda raw: patch(raw.image(), DIM, "<4h", 3, 14, 12, -10), ("case_0",)),
    "size zero": (lambda raw: patch(raw.image(), DIM, "<4h", 3, 14, 12, 0), ("case_0",)),
    "unknown datatype": (lambda raw: patch(raw.image(), DATATYPE, "<h", 9999), ("case_0",)),
    "offset beyond the file": (lambda raw: patch(raw.image(), VOX_OFFSET, "<f", 1e9), ("case_0",)),
    "offset that is negative": (lambda raw: patch(raw.image(), VOX_OFFSET, "<f", -1e3), ("case_0",)),
    "slope NaN": (lambda raw: rewrite(raw.image(), with_value(np.nan)), ("case_0", "NaN")),
    "infinite voxels": (lambda raw: rewrite(raw.image(), with_value(np.inf, 5)), ("case_0", "infinite")),
    "all NaN": (lambda raw: rewrite(raw.image(), with_value(np.nan, 14 * 12 * 10)), ("case_0", "NaN")),
    "beyond float32": (lambda raw: rewrite(raw.image(), with_value(1e300, 5, np.float64)), ("case_0", "infinite")),
    "spacing zero, no affine": (
        lambda raw: (
            patch(raw.image(), QFORM_CODE, "<2h", 0, 0),
            patch(raw.image(), PIXDIM, "<4f", 1.0, 0.0, 1.0, 1.0),
        ),
        ("case_0",),
    ),
    "spacing NaN": (lambda raw: patch(raw.image(), PIXDIM, "<4f", 1.0, np.nan, 1.0, 1.0), ("case_0",)),
    "singular affine": (
        lambda raw: patch(raw.image(), SROW_X, "<12f", 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0),
        ("case_0",),
    ),
    "affine NaN": (lambda raw: patch(raw.image(), SROW_X, "<f", np.nan), ("case_0",)),
    "affine zero": (lambda raw: patch(raw.image(), SROW_X, "<12f", *[0.0] * 12), ("case_0",)),
    "complex voxels": (as_foreign(write_complex), ("case_0", "complex")),
    "colours": (as_foreign(write_colours), ("case_0",)),
    "four axes": (lambda raw: rewrite(raw.image(), lambda voxels: np.stack([voxels] * 3, axis=-1)), ("case_0", "3")),
    "five axes": (
        lambda raw: rewrite(raw.image(), lambda voxels: np.stack([np.stack([voxels] * 2, -1)] * 2, -1)),
        ("case_0",),
    ),
    "one axis": (lambda raw: rewrite(raw.image(), lambda voxels: voxels[:, 0, 0]), ("case_0",)),
    "PNG called nii": (lambda raw: raw.image().write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)), ("case_0",)),
    "image a folder": (lambda raw: (raw.image().unlink(), raw.image().mkdir()), ("case_0",)),
    "image of another grid": (lambda raw: rewrite(raw.image(), lambda voxels: voxels[:, :-2]), ("case_0", "shape")),
    "image shifted": (lambda raw: rewrite(raw.image(), lambda voxels: voxels, moved(30)), ("case_0", "30 mm")),
    "image of other spacing": (
        lambda raw: rewrite(raw.image(), lambda voxels: voxels, np.diag([1.0, 1, 3, 1])),
        ("case_0", "voxel size"),
    ),
    "image mirrored": (
        lambda raw: rewrite(raw.image(), lambda voxels: voxels, np.diag([-1.0, 1, 1, 1])),
        ("case_0", "apart"),
    ),
}

BROKEN_LABELS: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "zero bytes": (lambda raw: raw.label().write_bytes(b""), ("case_0",)),
    "cut short": (lambda raw: raw.label().write_bytes(raw.label().read_bytes()[:800]), ("case_0",)),
    "four axes": (lambda raw: rewrite(raw.label(), lambda voxels: np.stack([voxels] * 2, axis=-1)), ("case_0", "2")),
    "one slice": (lambda raw: rewrite(raw.label(), lambda voxels: voxels[:, :, 3]), ("case_0", "shape")),
    "transposed": (lambda raw: rewrite(raw.label(), lambda voxels: voxels.T), ("case_0", "shape")),
    "halves": (lambda raw: rewrite(raw.label(), with_value(0.5, 40)), ("case_0", "0.5")),
    "NaN": (lambda raw: rewrite(raw.label(), with_value(np.nan, 900)), ("case_0", "NaN")),
    "negative": (lambda raw: rewrite(raw.label(), with_value(-1, 9, np.int16)), ("case_0", "-1")),
    "16 bits over 255": (lambda raw: rewrite(raw.label(), with_value(300, 9, np.uint16)), ("case_0", "300")),
    "255 for 1": (
        lambda raw: rewrite(raw.label(), lambda voxels: np.where(voxels == 1, 255, voxels).astype(np.uint8)),
        ("case_0", "255"),
    ),
    "huge": (lambda raw: rewrite(raw.label(), with_value(2e9, 9, np.int32)), ("case_0", "2000000000")),
    "every voxel its own": (
        lambda raw: rewrite(raw.label(), lambda voxels: np.arange(voxels.size, dtype=np.int16).reshape(voxels.shape)),
        ("case_0", "more"),
    ),
    "intensities": (lambda raw: shutil.copyfile(raw.image(), raw.label()), ("case_0", "label")),
    "complex": (lambda raw: write_complex(raw.label()), ("case_0", "complex")),
    "shifted": (lambda raw: rewrite(raw.label(), lambda voxels: voxels, moved(12)), ("case_0", "12 mm")),
    "of no class in all cases": (
        lambda raw: [rewrite(raw.label(case), lambda voxels: 0 * voxels) for case in range(4)],
        ("organ",),
    ),
}


@pytest.mark.parametrize("name", BROKEN_IMAGES)
def test_a_broken_image_is_refused(name: str, refused: Callable[..., None]) -> None:
    damage, said = BROKEN_IMAGES[name]
    refused(damage, *said)


@pytest.mark.parametrize("name", BROKEN_LABELS)
def test_a_broken_label_is_refused(name: str, refused: Callable[..., None]) -> None:
    damage, said = BROKEN_LABELS[name]
    refused(damage, *said)


FLAWS: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "float label 1.0000001": (
        lambda raw: rewrite(
            raw.label(), lambda voxels: np.where(voxels == 1, np.float32(1.0000001), voxels).astype(np.float32)
        ),
        ("case_0", "harmless", "1.0000001"),
    ),
    "rounding in the affine": (
        lambda raw: rewrite(raw.label(), lambda voxels: voxels, moved(0.05)),
        ("case_0", "harmless", "0.05 mm"),
    ),
    "case without any class": (lambda raw: rewrite(raw.label(), lambda voxels: 0 * voxels), ("case_0", "no class")),
    "class in one case": (
        lambda raw: [
            rewrite(raw.label(case), lambda voxels: np.where(voxels == 2, 1, voxels).astype(np.uint8))
            for case in range(3)
        ],
        ("tumour is in case case_3 only",),
    ),
    "class in no case": (
        lambda raw: raw.describe(labels={"background": 0, "organ": 1, "tumour": 2, "cyst": 3}),
        ("cyst",),
    ),
    "nearly the same image": (
        lambda raw: (shutil.copyfile(raw.image(1), raw.image(0)), rewrite(raw.image(0), lambda v: np.rint(2 * v))),
        ("near duplicate", "case_1"),
    ),
    "pixdim against affine": (
        lambda raw: [patch(path, SROW_X, "<f", 2.0) for path in (raw.image(), raw.label())],
        ("two voxel sizes",),
    ),
    "spacing negative in pixdim": (lambda raw: patch(raw.image(), PIXDIM, "<4f", 1.0, -1.0, 1.0, 1.0), ()),
    "header size wrong, all else right": (lambda raw: patch(raw.image(), 0, "<i", 999), ()),
    "direction off by 1e-8": (
        lambda raw: rewrite(raw.label(), lambda voxels: voxels, np.eye(4) + 1e-8 * (1 - np.eye(4))),
        (),
    ),
    "links to the files": (
        lambda raw: [
            (path.rename(path.with_suffix(".moved")), path.symlink_to(path.with_suffix(".moved")))
            for path in (raw.image(), raw.label())
        ],
        (),
    ),
    "16-bit labels": (lambda raw: rewrite(raw.label(), lambda voxels: voxels.astype(np.uint16)), ()),
    "labels of 64 bits": (lambda raw: rewrite(raw.label(), lambda voxels: voxels.astype(np.float64)), ()),
}


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_is_told_and_let_pass(name: str, warned: Callable[..., None]) -> None:
    damage, said = FLAWS[name]
    warned(damage, *said)


SUSPECTED: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "the same case twice": (
        lambda raw: [shutil.copyfile(path(1), path(0)) for path in (raw.image, raw.label)],
        ("duplicate", "repairable", "case_1"),
    ),
    "an image twice with two labels": (
        lambda raw: (
            shutil.copyfile(raw.image(1), raw.image(0)),
            rewrite(raw.label(0), lambda voxels: np.where(voxels == 2, 1, voxels).astype(np.uint8)),
        ),
        ("duplicate", "hopeless", "another label"),
    ),
    "constant image": (lambda raw: rewrite(raw.image(), lambda voxels: 0 * voxels), ("constant", "hopeless")),
    "label shifted by half a voxel": (
        lambda raw: rewrite(raw.label(), lambda voxels: voxels, moved(0.5)),
        ("geometry", "repairable", "0.5 mm"),
    ),
}


@pytest.mark.parametrize("name", SUSPECTED)
def test_what_should_not_be_trained_on_is_refused_by_the_doctor(name: str, suspected: Callable[..., None]) -> None:
    damage, said = SUSPECTED[name]
    suspected(damage, *said)
