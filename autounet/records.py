"""The base of every record between stages: frozen, typed, JSON on disk."""

from __future__ import annotations

import difflib
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from autounet.errors import RequestError

SCHEMA_VERSION: Literal[1] = 1


class Record(BaseModel):
    """A frozen record. Unknown keys are refused, with the nearest known one named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, content: Any) -> Any:
        known = list(cls.model_fields)
        if isinstance(content, dict):
            unknown = [f"'{key}' is not a known key.{nearest(str(key), known)}" for key in content if key not in known]
            if unknown:
                raise PydanticCustomError("unknown_key", "{clauses}", {"clauses": " ".join(unknown)})
        return content

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record from a JSON file.

        Raises:
            RequestError: The file is missing, is not JSON, or does not hold this record.
        """
        return cls.parse(read_json(path), source=str(path))

    @classmethod
    def parse(cls, content: object, source: str) -> Self:
        """Validate parsed JSON; `source` names where it came from in error messages.

        Raises:
            RequestError: The content does not describe this record.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            details = "; ".join(_explain(dict(item)) for item in error.errors())
            raise RequestError(f"{source} is no valid {cls.__name__}: {details}") from None

    def write(self, path: Path) -> None:
        """Write the record as indented JSON, atomically."""
        write_text_atomically(path, json.dumps(self.model_dump(mode="json"), indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RequestError: The file is missing, unreadable, or not JSON.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark before it
    except FileNotFoundError:
        raise RequestError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None
    return parse_json(text, str(path))


def parse_json(text: str, source: str) -> Any:
    """Understand JSON; `source` names where it came from in the error message.

    Raises:
        RequestError: It is none.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RequestError(f"{source} is not valid JSON: {error}. Mend it in a text editor.") from None


def nearest(name: str, known: list[str]) -> str:
    """A hint that names the known word nearest to `name`, or an empty string."""
    matches = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def _explain(item: dict[str, Any]) -> str:
    """One validation error as a clause that starts with the place of the fault, unless that is the whole record."""
    where = ".".join(str(part) for part in item["loc"])
    start = f"'{where}': " if where else ""
    if item["type"] == "missing":
        return f"'{where}' is missing"
    if item["type"] == "unknown_key":
        return f"{start}{item['msg']}"
    if item["type"] == "value_error":  # a record's own check, which names the value itself
        return f"{start}{item['ctx']['error']}"
    return f"{start}{item['msg']} (got {item['input']!r:.80})"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its ending, that takes its place when the block ends well.

    A crash inside the block leaves whatever `path` held before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{uuid.uuid4().hex}{''.join(path.suffixes)}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well.

    Raises:
        RequestError: `path` is there already, and is no empty folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise RequestError(f"{path} is there already. Name another place, or remove it.")
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    partial = path.absolute().with_name(f".partial-{uuid.uuid4().hex}")
    try:
        partial.mkdir()
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text beside `path`, then move it into place."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def free_previous_name(path: Path) -> Path:
    """Where to keep a replaced file: `NAME.previous.json`, or the first free `NAME.previous-2.json`, ..."""
    kept, number = path.with_name(f"{path.stem}.previous.json"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.stem}.previous-{number}.json")
    return kept
