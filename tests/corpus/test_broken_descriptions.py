"""Datasets whose dataset.json or folders are not as they must be."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def write(text: str | bytes) -> Callable[[Any], object]:
    content = text.encode() if isinstance(text, str) else text
    return lambda raw: raw.description.write_bytes(content)


def describe(**changes: Any) -> Callable[[Any], object]:
    return lambda raw: raw.describe(**changes)


def circle(path: Path) -> None:
    """Two links that lead to each other."""
    other = path.with_name("other" + path.name)
    path.unlink()
    path.symlink_to(other.name)
    other.symlink_to(path.name)


BROKEN: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "no dataset.json": (lambda raw: raw.description.unlink(), ("dataset.json", "does not exist")),
    "empty dataset.json": (write(""), ("dataset.json", "not valid JSON")),
    "no JSON": (write("{labels: background}"), ("dataset.json", "not valid JSON")),
    "JSON cut short": (write('{"labels": {"background": 0'), ("dataset.json", "not valid JSON")),
    "not UTF-8": (write(b'{"labels": "\xff\xfe"}'), ("dataset.json",)),
    "a list": (write("[1, 2]"), ("dataset.json", "object")),
    "a number": (write("3"), ("dataset.json",)),
    "an empty object": (write("{}"), ("dataset.json", "file_ending")),
    "a folder": (lambda raw: (raw.description.unlink(), raw.description.mkdir()), ("dataset.json",)),
    "deeply nested": (write("[" * 100_000), ("dataset.json",)),
    "no labels": (describe(labels=None), ("dataset.json", "labels")),
    "labels a list": (describe(labels=["background", "organ"]), ("dataset.json", "labels")),
    "labels the old way round": (describe(labels={"0": "background", "1": "organ"}), ("dataset.json", "v1")),
    "no background": (describe(labels={"organ": 1}), ("dataset.json", "background")),
    "background not 0": (describe(labels={"background": 1, "organ": 2}), ("dataset.json", "background")),
    "background alone": (describe(labels={"background": 0}), ("dataset.json",)),
    "label a fraction": (describe(labels={"background": 0, "organ": 1.5}), ("dataset.json", "organ")),
    "label a word": (describe(labels={"background": 0, "organ": "one"}), ("dataset.json", "organ")),
    "label negative": (describe(labels={"background": 0, "organ": -1}), ("dataset.json",)),
    "label twice": (describe(labels={"background": 0, "organ": 1, "tumour": 1}), ("dataset.json",)),
    "region without order": (
        describe(labels={"background": 0, "organ": [1, 2], "tumour": 2}),
        ("regions_class_order",),
    ),
    "order too short": (
        describe(labels={"background": 0, "organ": [1, 2], "tumour": 2}, regions_class_order=[1]),
        ("regions_class_order",),
    ),
    "order no list": (describe(regions_class_order="1, 2"), ("regions_class_order",)),
    "ignore a list": (describe(labels={"background": 0, "organ": 1, "ignore": [2]}), ("dataset.json", "ignore")),
    "no channels": (describe(channel_names=None), ("dataset.json", "channel_names")),
    "channels a list": (describe(channel_names=["CT"]), ("dataset.json", "channel_names")),
    "channels from 1": (describe(channel_names={"1": "CT"}), ("dataset.json", "channel_names")),
    "one channel too many": (describe(channel_names={"0": "CT", "1": "PET"}), ("case_0", "channel")),
    "no ending": (describe(file_ending=None), ("dataset.json", "file_ending")),
    "unknown ending": (describe(file_ending=".xyz"), (".xyz",)),
    "another ending": (describe(file_ending=".nii.gz"), ("imagesTr", ".nii")),
    "ending a number": (describe(file_ending=3), ("dataset.json", "file_ending")),
    "too few declared": (describe(numTraining=3), ("dataset.json", "numTraining")),
    "far too many declared": (describe(numTraining=10**12), ("dataset.json", "numTraining")),
    "count a word": (describe(numTraining="four"), ("dataset.json", "numTraining")),
    "class not declared": (describe(labels={"background": 0, "organ": 1}), ("case_0", "2")),
    "lists files that are not there": (
        describe(dataset={"a": {"images": ["imagesTr/a.nii"], "label": "labelsTr/a.nii"}}),
        ("a.nii",),
    ),
    "lists nonsense": (describe(dataset={"a": 3}), ("dataset.json",)),
    "lists nothing": (describe(dataset={}), ("dataset.json",)),
    "no images": (lambda raw: shutil.rmtree(raw.folder / "imagesTr"), ("imagesTr",)),
    "no labels at all": (lambda raw: shutil.rmtree(raw.folder / "labelsTr"), ("labelsTr",)),
    "empty folders": (
        lambda raw: [path.unlink() for path in raw.folder.glob("*Tr/*")],
        ("imagesTr", ".nii"),
    ),
    "images a file": (
        lambda raw: (raw.folder / "imagesTr").rename(raw.folder / "old").with_name("imagesTr").write_text("x"),
        ("imagesTr",),
    ),
    "a label missing": (lambda raw: raw.label(2).unlink(), ("case_2", "no label")),
    "an image missing": (lambda raw: raw.image(2).unlink(), ("case_2", "no image")),
    "no channel number": (
        lambda raw: raw.image(2).rename(raw.image(2).with_name("case_2.nii")),
        ("case_2", "channel number"),
    ),
    "a channel number too high": (
        lambda raw: raw.image(2).rename(raw.image(2, 1)),
        ("case_2", "channel"),
    ),
    "links in a circle": (lambda raw: circle(raw.image()), ("case_0", "link")),
    "label link in a circle": (lambda raw: circle(raw.label(1)), ("case_1", "link")),
    "link to nowhere": (
        lambda raw: (raw.image(3).unlink(), raw.image(3).symlink_to("/nowhere/at/all.nii")),
        ("case_3", "link"),
    ),
    "dataset.json a circle": (lambda raw: circle(raw.description), ("dataset.json",)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_description_is_refused(name: str, refused: Callable[..., None]) -> None:
    damage, said = BROKEN[name]
    refused(damage, *said)


def rename_case(raw: Any, name: str) -> None:
    raw.image(0).rename(raw.folder / "imagesTr" / f"{name}_0000.nii")
    raw.label(0).rename(raw.folder / "labelsTr" / f"{name}.nii")


FLAWS: dict[str, Callable[[Any], object]] = {
    "spaces in a name": lambda raw: rename_case(raw, "case with  spaces"),
    "Unicode in a name": lambda raw: rename_case(raw, "Fäll_Ω_例"),
    "markup in a name": lambda raw: rename_case(raw, "[bold]case[red]"),
    "dots in a name": lambda raw: rename_case(raw, "1.2.840.113619.2"),
    "a name like another channel": lambda raw: rename_case(raw, "case_0_0001"),
    "hidden twins": lambda raw: (raw.folder / "imagesTr" / "._case_0_0000.nii").write_bytes(b"junk"),
    "a stray note": lambda raw: (raw.folder / "imagesTr" / "readme.txt").write_text("hello"),
    "unknown keys": lambda raw: raw.describe(licence="CC0", overwrite_image_reader_writer="NibabelIO"),
    "byte order mark": lambda raw: raw.description.write_bytes(b"\xef\xbb\xbf" + raw.description.read_bytes()),
    "no count": lambda raw: raw.describe(numTraining=None),
}


@pytest.mark.parametrize("name", FLAWS)
def test_an_oddity_is_let_pass(name: str, warned: Callable[..., None]) -> None:
    warned(FLAWS[name])


@pytest.mark.parametrize("part", ["dataset.json", "imagesTr/case_0_0000.nii", "labelsTr/case_1.nii", "imagesTr"])
def test_what_may_not_be_read_is_named(part: str, raw: Any, refused: Callable[..., None]) -> None:
    path = raw.folder / part
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        if os.access(path, os.R_OK):
            pytest.skip("root reads everything")
        refused(lambda raw: None, Path(part).name.partition("_0000")[0])
    finally:
        path.chmod(mode)


def test_the_sound_dataset_has_nothing_wrong(warned: Callable[..., None], raw: Any) -> None:
    warned(lambda raw: None)
    table = raw.folder.parents[1] / "preprocessed" / raw.folder.name / "problems.csv"
    assert len(table.read_text(encoding="utf-8").splitlines()) == 1
    assert json.loads(raw.description.read_text())["numTraining"] == 4
