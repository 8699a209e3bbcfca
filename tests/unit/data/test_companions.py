"""Files that belong together, and whether any of them changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autounet.data.companions import companions_of, file_states


def write(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345678")
    return paths


@pytest.mark.parametrize(
    ("name", "others", "belonging"),
    [
        ("a_0000.tif", ["a.json", "a.tif", "b.json", "a_0001.tif"], ["a.json"]),
        ("a_0000.ome.tiff", ["a_0000.json", "a.json"], ["a_0000.json", "a.json"]),
        ("a.mhd", ["a.raw", "a.zraw", "a.json", "b.raw"], ["a.raw", "a.zraw"]),
        ("a.nii.gz", ["a.json", "a.raw", "a.nii"], []),
    ],
)
def test_what_lies_beside_a_file_and_belongs_to_it(
    name: str, others: list[str], belonging: list[str], tmp_path: Path
) -> None:
    path, *_ = write(tmp_path, name, *others)
    assert [found.name for found in companions_of(path)] == belonging


@pytest.mark.parametrize(
    ("image", "changed"),
    [
        ("a_0000.nii", "a_0000.nii"),
        ("a_0000.tif", "a.json"),
        ("a.mhd", "a.raw"),
        ("a_0000", "a_0000/IM2"),
        ("a.ome.zarr", "a.ome.zarr/0/0.0"),
    ],
)
def test_a_change_in_any_file_that_an_image_is_read_from_is_seen(image: str, changed: str, tmp_path: Path) -> None:
    write(tmp_path, changed, *([] if "/" in changed or image == changed else [image]))
    path, part = tmp_path / image, tmp_path / changed
    before, folders = file_states([path]), part.parent.stat()
    assert file_states([path]) == before
    part.write_bytes(b"87654321")
    os.utime(part, ns=(0, part.stat().st_mtime_ns + 1_000_000))
    os.utime(part.parent, ns=(folders.st_atime_ns, folders.st_mtime_ns))
    assert file_states([path]) != before


def test_a_slice_that_came_or_was_renamed_is_seen(tmp_path: Path) -> None:
    (first,) = write(tmp_path, "a_0000/IM1")
    before = file_states([first.parent])
    (second,) = write(tmp_path, "a_0000/IM2")
    assert file_states([first.parent]) != before
    second.unlink()
    assert file_states([first.parent]) == before
    first.rename(first.with_name("IM0"))
    assert file_states([first.parent]) != before
