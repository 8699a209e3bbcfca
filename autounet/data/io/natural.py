"""PNG, BMP and JPEG by Pillow: single images without a place in space.

JPEG is read as image only: its compression alters values, and an altered label is another class.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps

from autounet.data.io.base import FileError, label_for_writing, refuse_label, require_held, require_planar
from autounet.geometry import Array, Geometry
from autounet.records import atomic_path

_JPEG_ENDINGS = (".jpg", ".jpeg")
_BYTES = {"I": 4, "F": 4}  # of a number, by the first letter of Pillow's mode; the other modes have bytes


class NaturalImageReader:
    """Reads `.png`, `.bmp` and `.jpg`, writes the first two; colours (and alpha) are channels, spacing is not told."""

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read a file as `(C, 1, Y, X)`; of a palette, a label's indices or an image's colours."""
        is_jpeg = path.suffix.lower() in _JPEG_ENDINGS
        if is_jpeg and as_label:
            raise FileError(
                path,
                "label maps cannot be JPEG, its compression alters them",
                "Save the labels as .png, from the source.",
            )
        try:
            with _of_any_size(), PIL.Image.open(path, formats=("PNG", "BMP", "JPEG")) as image:
                claimed = image.width * image.height * len(image.getbands()) * _BYTES.get(image.mode[:1], 1)
                require_held(path, claimed, path.stat().st_size, is_compressed=True)
                pixels = _pixels(path, image, as_label)
        except FileError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error) as error:
            raise FileError(
                path, f"is damaged or no PNG, BMP or JPEG image ({error})", "Export it again, or copy it again."
            ) from error
        channels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        return channels[:, None], Geometry.from_spacing((1.0, 1.0, 1.0), 2, tells_spacing=False)

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Write a label map `(1, Y, X)` as grey values."""
        if path.suffix.lower() in _JPEG_ENDINGS:
            refuse_label(path, "JPEG, its compression alters them", ".png")
        require_planar(path, label)
        is_png = path.suffix.lower() == ".png"
        values = label_for_writing(path, label, max_value=65535 if is_png else 255)
        with atomic_path(path) as partial:
            PIL.Image.fromarray(values[0]).save(partial, format="PNG" if is_png else "BMP")


READER = NaturalImageReader()


def _pixels(path: Path, image: PIL.ImageFile.ImageFile, as_label: bool) -> Array:
    """Pixels `(Y, X)` or `(Y, X, C)`."""
    stored = str(image.tile[0].args) if image.tile else ""
    if ";16" in stored and image.mode not in ("I", "I;16", "I;16B", "F"):
        raise FileError(path, "16 bits a colour would be cut to 8", "Save it as .tif, or one grey file per channel.")
    if image.format == "JPEG":
        return _upright(image)
    if image.mode == "P" and not as_label:
        return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    pixels: Array = np.asarray(image)
    return pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels


def _upright(image: PIL.ImageFile.ImageFile) -> Array:
    """A photograph as every viewer shows it, so that it fits to masks that were drawn on it: turned as EXIF asks."""
    turned = PIL.ImageOps.exif_transpose(image)
    return np.asarray(turned if turned.mode in ("L", "RGB") else turned.convert("RGB"))


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Lift Pillow's guard against huge images, which are no attack here but whole slides."""
    limit = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit
