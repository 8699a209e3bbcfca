"""Prepared cases on disk: chunked, compressed, memory-mapped, each with a record that says what made it.

A case is four files: `NAME_image.b2nd`, `NAME_label.b2nd`, `NAME_locations.npz` (where its classes are) and
`NAME.json`, which is written last: a case without it does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import blosc2
import numpy as np
import numpy.typing as npt

from autounet.data.appearance import Appearance
from autounet.errors import RequestError
from autounet.geometry import Array
from autounet.preprocessing.case import CaseProperties, PreparedCase
from autounet.records import Record, atomic_path

# LZ4 decompresses at memory speed, which is what training waits for; blocks fit a core's L2 cache.
_COMPRESSION = {"codec": blosc2.Codec.LZ4, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE]}
_BLOCK_BYTES = 128 * 1024
# Half precision may add this share of a channel's standard deviation as noise: one grey level in 256.
_MAX_ROUNDING = 1 / 256


class StoredCase(Record):
    """The record beside a prepared case.

    Attributes:
        recipe: Hash of all that the case was made from; another one means that it must be made again.
        properties: How to go back to the raw case.
        annotated: Indices of the classes that were annotated in the case; `None` for all.
        appearance: What the raw image looks like; `None` in cases from before there was such a thing.
    """

    name: str
    recipe: str
    properties: CaseProperties
    annotated: tuple[int, ...] | None = None
    appearance: Appearance | None = None


@dataclass(frozen=True)
class ClassLocations:
    """Voxels to centre patches on.

    Attributes:
        per_class: For each foreground class, `(N, 3)` int32 voxel indices `(z, y, x)`; empty where it is absent.
        annotated: The same for any voxel that is not ignored; `None` where the dataset has no ignore label.
    """

    per_class: tuple[npt.NDArray[np.int32], ...]
    annotated: npt.NDArray[np.int32] | None


class PreparedStore:
    """The prepared cases of one configuration.

    Args:
        folder: Where they lie.
        patch_size: Of the configuration; chunks follow it.
    """

    def __init__(self, folder: Path, patch_size: tuple[int, ...]) -> None:
        self.folder = folder
        self._patch = (1,) * (3 - len(patch_size)) + tuple(patch_size)

    def holds(self, name: str, recipe: str) -> bool:
        """Whether the case is there, whole, and made by this recipe."""
        files = (f"{name}_image.b2nd", f"{name}_label.b2nd", f"{name}_locations.npz")
        try:
            return self.record(name).recipe == recipe and all((self.folder / file).is_file() for file in files)
        except RequestError:
            return False

    def save(
        self,
        name: str,
        case: PreparedCase,
        locations: ClassLocations,
        recipe: str,
        annotated: tuple[int, ...] | None = None,
        appearance: Appearance | None = None,
    ) -> None:
        """Write a case; its record last."""
        assert case.label is not None
        # Without this, an interruption would leave the old record beside new arrays.
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        self._write_array(self.folder / f"{name}_image.b2nd", _in_half_precision_where_exact_enough(case.image))
        self.write_label(self.folder / f"{name}_label.b2nd", case.label)
        with atomic_path(self.folder / f"{name}_locations.npz") as partial:
            arrays = {f"class_{index}": array for index, array in enumerate(locations.per_class)}
            if locations.annotated is not None:
                arrays["annotated"] = locations.annotated
            np.savez(partial, **arrays)  # type: ignore[arg-type]
        record = StoredCase(
            name=name, recipe=recipe, properties=case.properties, annotated=annotated, appearance=appearance
        )
        record.write(self.folder / f"{name}.json")

    def record(self, name: str) -> StoredCase:
        """The record of a case.

        Raises:
            RequestError: The case is not there.
        """
        return StoredCase.read(self.folder / f"{name}.json")

    def image(self, name: str) -> Any:
        """The image `(C, Z, Y, X)`, float16 or float32, memory-mapped: slicing reads only what is asked for.

        Raises:
            RequestError: The file is missing or damaged.
        """
        return self.open_array(self.folder / f"{name}_image.b2nd")

    def label(self, name: str) -> Any:
        """The label map `(1, Z, Y, X)`, int8 or int16, memory-mapped.

        Raises:
            RequestError: The file is missing or damaged.
        """
        return self.open_array(self.folder / f"{name}_label.b2nd")

    def locations(self, name: str) -> ClassLocations:
        """Where the classes of the case are.

        Raises:
            RequestError: The file is missing or damaged.
        """
        path = self.folder / f"{name}_locations.npz"
        try:
            # Opened here, because numpy leaves a damaged file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                per_class = tuple(arrays[f"class_{index}"] for index in range(len(arrays) - ("annotated" in arrays)))
                return ClassLocations(per_class=per_class, annotated=arrays.get("annotated"))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise _damaged(path, error) from None

    def write_label(self, path: Path, label: npt.NDArray[np.int16]) -> None:
        """Write a label map `(Z, Y, X)` as `(1, Z, Y, X)`, whole or not at all."""
        small = label.astype(np.int8) if label.max(initial=0) <= 127 else label
        self._write_array(path, small[None])

    def load(self, name: str) -> tuple[Array, Array]:
        """Image and label map of a case in memory.

        Raises:
            RequestError: A file is missing or damaged.
        """
        arrays = []
        for array, path in ((self.image(name), "image"), (self.label(name), "label")):
            try:
                arrays.append(array[:])
            except RuntimeError as error:
                raise _damaged(self.folder / f"{name}_{path}.b2nd", error) from None
        return arrays[0], arrays[1]

    def open_array(self, path: Path) -> Any:
        """An array that was written here, memory-mapped.

        Raises:
            RequestError: The file is missing or damaged.
        """
        try:
            return blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
        except (OSError, RuntimeError, ValueError) as error:
            raise _damaged(path, error) from None

    def _write_array(self, path: Path, array: Array) -> None:
        chunks = _chunks(array.shape, self._patch, array.dtype.itemsize)
        with atomic_path(path) as partial:
            blosc2.asarray(
                np.ascontiguousarray(array),
                chunks=chunks,
                blocks=_blocks(chunks, array.dtype.itemsize),
                urlpath=str(partial),
                cparams={**_COMPRESSION, "typesize": array.dtype.itemsize, "nthreads": 1},
            )


def _damaged(path: Path, error: Exception) -> RequestError:
    return RequestError(f"prepared file {path} cannot be read ({error}). Remove it and run plan_and_preprocess again.")


def _chunks(shape: tuple[int, ...], patch: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """A chunk is what a patch covers of one channel, and never so small that handling it costs more than reading it."""
    depth, height, width = (min(size, edge) for size, edge in zip(shape[1:], patch, strict=True))
    depth = max(depth, min(shape[1], _BLOCK_BYTES // (height * width * itemsize)))
    return (1, depth, height, width)


def _blocks(chunks: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Halve the longest axis of a chunk until it is small enough to stay in cache."""
    blocks = list(chunks)
    while np.prod(blocks) * itemsize > _BLOCK_BYTES:
        longest = int(np.argmax(blocks))
        blocks[longest] = -(-blocks[longest] // 2)
    return tuple(blocks)


def _in_half_precision_where_exact_enough(image: npt.NDArray[np.float32]) -> Array:
    """Normalised intensities as float16: half the disk and memory, rounding far below any noise.

    Intensities that were not normalised may be far from zero for their spread, too large or too small for that.
    """
    with np.errstate(over="ignore"):
        half = image.astype(np.float16)
    for rounded, channel in zip(half, image, strict=True):
        rounding = float(np.sqrt(np.mean((rounded - channel) ** 2)))
        if not rounding <= _MAX_ROUNDING * float(channel.std(dtype=np.float64)):
            return image
    return half
