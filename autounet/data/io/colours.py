"""Colour files and the channels that a dataset declares: alpha that says nothing, grey stored as colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autounet.data.io.base import FileError
from autounet.geometry import Array

COLOUR_ENDINGS = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
_RGB, _RGBA = 3, 4
_GREY_ALPHA = 2


def fitted(path: Path, array: Array, num_channels: int) -> Array:
    """The channels `(C, Z, Y, X)` of a colour file, less those that hold nothing where fewer are declared.

    An alpha channel is left out if it is the same everywhere, and colours become one grey channel if all three are
    equal. Where neither is so, the array comes back as it is, and the wrong number of channels is told by the check.

    Args:
        path: Names the file in errors.
        array: As read.
        num_channels: As `dataset.json` declares.

    Raises:
        FileError: Alpha would be left out, but it varies.
    """
    if array.shape[0] == num_channels:
        return array
    has_alpha = array.shape[0] in (_GREY_ALPHA, _RGBA)
    if has_alpha and num_channels in (1, _RGB) and num_channels < array.shape[0]:
        alpha = array[-1]
        if alpha.min() != alpha.max():
            raise FileError(
                path,
                f"has {array.shape[0]} channels for {num_channels} declared, and the last (alpha) is not the same "
                f"everywhere: {alpha.min()} to {alpha.max()}",
                "Save it without alpha, or declare alpha as one more channel in dataset.json.",
            )
        array = array[:-1]
    is_grey = array.shape[0] == _RGB and num_channels == 1
    if is_grey and np.array_equal(array[0], array[1]) and np.array_equal(array[0], array[2]):
        array = array[:1]
    return array
