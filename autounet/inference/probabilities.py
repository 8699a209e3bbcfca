"""Probabilities of a case on disk, written and read slab by slab: nobody holds those of a whole case.

CASE_probabilities.b2nd     (K, Z, Y, X) in the raw frame, uint16, 65535 for a probability of 1; blosc2
CASE_probabilities.nii.gz   or, for other programs too: uint8, four axes, scaled to 0..1 by its header
CASE_probabilities.json     what the channels are and where the voxels lie; written last
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from autounet.errors import RequestError
from autounet.geometry import Geometry, Shape3
from autounet.inference.export import ProbabilitySink
from autounet.inference.raw_frame import Floats
from autounet.labels import LabelSchema
from autounet.records import SCHEMA_VERSION, Record, atomic_path

ProbabilityFormat = Literal["b2nd", "nifti"]
# What a probability of 1 is stored as.
SCALES: dict[ProbabilityFormat, int] = {"b2nd": 65535, "nifti": 255}
SUFFIX = "_probabilities"
_CHUNK_BYTES = 4 * 2**20
_GZIP_BITS = 31  # zlib's window of 15 bits, plus 16 for a gzip header
_GZIP_LEVEL = 1


class ProbabilityRecord(Record):
    """The record beside stored probabilities.

    Attributes:
        case: Its identifier.
        geometry: Of the raw image.
        shape: Of the raw image `(Z, Y, X)`.
        labels: What the channels stand for: `labels.output_names`.
        file_ending: Of the dataset's images.
        channel_names: Of the dataset's images.
        scale: What a probability of 1 is stored as, which tells the format.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    case: str
    geometry: Geometry
    shape: Shape3
    labels: LabelSchema
    file_ending: str
    channel_names: tuple[str, ...]
    scale: int

    @property
    def form(self) -> ProbabilityFormat:
        """In which format they are stored."""
        return "nifti" if self.scale == SCALES["nifti"] else "b2nd"

    @property
    def array_shape(self) -> tuple[int, int, int, int]:
        """`(K, Z, Y, X)`."""
        return (self.labels.num_outputs, *self.shape)


class _Blosc2Sink:
    """Slabs into a chunked, compressed array."""

    scale: int = SCALES["b2nd"]
    dtype: npt.DTypeLike = np.uint16

    def __init__(self, path: Path, record: ProbabilityRecord) -> None:
        import blosc2  # takes a while, and most predictions store none

        depth, height, width = record.shape
        slices = max(1, min(depth, _CHUNK_BYTES // (height * width * np.dtype(self.dtype).itemsize)))
        self._array = blosc2.empty(
            (record.labels.num_outputs, *record.shape),
            dtype=self.dtype,
            chunks=(1, slices, height, width),
            urlpath=str(path),
            cparams={
                "codec": blosc2.Codec.ZSTD,
                "clevel": 1,
                "filters": [blosc2.Filter.BITSHUFFLE],
                "nthreads": 1,
            },
        )

    def write(self, start: int, slab: npt.NDArray[Any]) -> None:
        """Store the slab `(K, n, Y, X)` of the slices from `start` on."""
        self._array[:, start : start + slab.shape[1]] = slab


class _NiftiSink:
    """Slabs into a gzip stream a class, which are joined at the end: a gzip file may consist of several."""

    scale: int = SCALES["nifti"]
    dtype: npt.DTypeLike = np.uint8

    def __init__(self, streams: Sequence[IO[bytes]]) -> None:
        self._streams = streams
        self._packers = [zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_BITS) for _ in streams]

    def write(self, start: int, slab: npt.NDArray[Any]) -> None:
        """Store the slab `(K, n, Y, X)`; slabs come in order."""
        for stream, packer, values in zip(self._streams, self._packers, slab, strict=True):
            stream.write(packer.compress(values.tobytes()))

    def join(self, path: Path, record: ProbabilityRecord) -> None:
        """Write the file: header, then class after class."""
        with path.open("wb") as file:
            header = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_BITS)
            file.write(header.compress(_nifti_header(record)) + header.flush())
            for stream, packer in zip(self._streams, self._packers, strict=True):
                stream.write(packer.flush())
                stream.seek(0)
                shutil.copyfileobj(stream, file)


def probability_path(folder: Path, case: str, form: ProbabilityFormat) -> Path:
    """Where the probabilities of a case lie."""
    return folder / f"{case}{SUFFIX}{'.b2nd' if form == 'b2nd' else '.nii.gz'}"


@contextmanager
def probability_sink(folder: Path, record: ProbabilityRecord) -> Iterator[ProbabilitySink]:
    """A place for the probabilities of a case, which is there, whole, once the block has ended well."""
    path = probability_path(folder, record.case, record.form)
    beside = folder / f"{record.case}{SUFFIX}.json"
    beside.unlink(missing_ok=True)
    with atomic_path(path) as partial:
        if record.form == "b2nd":
            yield _Blosc2Sink(partial, record)
        else:
            with ExitStack() as stack:
                files = [
                    stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(record.labels.num_outputs)
                ]
                sink = _NiftiSink(files)
                yield sink
                sink.join(partial, record)
    record.write(beside)


class StoredProbabilities:
    """Probabilities of a case that were written in either format.

    Args:
        path: The record, `CASE_probabilities.json`.

    Raises:
        RequestError: The record or the array is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.record = ProbabilityRecord.read(path)
        self._path = probability_path(path.parent, self.record.case, self.record.form)
        try:
            self._array = _open_blosc2(self._path) if self.record.form == "b2nd" else _unpacked_nifti(self._path)
        except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
            raise self._damaged(error) from None
        if self._array.shape != self.record.array_shape:
            raise self._damaged(f"its shape is {self._array.shape}, that of the record {self.record.array_shape}")

    def slab(self, start: int, stop: int) -> Floats:
        """Probabilities `(K, n, Y, X)` of some slices, from 0 to 1.

        Raises:
            RequestError: The array is damaged.
        """
        try:
            values = self._array[:, start:stop]
        except (RuntimeError, ValueError) as error:
            raise self._damaged(error) from None
        probabilities: Floats = values.astype(np.float32)
        probabilities /= self.record.scale
        return probabilities

    def _damaged(self, why: object) -> RequestError:
        return RequestError(f"{self._path} cannot be read ({why}). Predict the case again with --save-probabilities.")


def _open_blosc2(path: Path) -> Any:
    import blosc2

    return blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})


def _unpacked_nifti(path: Path) -> npt.NDArray[np.uint8]:
    """The voxels `(K, Z, Y, X)`, unpacked into a file that goes with them: a slab lies in as many places as classes."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.Nifti1Image.from_filename(path)
    except ImageFileError as error:
        raise ValueError(error) from None
    if image.ndim != 4 or image.get_data_dtype() != np.uint8:
        raise ValueError(f"it holds {image.get_data_dtype()} on {image.ndim} axes, not uint8 on 4")
    with tempfile.TemporaryFile() as unpacked:
        with gzip.open(path) as packed:
            packed.seek(image.dataobj.offset)
            shutil.copyfileobj(packed, unpacked, _CHUNK_BYTES)
        return np.memmap(unpacked, np.uint8, mode="r", shape=image.shape[::-1])


def stored_cases(folder: Path) -> dict[str, Path]:
    """The records of all cases of a folder whose probabilities were written, by case."""
    return {path.name.removesuffix(f"{SUFFIX}.json"): path for path in sorted(folder.glob(f"*{SUFFIX}.json"))}


def _nifti_header(record: ProbabilityRecord) -> bytes:
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((*record.shape[::-1], record.labels.num_outputs))
    header.set_zooms((*record.geometry.spacing_mm[::-1], 1.0))
    header.set_sform(record.geometry.matrix, code=1)
    with contextlib.suppress(np.linalg.LinAlgError):
        header.set_qform(record.geometry.matrix, code=1, strip_shears=True)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1 / _NiftiSink.scale, 0)
    offset = header.single_vox_offset
    header.set_data_offset(offset)
    return bytes(header.binaryblock).ljust(offset, b"\0")
