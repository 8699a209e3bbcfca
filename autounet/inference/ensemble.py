"""Average the probabilities that several runs have stored, and decide anew; a slab at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from autounet.data.io import label_ending, write_label
from autounet.errors import DataError, Problem, RequestError
from autounet.geometry import Array
from autounet.inference.export import SLAB_BYTES, ProbabilitySink, label_of_probabilities
from autounet.inference.probabilities import (
    SCALES,
    ProbabilityRecord,
    StoredProbabilities,
    probability_path,
    probability_sink,
    stored_cases,
)
from autounet.inference.raw_frame import Floats


def common_cases(folders: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """The stored probabilities of every case, one of each folder.

    Raises:
        RequestError: There is none at all.
        DataError: Some folder lacks a case that another has.
    """
    found = [stored_cases(folder) for folder in folders]
    names = sorted(set().union(*found))
    if not names:
        raise RequestError(
            f"no probabilities lie in {', '.join(map(str, folders))}. Predict with --save-probabilities."
        )
    problems = [
        Problem(name, str(folder), "its probabilities are missing", "predict the case there with --save-probabilities")
        for folder, cases in zip(folders, found, strict=True)
        for name in names
        if name not in cases
    ]
    if problems:
        raise DataError("the ensemble", problems)
    return {name: tuple(cases[name] for cases in found) for name in names}


def average_case(paths: Sequence[Path], output: Path, *, save_probabilities: bool = False) -> ProbabilityRecord:
    """Write the mask of the mean of several stored probabilities.

    Args:
        paths: Records of one case.
        output: Folder for the mask.
        save_probabilities: Write the mean too.

    Returns:
        What the case's first record says.

    Raises:
        RequestError: They do not belong together, or one is damaged.
    """
    members = open_members(paths)
    first = members[0].record
    fine = first.model_copy(update={"scale": SCALES["b2nd"]})
    with probability_sink(output, fine) if save_probabilities else nullcontext(None) as sink:
        label = average_label(members, sink)
    write_label(output / f"{first.case}{label_ending(first.file_ending)}", label, first.geometry)
    return first


def is_averaged(record: Path, output: Path, *, save_probabilities: bool) -> bool:
    """Whether the results of a case, told by one of its records, lie in the folder."""
    known = ProbabilityRecord.read(record)
    mask = output / f"{known.case}{label_ending(known.file_ending)}"
    return mask.exists() and (not save_probabilities or probability_path(output, known.case, "b2nd").exists())


def open_members(paths: Sequence[Path]) -> list[StoredProbabilities]:
    """What several runs have stored of one case.

    Raises:
        RequestError: They do not belong together, or one is damaged.
    """
    members = [StoredProbabilities(path) for path in paths]
    for path, member in zip(paths[1:], members[1:], strict=True):
        for what in ("labels", "shape", "geometry", "file_ending"):
            if getattr(member.record, what) != getattr(members[0].record, what):
                raise RequestError(f"{path} has another {what} than {paths[0]}; they cannot be averaged")
    return members


def member_slabs(
    members: Sequence[StoredProbabilities], slab_bytes: int = SLAB_BYTES
) -> Iterator[tuple[int, list[Floats]]]:
    """The first slice of each slab, and its probabilities `(K, n, Y, X)` by each member, in so much memory a member."""
    record = members[0].record
    depth, height, width = record.shape
    num_slices = max(1, slab_bytes // (4 * record.labels.num_outputs * height * width))
    for start in range(0, depth, num_slices):
        stop = min(depth, start + num_slices)
        yield start, [member.slab(start, stop) for member in members]


def mean_of(slabs: Sequence[Floats]) -> Floats:
    """The mean of what several members say."""
    mean = slabs[0].copy()
    for slab in slabs[1:]:
        mean += slab
    mean /= len(slabs)
    return mean


def average_label(
    members: Sequence[StoredProbabilities], sink: ProbabilitySink | None = None, offsets: Floats | None = None
) -> Array:
    """The label map `(Z, Y, X)` of the mean; `offsets` `(K,)` are added as if to the logits."""
    record = members[0].record
    label = np.zeros(record.shape, dtype=record.labels.dtype)
    for start, slabs in member_slabs(members):
        mean = mean_of(slabs)
        label[start : start + mean.shape[1]] = label_of_probabilities(mean, record.labels, offsets)
        if sink is not None:
            sink.write(start, np.rint(mean * sink.scale).astype(sink.dtype))
    return label
