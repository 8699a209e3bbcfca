"""What is in the folds of a dataset, and what the user should know of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from autounet.data.grouping import hint_of_groups
from autounet.data.splits import Split
from autounet.records import SCHEMA_VERSION, Record

_SHOWN = 3


class SplitsSource(Record):
    """How folds were made that are not nnU-Net's, so that planning again gives the same.

    Attributes:
        group_by: What kept cases in one fold, as it was typed.
        site_by: What told the sites.
        groups: Every case's group, where there are groups.
        sites: Every case's site, where sites were told.
        duplicates: Cases that share an image, kept in one fold.
        digest: Of the folds that were written; folds of another digest are the user's own.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    group_by: str | None = None
    site_by: str | None = None
    groups: dict[str, str] = Field(default_factory=dict)
    sites: dict[str, str] = Field(default_factory=dict)
    duplicates: tuple[tuple[str, ...], ...] = ()
    digest: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether the folds are simply nnU-Net's, which needs no record."""
        return not (self.group_by or self.site_by or self.duplicates)


@dataclass(frozen=True)
class CaseTraits:
    """What folds are balanced by.

    Attributes:
        name: The case.
        classes: Of which it has voxels.
        content_hash: Of its image; empty where it is not known.
    """

    name: str
    classes: tuple[str, ...]
    content_hash: str = ""


@dataclass(frozen=True)
class FoldSummary:
    """One row of the table of folds; counts are of validation cases.

    Attributes:
        num_train: Training cases.
        num_validation: Validation cases.
        num_groups: Groups of the validation cases; `None` without groups.
        class_cases: Validation cases that hold each class.
        site_cases: Validation cases of each site.
    """

    num_train: int
    num_validation: int
    num_groups: int | None
    class_cases: dict[str, int]
    site_cases: dict[str, int]


@dataclass(frozen=True)
class PlannedSplits:
    """The folds of a dataset.

    Attributes:
        splits: One a fold.
        how: How they were made, as a sentence.
        folds: What is in them.
        remarks: What the user should know of them.
    """

    splits: tuple[Split, ...]
    how: str
    folds: tuple[FoldSummary, ...]
    remarks: tuple[str, ...]


def described(
    splits: tuple[Split, ...], how: str, source: SplitsSource, traits: Sequence[CaseTraits], *, hint: bool = True
) -> PlannedSplits:
    """The folds of `source` with what is in them, and what to know of them; `hint` at options for better ones."""
    classes_of = {case.name: case.classes for case in traits}
    class_names = dict.fromkeys(name for case in traits for name in case.classes)
    folds = tuple(_summary(split, source, classes_of, tuple(class_names)) for split in splits)
    remarks = [*_straddling(splits, traits), *_absent_classes(folds, source, hint)]
    found = hint_of_groups(classes_of) if hint and source.group_by is None else None
    if found is not None:
        remarks.append(
            f"The case names look grouped: {found.num_groups} groups in {found.num_cases} cases, such as "
            f"{found.example}. If these are patients, keep each in one fold, or scores will be too good: "
            f"--group-by '{found.pattern}'"
        )
    return PlannedSplits(splits, how, folds, tuple(remarks))


def _summary(
    split: Split, source: SplitsSource, classes_of: dict[str, tuple[str, ...]], class_names: Sequence[str]
) -> FoldSummary:
    held_out = split.validation
    sites = [source.sites.get(name, "-") for name in held_out] if source.sites else []
    return FoldSummary(
        num_train=len(split.train),
        num_validation=len(held_out),
        num_groups=len({source.groups.get(name, name) for name in held_out}) if source.groups else None,
        class_cases={name: sum(name in classes_of.get(case, ()) for case in held_out) for name in class_names},
        site_cases={site: sites.count(site) for site in sorted(set(source.sites.values()))},
    )


def _straddling(splits: Sequence[Split], traits: Sequence[CaseTraits]) -> list[str]:
    """Cases with the same image that are trained on in one fold while they are validated on."""
    leaks = [
        bound
        for bound in duplicates_of(traits)
        if any(set(bound) & set(split.train) and set(bound) & set(split.validation) for split in splits)
    ]
    if not leaks:
        return []
    shown = "; ".join(" = ".join(bound[:_SHOWN]) for bound in leaks[:_SHOWN])
    sets = f"{len(leaks)} sets of cases share" if len(leaks) > 1 else "1 set of cases shares"
    return [f"{sets} an image and lie{'s' * (len(leaks) == 1)} in different folds ({shown}): remove the copies."]


def _absent_classes(folds: Sequence[FoldSummary], source: SplitsSource, hint: bool) -> list[str]:
    """Classes that some fold cannot validate, though there are cases enough."""
    lines = []
    for name in folds[0].class_cases:
        counts = [fold.class_cases[name] for fold in folds]
        if 0 in counts and sum(counts) >= len(folds):
            where = ", ".join(str(index) for index, count in enumerate(counts) if not count)
            lines.append(f"'{name}' is in no validation case of fold {where}.")
    if lines and hint and not (source.group_by or source.site_by):
        lines.append("To spread classes evenly, each case a group of its own: --group-by '.+'")
    return lines


def duplicates_of(traits: Iterable[CaseTraits]) -> tuple[tuple[str, ...], ...]:
    """Sets of cases whose images are the same, or nearly."""
    sets: dict[str, list[str]] = {}
    for case in traits:
        if case.content_hash:
            sets.setdefault(case.content_hash, []).append(case.name)
    return tuple(sorted(tuple(sorted(names)) for names in sets.values() if len(names) > 1))
