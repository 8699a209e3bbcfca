"""A mended copy of a dataset. The original is read and never written to."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autounet.data.companions import companions_of
from autounet.data.dataset import RawCase, RawDataset
from autounet.data.description import read_dataset_json
from autounet.data.doctor.case import rounded_label, stored_label
from autounet.data.doctor.checkup import Diagnosis
from autounet.data.doctor.findings import SUSPECTED, WHOLE_DATASET, Finding, Repair, write_csv
from autounet.data.doctor.grids import resampled_label
from autounet.data.doctor.writing import write_image
from autounet.data.io import FileError, label_ending, read_image, write_label
from autounet.errors import RequestError, Severity
from autounet.progress import SILENT, Reporter
from autounet.records import whole_folder, write_text_atomically

LEFT_OUT = "case left out"
_COLUMNS = ("case", "file", "what was done", "because")
_IMAGE_REPAIRS = {Repair.FILL, Repair.PLACE_CHANNEL, Repair.REORDER_CHANNELS}


@dataclass(frozen=True)
class Repaired:
    """One thing that was done in the copy: `what`, and the problem that it answers."""

    case: str
    file: str
    what: str
    because: str


def is_repairable(diagnosis: Diagnosis, *, suspected: bool) -> bool:
    """Whether a copy would differ from the original."""
    wanted = _wanted(diagnosis.findings, suspected)
    return any(finding.repair or finding.severity is Severity.HOPELESS for finding in wanted)


def repair_into(
    target: Path, diagnosis: Diagnosis, *, suspected: bool, reporter: Reporter = SILENT
) -> tuple[Repaired, ...]:
    """Write a copy of the training cases with everything repaired that can be; all of it or nothing.

    Cases with a hopeless problem are left out. `repairs.csv` in the copy lists what was done.

    Args:
        target: Folder of the copy; must not exist.
        diagnosis: What is wrong with the original.
        suspected: Also swap left and right labels, and reorder channels, where they only look wrong.
        reporter: Shows the progress.

    Raises:
        RequestError: The folder exists, or no case is left.
    """
    if target.exists():
        raise RequestError(f"{target} exists. Choose another folder with --output, or remove it.")
    _require_sound_whole(diagnosis)
    by_case: dict[str, list[Finding]] = defaultdict(list)
    for finding in _wanted(diagnosis.findings, suspected):
        by_case[finding.problem.case].append(finding)
    done = [entry for findings in by_case.values() for entry in _left_out(findings)]
    excluded = {entry.case for entry in done}
    kept = [case for case in diagnosis.dataset.cases if case.name not in excluded]
    if not kept:
        raise RequestError(
            f"no case of {diagnosis.dataset.description.name} can be repaired. "
            "Mend the originals as the table says, and check again."
        )
    with whole_folder(target) as partial:
        ending = diagnosis.dataset.description.file_ending
        copied: list[str] = []
        for case in reporter.track(kept, "copy and repair", len(kept)):
            outcome = _copy_case(case, by_case[case.name], partial, ending)
            copied += [] if any(entry.what == LEFT_OUT for entry in outcome) else [case.name]
            done += outcome
        done += [
            Repaired(WHOLE_DATASET, "dataset.json", entry.repair, entry.problem.what)
            for entry in by_case[WHOLE_DATASET]
            if entry.repair
        ]
        if not copied:
            raise RequestError(f"{done[-1].file}: {done[-1].because}; no case is left for a copy")
        _write_description(diagnosis.dataset, partial, copied)
        write_csv(partial / "repairs.csv", _COLUMNS, [(one.case, one.file, one.what, one.because) for one in done])
    return tuple(done)


def _require_sound_whole(diagnosis: Diagnosis) -> None:
    """Refuse to copy a dataset that is hopeless as a whole.

    Raises:
        RequestError: It is.
    """
    for entry in diagnosis.findings:
        if entry.problem.case == WHOLE_DATASET and entry.severity is Severity.HOPELESS:
            raise RequestError(f"{entry.problem.file}: {entry.problem.what}. First {entry.problem.remedy}.")


def _wanted(findings: Iterable[Finding], suspected: bool) -> list[Finding]:
    return [entry for entry in findings if suspected or entry.repair not in SUSPECTED]


def _left_out(findings: Sequence[Finding]) -> list[Repaired]:
    """Why a case cannot be in the copy; empty where it can. What is wrong with the whole dataset leaves none out."""
    reasons = [entry for entry in findings if entry.severity is Severity.HOPELESS]
    copies = [entry for entry in findings if entry.repair is Repair.DROP_DUPLICATE]
    return [
        Repaired(entry.problem.case, entry.problem.file, entry.repair or LEFT_OUT, entry.problem.what)
        for entry in (*reasons, *copies)
        if entry.problem.case != WHOLE_DATASET
    ]


def _copy_case(case: RawCase, findings: Sequence[Finding], target: Path, ending: str) -> list[Repaired]:
    """Copy or mend a case's files; a case whose format cannot be written is left out."""
    repairs = [entry for entry in findings if entry.repair is not None]
    kinds = {entry.repair for entry in repairs}
    assert case.label is not None
    images = [target / "imagesTr" / f"{case.name}_{index:04d}{ending}" for index in range(len(case.images))]
    label = target / "labelsTr" / f"{case.name}{label_ending(ending)}"
    for folder in (images[0].parent, label.parent):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        if kinds & _IMAGE_REPAIRS:
            _mend_images(case, repairs, images)
        else:
            for source, path in zip(case.images, images, strict=True):
                _copy_with_companions(source, path)
        if kinds - _IMAGE_REPAIRS:
            _mend_label(case, case.label, repairs, label)
        else:
            _copy_with_companions(case.label, label)
    except FileError as error:
        for path in (*images, label):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return [Repaired(case.name, error.path.name, LEFT_OUT, error.what)]
    return [Repaired(case.name, entry.problem.file, str(entry.repair), entry.problem.what) for entry in repairs]


def _mend_images(case: RawCase, repairs: Sequence[Finding], targets: Sequence[Path]) -> None:
    parts = [read_image([path]) for path in case.images]
    place = parts[0].geometry  # of the first channel, which is what the label is compared with
    sizes = np.cumsum([len(part.array) for part in parts])[:-1]
    array = np.concatenate([part.array for part in parts])
    kinds = {entry.repair for entry in repairs}
    if Repair.FILL in kinds:
        array = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
    for entry in repairs:
        if entry.repair is Repair.REORDER_CHANNELS:
            array = array[list(entry.numbers)]
    for path, channels in zip(targets, np.split(array, sizes), strict=True):
        write_image(path, channels, place)


def _mend_label(case: RawCase, source: Path, repairs: Sequence[Finding], target: Path) -> None:
    stored, place = stored_label(source)
    label = rounded_label(stored) if stored.dtype.kind == "f" else stored
    for entry in repairs:
        if entry.repair is Repair.PLACE_LABEL:
            place = read_image(case.images[:1]).geometry
        elif entry.repair is Repair.RESAMPLE_LABEL:
            image = read_image(case.images[:1])
            label, place = resampled_label(label, place, image.geometry, image.shape), image.geometry
        elif entry.repair is Repair.SWAP_SIDES:
            left, right = entry.numbers
            label = np.where(label == left, right, np.where(label == right, left, label))
    write_label(target, label, place)


def _copy_with_companions(source: Path, target: Path) -> None:
    """Copy a file and what belongs to it: voxels beside a header (.raw), spacing beside a TIFF (.json)."""
    if source.is_dir():  # of DICOM slices, or OME-Zarr
        shutil.copytree(source, target)
        return
    shutil.copyfile(source, target)
    for companion in companions_of(source):
        # A header names its companion, so that keeps its name.
        shutil.copyfile(companion, target.with_name(companion.name))


def _write_description(dataset: RawDataset, target: Path, cases: Sequence[str]) -> None:
    content = read_dataset_json(dataset.folder / "dataset.json") | {"numTraining": len(cases)}
    if dataset.description.annotated:  # perhaps a table beside the original; the copy holds what it says
        annotated = dataset.description.annotated
        content["annotated"] = {name: list(annotated[name]) for name in cases if name in annotated}
    content.pop("dataset", None)  # a list of files elsewhere; the copy holds its own
    write_text_atomically(target / "dataset.json", json.dumps(content, indent=2) + "\n")
