"""Which cases belong together: by a pattern on their names, a column of a table, or DICOM's patient."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autounet.data.dataset import RawCase
from autounet.data.io import DICOM_ENDING, known_ending
from autounet.errors import RequestError
from autounet.records import nearest

DICOM_PATIENT = "PatientID"
_TABLE_ENDINGS = {".csv": ",", ".tsv": "\t"}
_CASE_COLUMNS = ("case", "case_id", "caseid", "name", "id", "identifier")
_SHOWN = 3


@dataclass(frozen=True)
class GroupingHint:
    """Case names look as if several cases came from one patient.

    Attributes:
        pattern: Regular expression for `--group-by` whose first group is what the names share.
        example: One such group.
        num_groups: How many there are.
        num_cases: Cases in all.
    """

    pattern: str
    example: str
    num_groups: int
    num_cases: int


def groups_of(cases: Sequence[RawCase], by: str, option: str = "--group-by") -> dict[str, str]:
    """Every case's group.

    Args:
        cases: The cases.
        by: A regular expression that is searched for in the case's name, whose first group (or else the whole match)
            is the group; or `FILE.csv:COLUMN`, a table with a column `case` (or else the first); or `PatientID`, read
            from DICOM headers.
        option: What the user typed it for, for messages.

    Raises:
        RequestError: The pattern or the table is wrong, or cases have no group by it.
    """
    if by == DICOM_PATIENT:
        return _complete(cases, _patient, f"{option} {by}", "their files tell no PatientID (DICOM tag 0010,0020)")
    table, column = _table_and_column(by, option)
    if table is not None:
        values = _column(table, column, option)
        return _complete(cases, lambda case: values.get(case.name), f"{option} {by}", f"{table} has no value for them")
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise RequestError(
            f"{option} '{by}' is no regular expression ({error}). Write for example '(patient\\d+)', "
            "FILE.csv:COLUMN or PatientID."
        ) from None
    return _complete(cases, lambda case: _matched(pattern, case.name), f"{option} '{by}'", "it does not match them")


def hint_of_groups(case_names: Iterable[str]) -> GroupingHint | None:
    """Whether several cases seem to come from one patient, as in `patient001_frame01` or `sub-01_ses-02`.

    They do where a beginning of the names, up to a separator and with a number in its last part, is shared by some
    cases and not by all. The shortest such beginning counts.
    """
    names = sorted(case_names)
    parts = [re.split(r"([_\-. ]+)", name) for name in names]  # word, separator, word, ...
    for end in range(1, min((len(words) for words in parts), default=0), 2):
        if not all(any(map(str.isdigit, words[end - 1])) for words in parts):
            continue
        starts = ["".join(words[:end]) for words in parts]
        found = sorted(set(starts))
        if 1 < len(found) < len(names):
            shared = max(found, key=starts.count)
            return GroupingHint(_pattern(found, end, names), shared, len(found), len(names))
    return None


def num_dicom_patients(cases: Sequence[RawCase]) -> int | None:
    """How many patients the DICOM headers tell of; `None` where a case is no DICOM, or tells none."""
    if not all(case.images[0].is_dir() or known_ending(case.images[0].name) == DICOM_ENDING for case in cases):
        return None
    patients = {_patient(case) for case in cases}
    return None if None in patients else len(patients)


def _pattern(starts: Sequence[str], end: int, names: Sequence[str]) -> str:
    """A regular expression that finds the beginnings: readable where they differ in numbers only."""
    shapes = {re.sub(r"\d+", r"\\d+", re.escape(start).replace(r"\-", "-")) for start in starts}
    general = r"^([^_\-. ]+" + r"[_\-. ]+[^_\-. ]+" * (end // 2) + ")"
    pattern = f"^({min(shapes)})" if len(shapes) == 1 else general
    matched = {_matched(re.compile(pattern), name) for name in names}
    return pattern if matched == set(starts) else general


def _matched(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.search(name)
    if match is None:
        return None
    return match[1] if pattern.groups else match[0]


def _complete(
    cases: Sequence[RawCase], group: Callable[[RawCase], str | None], asked: str, reason: str
) -> dict[str, str]:
    """The group of each case, all of which must have one."""
    found = {case.name: group(case) for case in cases}
    without = sorted(name for name, value in found.items() if not value)
    if without:
        shown = ", ".join(without[:_SHOWN]) + (", ..." if len(without) > _SHOWN else "")
        raise RequestError(
            f"{asked} gives {len(without)} of {len(cases)} cases no group: {reason} ({shown}). "
            "Every case needs one; a case alone is a group of its own."
        )
    return {name: value for name, value in found.items() if value}


def _table_and_column(by: str, option: str) -> tuple[Path | None, str]:
    head, colon, column = by.rpartition(":")
    if colon and Path(head).suffix.lower() in _TABLE_ENDINGS:
        return Path(head), column
    if Path(by).suffix.lower() in _TABLE_ENDINGS and Path(by).is_file():
        raise RequestError(f"{option} {by}: name the column too, as {by}:patient")
    return None, ""


def _column(path: Path, column: str, option: str) -> dict[str, str]:
    """A column of a table, by case."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=_TABLE_ENDINGS[path.suffix.lower()]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{option}: {path} cannot be read: {error}") from None
    names = [str(name) for name in rows[0]] if rows else []
    if column not in names:
        raise RequestError(
            f"{option}: {path} has no column '{column}'.{nearest(column, names)} "
            f"It has: {', '.join(names) or 'no row'}."
        )
    key = next((name for name in names if name.lower() in _CASE_COLUMNS), names[0])
    values: dict[str, str] = {}
    for row in rows:
        case, value = (row[key] or "").strip(), (row[column] or "").strip()
        if values.setdefault(case, value) != value:
            raise RequestError(f"{option}: {path} names case '{case}' twice, with {values[case]} and {value}")
    return values


def _patient(case: RawCase) -> str | None:
    """PatientID of a case; only a header is read."""
    from autounet.data.io.dicom import patient_id  # brings a library that takes a while

    try:
        return patient_id(case.images[0])
    except RequestError:
        return None
