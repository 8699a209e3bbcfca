"""PNG and BMP by Pillow: single images without a place in space."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile

from autounet.data.io.base import FileError, label_for_writing, require_planar
from autounet.geometry import Array, Geometry
from autounet.records import atomic_path


class NaturalImageReader:
    """Reads and writes `.png` and `.bmp`; colours (and alpha) are channels, spacing is `(1, 1, 1)`."""

    def read(self, path: Path, *, as_label: bool = False) -> tuple[Array, Geometry]:
        """Read a file as `(C, 1, Y, X)`; of a palette, a label's indices or an image's colours."""
        try:
            with _of_any_size(), PIL.Image.open(path, formats=("PNG", "BMP")) as image:
                pixels = _pixels(path, image, as_label)
        except FileError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error) as error:
            raise FileError(
                path, f"is damaged or no PNG or BMP image ({error})", "Export it again, or copy it again."
            ) from error
        channels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        return channels[:, None], Geometry.from_spacing((1.0, 1.0, 1.0), num_spatial_dims=2)

    def write_label(self, path: Path, label: Array, geometry: Geometry) -> None:
        """Write a label map `(1, Y, X)` as grey values."""
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
    if image.mode == "P" and not as_label:
        return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    pixels: Array = np.asarray(image)
    return pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Lift Pillow's guard against huge images, which are no attack here but whole slides."""
    limit = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit
