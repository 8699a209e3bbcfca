"""Average the probabilities that several runs have stored, and decide anew; a slab at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from autounet.data.io import label_ending, write_label
from autounet.errors import DataError, Problem, RequestError
from autounet.geometry import Array
from autounet.inference.export import SLAB_BYTES, ProbabilitySink, label_of_scores
from autounet.inference.probabilities import (
    SCALES,
    ProbabilityRecord,
    StoredProbabilities,
    probability_path,
    probability_sink,
    stored_cases,
)


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
    members = [StoredProbabilities(path) for path in paths]
    first = members[0].record
    for path, member in zip(paths[1:], members[1:], strict=True):
        for what in ("labels", "shape", "geometry", "file_ending"):
            if getattr(member.record, what) != getattr(first, what):
                raise RequestError(f"{path} has another {what} than {paths[0]}; they cannot be averaged")
    fine = first.model_copy(update={"scale": SCALES["b2nd"]})
    with probability_sink(output, fine) if save_probabilities else nullcontext(None) as sink:
        label = _average(members, sink)
    write_label(output / f"{first.case}{label_ending(first.file_ending)}", label, first.geometry)
    return first


def is_averaged(record: Path, output: Path, *, save_probabilities: bool) -> bool:
    """Whether the results of a case, told by one of its records, lie in the folder."""
    known = ProbabilityRecord.read(record)
    mask = output / f"{known.case}{label_ending(known.file_ending)}"
    return mask.exists() and (not save_probabilities or probability_path(output, known.case, "b2nd").exists())


def _average(members: Sequence[StoredProbabilities], sink: ProbabilitySink | None) -> Array:
    """The label map of the mean, `(Z, Y, X)`."""
    record = members[0].record
    depth, height, width = record.shape
    label = np.zeros(record.shape, dtype=record.labels.dtype)
    num_slices = max(1, SLAB_BYTES // (4 * record.labels.num_outputs * height * width))
    for start in range(0, depth, num_slices):
        stop = min(depth, start + num_slices)
        mean = members[0].slab(start, stop)
        for member in members[1:]:
            mean += member.slab(start, stop)
        mean /= len(members)
        # Regions are there above one half.
        label[start:stop] = label_of_scores(mean - np.float32(0.5), record.labels)
        if sink is not None:
            sink.write(start, np.rint(mean * sink.scale).astype(sink.dtype))
    return label
