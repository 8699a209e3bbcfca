"""The folds of a dataset at planning: made or kept, without leaks, with a record of how, and told to the user."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from autounet.data.dataset import RawDataset
from autounet.data.fold_summary import CaseTraits, PlannedSplits, SplitsSource, described, duplicates_of
from autounet.data.grouping import DICOM_PATIENT, groups_of, num_dicom_patients
from autounet.data.splits import (
    SOURCE_FILE,
    SPLITS_FILE,
    Split,
    load_splits,
    make_even_splits,
    make_splits,
    read_splits,
    write_splits,
)
from autounet.errors import RequestError
from autounet.progress import SILENT, Reporter
from autounet.records import Record, free_previous_name

NO_GROUPS = "none"


class SplitRequest(Record):
    """How the user wants the folds.

    Attributes:
        group_by: What keeps cases in one fold (`grouping.groups_of`); `none` for nothing, `None` for as before.
        site_by: What tells the site of a case, likewise; sites are spread evenly.
    """

    group_by: str | None = None
    site_by: str | None = None


def plan_splits(
    folder: Path,
    raw: RawDataset,
    traits: Sequence[CaseTraits],
    request: SplitRequest | None = None,
    reporter: Reporter = SILENT,
) -> PlannedSplits:
    """Make the folds of a dataset and write them, or keep those that are there.

    Folds of the user's own (`splits_final.json` in the raw dataset's folder, or in `folder` and not made here) are
    used as they are. Folds made here are kept as long as the cases and what was asked for stay the same; where they
    do not, the former folds are kept beside the new ones, and the user is told.

    Args:
        folder: The dataset's preprocessed folder.
        raw: The dataset.
        traits: Of every case.
        request: How the user wants the folds; as before, or else as nnU-Net has them, by default.
        reporter: Told when folds are replaced.

    Raises:
        RequestError: Cases cannot be grouped as asked, the user's folds do not fit the dataset, or folds of the user's
            own and a request exclude each other.
    """
    request = request or SplitRequest()
    path = folder / SPLITS_FILE
    source = _source(folder)
    there = read_splits(path) if path.exists() else None
    made_here = there is not None and _made_here(there, source)
    names = sorted(case.name for case in raw.cases)
    own = raw.folder / SPLITS_FILE
    if own.exists() or (there is not None and not made_here):
        _require_no_wish(request, own if own.exists() else path)
        splits = load_splits(own if own.exists() else path, names)
        if own.exists():
            _take_over(own, splits, path, there, made_here)
        how = f"as {own if own.exists() else path} has them"
        return described(splits, how, SplitsSource(), traits, hint=False)
    wanted = _wanted(request, source)
    if there is not None and _same_request(wanted, source) and _cases_of(there) == set(names):
        return described(there, f"{_how(wanted)}, as made before", wanted, traits)
    splits, made = _made(raw, wanted, traits)
    if there is not None and there != splits:
        why = "the cases changed" if _same_request(wanted, source) else "other folds were asked for"
        kept = free_previous_name(path)
        path.replace(kept)
        reporter.say(
            f"{why}: the folds were made anew, the former are kept as {kept}. Models trained on the former folds have "
            "seen cases that others now validate on: do not mix them."
        )
    if made.is_plain:
        (folder / SOURCE_FILE).unlink(missing_ok=True)
    else:
        made.model_copy(update={"digest": _digest(splits)}).write(folder / SOURCE_FILE)
    write_splits(path, splits)
    planned = described(splits, _how(made), made, traits)
    return replace(planned, remarks=(*planned.remarks, *_patients(raw, made)))


def _patients(raw: RawDataset, source: SplitsSource) -> list[str]:
    """A remark where DICOM headers tell that patients have several cases, and cases were not grouped."""
    number = None if source.group_by else num_dicom_patients(raw.cases)
    if number is None or not 1 < number < len(raw.cases):
        return []
    return [
        f"The DICOM headers tell of {number} patients in {len(raw.cases)} cases. Keep each in one fold, or scores will "
        f"be too good: --group-by {DICOM_PATIENT}"
    ]


def _source(folder: Path) -> SplitsSource | None:
    try:
        return SplitsSource.read(folder / SOURCE_FILE)
    except RequestError:  # none, or torn
        return None


def _made_here(splits: Sequence[Split], source: SplitsSource | None) -> bool:
    """Whether folds are as they were made; without a record, only nnU-Net's are."""
    if source is not None:
        return source.digest == _digest(splits)
    names = _cases_of(splits)
    return len(names) > 1 and tuple(splits) == make_splits(names)


def _digest(splits: Iterable[Split]) -> str:
    content = json.dumps([split.model_dump(mode="json") for split in splits])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _cases_of(splits: Iterable[Split]) -> set[str]:
    return {name for split in splits for name in (*split.train, *split.validation)}


def _require_no_wish(request: SplitRequest, path: Path) -> None:
    if request != SplitRequest():
        option = "--group-by" if request.group_by is not None else "--site-by"
        raise RequestError(
            f"{option} asks for new folds, but {path} holds folds of your own. Leave out {option}, or move that file "
            "away."
        )


def _take_over(
    own: Path, splits: tuple[Split, ...], path: Path, there: tuple[Split, ...] | None, made_here: bool
) -> None:
    """Use the folds that lie with the raw data."""
    if there == splits:
        return
    if there is not None and not made_here:
        raise RequestError(f"{own} and {path} hold different folds, both your own. Delete the one that is not meant.")
    (path.parent / SOURCE_FILE).unlink(missing_ok=True)
    write_splits(path, splits)


def _wanted(request: SplitRequest, source: SplitsSource | None) -> SplitsSource:
    """What folds are to be made by: what is asked for now, else what was asked for before."""
    before = source or SplitsSource()

    def chosen(now: str | None, then: str | None) -> str | None:
        return then if now is None else None if now == NO_GROUPS else now

    wanted = {
        "group_by": chosen(request.group_by, before.group_by),
        "site_by": chosen(request.site_by, before.site_by),
    }
    return before.model_copy(update=wanted)


def _same_request(wanted: SplitsSource, source: SplitsSource | None) -> bool:
    before = source or SplitsSource()
    return (wanted.group_by, wanted.site_by) == (before.group_by, before.site_by)


def _made(
    raw: RawDataset, wanted: SplitsSource, traits: Sequence[CaseTraits]
) -> tuple[tuple[Split, ...], SplitsSource]:
    """New folds, and the record of how they came to be."""
    duplicates = duplicates_of(traits)
    groups = groups_of(raw.cases, wanted.group_by) if wanted.group_by else {}
    sites = groups_of(raw.cases, wanted.site_by, "--site-by") if wanted.site_by else {}
    update = {"groups": groups, "sites": sites, "duplicates": duplicates}
    names = [case.name for case in raw.cases]
    made = wanted.model_copy(update=update)
    if not groups and not sites:
        if any(len(bound) == len(names) for bound in duplicates):  # there would be one fold only
            return make_splits(names), made
        return make_splits(names, together=duplicates), made
    spread = {case.name: [f"class {name}" for name in case.classes] for case in traits}
    for name, site in sites.items():
        spread.setdefault(name, []).append(f"site {site}")
    joined = _joined(groups or {name: name for name in names}, duplicates)
    return make_even_splits(joined, spread), made


def _joined(groups: dict[str, str], duplicates: Iterable[Sequence[str]]) -> dict[str, str]:
    """Groups, of which those that share an image are one."""
    joined = dict(groups)
    for bound in duplicates:
        touched = {joined[name] for name in bound}
        joined = {name: min(touched) if group in touched else group for name, group in joined.items()}
    return joined


def _how(source: SplitsSource) -> str:
    parts = []
    if source.group_by == ".+":
        parts.append("classes spread evenly")
    elif source.group_by:
        parts.append(f"cases grouped by {source.group_by}, classes spread evenly")
    if source.site_by:
        parts.append(f"sites by {source.site_by} spread evenly")
    parts = parts or ["nnU-Net's"]
    if source.duplicates:
        number = len(source.duplicates)
        parts.append(f"{number} set{'s' * (number != 1)} of cases with the same image kept together")
    return ", ".join(parts)
