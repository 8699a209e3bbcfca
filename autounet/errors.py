"""What can go wrong, told so that the reader can mend it.

Exit codes: 2 where the request or the data is wrong (`RequestError`), 1 where the work itself failed (`RunError`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class AutounetError(ValueError):
    """Base of every error meant for a user; the command line prints it without a traceback."""

    exit_code = 1


class RequestError(AutounetError):
    """The request cannot be carried out as it stands: an option, a name, a file or the data is wrong."""

    exit_code = 2


class RunError(AutounetError):
    """The request was sound, but the work failed on the way."""


class UnlikeInputWarning(UserWarning):
    """An image is unlike those that a model was trained on, so that its label map may be wrong."""


class Severity(StrEnum):
    """What a problem means for the work to come."""

    HARMLESS = "harmless"  # training runs, and what it learns is not wrong; look at it
    REPAIRABLE = "repairable"  # `autounet check --fix` can mend it in a copy
    HOPELESS = "hopeless"  # only the user can mend it, or leave the case out


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a dataset.

    Attributes:
        case: The case it concerns, or `-` for the dataset as a whole.
        file: The file it was found in.
        what: What is wrong, with the offending value.
        remedy: What the user can do about it.
        severity: What it means for the work to come.
    """

    case: str
    file: str
    what: str
    remedy: str
    severity: Severity = Severity.HOPELESS


class DataError(RequestError):
    """A dataset has problems; all of them at once, so that they can be mended in one go."""

    def __init__(self, dataset: str, problems: Sequence[Problem]) -> None:
        self.dataset = dataset
        self.problems = tuple(problems)
        lines = [f"{p.case}: {p.file}: {p.what} -> {p.remedy}" for p in self.problems]
        count = f"{len(lines)} problem{'s' if len(lines) != 1 else ''}"
        super().__init__(f"{dataset} has {count}:\n" + "\n".join(lines))

    def __reduce__(self) -> tuple[type[DataError], tuple[str, tuple[Problem, ...]]]:
        """Travel between processes with both arguments."""
        return type(self), (self.dataset, self.problems)


class WorkError(DataError):
    """Some of many cases failed while they were worked on, though nothing was wrong with the request."""

    exit_code = RunError.exit_code


def some_of(items: Sequence[object], most: int, joint: str = ", ") -> str:
    """The first of many things and how many more there are, as `a, b and 12 more`; all of them where they are few."""
    shown = joint.join(map(str, items[:most]))
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
