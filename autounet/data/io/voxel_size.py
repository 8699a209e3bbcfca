"""The voxel size of a TIFF file: from a JSON file beside it, OME-XML, ImageJ's tags, or a resolution in centimetres.

* JSON: `case.json` with `{"spacing": [z, y, x]}`, as in nnU-Net's `Tiff3DIO`; it overrules the file's own tags.
* OME-XML: `PhysicalSizeX`, `PhysicalSizeY`, `PhysicalSizeZ` and their units, by default µm (OME schema 2016-06).
* ImageJ: pixels per `unit` in the resolution tags and `spacing` for z, which ImageJ leaves out where it is 1.
* Resolution per centimetre. One per inch is what printers use (72, 96, 300), not a measurement, and is passed over.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np

from autounet.data.io.base import FileError
from autounet.data.io.units import mm_per_unit
from autounet.errors import RequestError
from autounet.geometry import Triple
from autounet.records import read_json

_CHANNEL_SUFFIX = re.compile(r"_\d{4}$")
_PER_CENTIMETRE = 3  # TIFF 6.0, ResolutionUnit
_OME_DEFAULT_UNIT = "µm"


def sidecar_of(path: Path, ending: str) -> Path:
    """The JSON file that is written beside a label file."""
    return path.with_name(f"{path.name[: -len(ending)]}.json")


def voxel_size_mm(path: Path, ending: str, file: Any, *, is_stack: bool) -> Triple | None:
    """The voxel size `(z, y, x)` in mm; `None` where nothing tells it.

    Args:
        path: The file.
        ending: The part of its name that is the ending.
        file: tifffile's open `TiffFile`.
        is_stack: Whether it has several slices.

    Raises:
        FileError: The JSON or the OME-XML is there but tells no size.
    """
    beside = _from_json(path, ending)
    if beside is not None:
        return beside
    if file.is_ome:
        return _from_ome(path, file.ome_metadata, is_stack=is_stack)
    return _from_tags(file)


def _from_json(path: Path, ending: str) -> Triple | None:
    """Of an image `case_0000.tif` or a label `case.tif`, from `case.json`."""
    stem = path.name[: -len(ending)]
    names = dict.fromkeys((f"{stem}.json", f"{_CHANNEL_SUFFIX.sub('', stem)}.json"))
    sidecar = next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
    if sidecar is None:
        return None
    try:
        content = read_json(sidecar)
        z, y, x = (float(size) for size in content["spacing"])
    except (RequestError, KeyError, TypeError, ValueError) as error:
        raise FileError(sidecar, f"tells no voxel size ({error})", 'It must hold {"spacing": [z, y, x]}.') from error
    return (z, y, x)


def _from_ome(path: Path, xml: str | None, *, is_stack: bool) -> Triple | None:
    try:
        root = ET.fromstring(xml or "")
    except ET.ParseError as error:
        raise FileError(
            path, f"its OME-XML is damaged ({error})", "Export it again, or save it as plain TIFF."
        ) from error
    pixels = next((element for element in root.iter() if element.tag.rpartition("}")[2] == "Pixels"), None)
    sizes = {axis: _physical_size(path, pixels, axis) for axis in "ZYX"} if pixels is not None else {}
    z, y, x = (sizes.get(axis) for axis in "ZYX")
    if x is None or y is None:
        return None
    if z is None and is_stack:
        stem = path.name.partition(".")[0]
        raise FileError(
            path,
            "its OME-XML tells PhysicalSizeX and PhysicalSizeY, but no PhysicalSizeZ for a stack",
            f'Set it, or put {_CHANNEL_SUFFIX.sub("", stem)}.json with {{"spacing": [z, y, x]}} in mm beside the file.',
        )
    return (1.0 if z is None else z, y, x)


def _physical_size(path: Path, pixels: ET.Element, axis: str) -> float | None:
    """In mm; `None` where it is not told, or told in pixels."""
    text = pixels.get(f"PhysicalSize{axis}")
    scale = mm_per_unit(pixels.get(f"PhysicalSize{axis}Unit", _OME_DEFAULT_UNIT))
    if text is None or scale is None:
        return None
    try:
        return float(text) * scale
    except ValueError as error:
        raise FileError(path, f"PhysicalSize{axis} is '{text}', which is no number", "Correct its OME-XML.") from error


def _from_tags(file: Any) -> Triple | None:
    tags = file.pages[0].tags
    per_unit = [_ratio(tags[name].value) if name in tags else 0.0 for name in ("YResolution", "XResolution")]
    if not all(np.isfinite(value) and value > 0 for value in per_unit):
        return None
    metadata = file.imagej_metadata or {}
    scale = mm_per_unit(str(metadata.get("unit", "")))
    z = 1.0
    if scale is not None:
        z = float(metadata.get("spacing", 1.0)) * scale
    elif "ResolutionUnit" in tags and int(tags["ResolutionUnit"].value) == _PER_CENTIMETRE and not metadata:
        scale = 10.0
    if scale is None:
        return None
    y, x = (scale / value for value in per_unit)
    return (abs(z), y, x)


def _ratio(value: tuple[int, int]) -> float:
    numerator, denominator = value
    return numerator / denominator if denominator else 0.0
