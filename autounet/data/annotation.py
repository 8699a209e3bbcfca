"""Which classes were annotated in which case: the key `annotated` of `dataset.json`, or the table that it names."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.records import nearest

CASE_COLUMN, NAMES_COLUMN = "case", "annotated"
_BETWEEN_NAMES = ";"


def read_annotated(content: Any, labels: LabelSchema, source: Path) -> dict[str, tuple[str, ...]]:
    """The classes annotated in each case, in the order of the schema; cases that are not listed have all.

    Args:
        content: What stands under `annotated`: lists of class names by case, or the name of a CSV beside `source`.
        labels: The classes.
        source: The `dataset.json`.

    Raises:
        RequestError: It is neither, or names classes that do not exist, or leaves a case without any.
    """
    if content is None:
        return {}
    if isinstance(content, str):
        table = source.parent / content
        return {name: _sound(name, names, labels, table) for name, names in _rows_of(table, labels).items()}
    if not isinstance(content, dict):
        raise RequestError(
            f'{source}: \'annotated\' must look like {{"case_a": ["{labels.class_names[0]}"]}}, or be the name of a '
            f"CSV file beside dataset.json, got {content!r:.80}"
        )
    for name, names in content.items():
        if not isinstance(names, list) or not all(isinstance(entry, str) for entry in names):
            raise RequestError(f"{source}: 'annotated' of case '{name}' must be a list of classes, got {names!r:.80}")
    return {name: _sound(name, names, labels, source) for name, names in content.items()}


def _sound(case: str, names: Sequence[str], labels: LabelSchema, source: Path) -> tuple[str, ...]:
    """The names in the order of the schema."""
    for name in names:
        if name not in labels.class_names:
            known = ", ".join(labels.class_names)
            raise RequestError(
                f"{source}: case '{case}' lists '{name}' as annotated, which is no class."
                f"{nearest(name, list(labels.class_names))} Classes: {known}."
            )
    if not names:
        raise RequestError(
            f"{source}: case '{case}' has no annotated class, so nothing can be learned from it. "
            "Name its classes, or remove the case."
        )
    return tuple(name for name in labels.class_names if name in names)


def _rows_of(table: Path, labels: LabelSchema) -> Mapping[str, Sequence[str]]:
    """Class names by case, of a table that lists them in one column, or has a column of 0 and 1 for each class."""
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
        # With ';' between the names, that cannot be what separates the columns.
        head = lines[0] if lines else ""
        separators = ",\t" if NAMES_COLUMN in head.lower() else ",;\t"
        rows = list(csv.DictReader(lines, delimiter=max(separators, key=head.count), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{table}, named by 'annotated' in dataset.json, cannot be read: {error}") from None
    columns = {str(name).strip(): str(name) for name in (rows[0] if rows else {}) if name is not None}
    classes = [name for name in columns if name not in (CASE_COLUMN, NAMES_COLUMN)]
    if CASE_COLUMN not in columns or not (NAMES_COLUMN in columns or classes):
        raise RequestError(
            f"{table} must have a row for each case and the columns case and annotated (class names with ';' between "
            f"them), or case and one column a class with 0 or 1; it has {', '.join(columns) or 'no row'}"
        )
    listed: dict[str, Sequence[str]] = {}
    for row in rows:
        case = (row[columns[CASE_COLUMN]] or "").strip()
        if case in listed:
            raise RequestError(f"{table}: case '{case}' has two rows. Keep one.")
        if NAMES_COLUMN in columns:
            names = (row[columns[NAMES_COLUMN]] or "").split(_BETWEEN_NAMES)
            listed[case] = [name.strip() for name in names if name.strip()]
        else:
            _require_all_classes(classes, labels, table)
            listed[case] = [name for name in classes if _is_one(row[columns[name]], case, name, table)]
    return listed


def _require_all_classes(columns: Sequence[str], labels: LabelSchema, table: Path) -> None:
    """A misspelt column must not pass for a class that nobody annotated."""
    unknown = [name for name in columns if name not in labels.class_names]
    missing = [name for name in labels.class_names if name not in columns]
    if unknown:
        hint = nearest(unknown[0], list(labels.class_names))
        raise RequestError(f"{table}: the column '{unknown[0]}' is no class of dataset.json.{hint}")
    if missing:
        raise RequestError(f"{table} has no column for the class '{missing[0]}'. Add it, with 0 or 1 for each case.")


def _is_one(cell: str | None, case: str, name: str, table: Path) -> bool:
    text = (cell or "").strip()
    if text not in ("0", "1"):
        raise RequestError(f"{table}: case '{case}', class '{name}' must be 0 or 1, got '{text}'")
    return text == "1"
