"""What was understood of images and labels, as tables."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from autounet.data.draft import Draft
from autounet.data.merge import Merge

# Enough to see whether images and labels were paired as meant.
_MAX_CASES = 8


def meaning_table(draft: Draft) -> Table:
    """Channels and label values, with their names."""
    table = Table(title=f"{draft.folder.name}, {draft.file_ending}", title_justify="left")
    for column in ("", "name", "in cases"):
        table.add_column(column, justify="right" if column == "in cases" else "left")
    for index, name in enumerate(draft.channel_names):
        table.add_row(f"channel {index}", Text(name), str(len(draft.cases)))
    names = {}
    if draft.labels is not None:
        names = {value: entry.name for entry in draft.labels.classes for value in entry.values}
        names |= {0: "background"}
        if draft.labels.ignore_value is not None:
            names[draft.labels.ignore_value] = "ignore"
    for value in sorted({*names, *draft.value_cases}):
        count = str(draft.value_cases.get(value, 0)) if draft.value_cases else ""
        table.add_row(f"label {value}", Text(names.get(value, "?")), count)
    return table


def cases_table(draft: Draft) -> Table:
    """The first cases with their files."""
    table = Table(title="Cases", title_justify="left")
    table.add_column("case")
    for name in draft.channel_names if draft.cases and len(draft.cases[0].images) > 1 else ("image",):
        table.add_column(Text(name), overflow="fold")
    table.add_column("label", overflow="fold")
    for case in draft.cases[:_MAX_CASES]:
        label = case.label.name if case.label is not None else "-"
        table.add_row(Text(case.name), *(Text(path.name) for path in case.images), Text(label))
    if len(draft.cases) > _MAX_CASES:
        table.add_row(f"and {len(draft.cases) - _MAX_CASES} more")
    return table


def merged_table(merge: Merge) -> Table:
    """The classes of a merged dataset, and in how many cases of each source they were annotated."""
    table = Table(title=f"{merge.folder.name}, {merge.file_ending}, {len(merge.cases)} cases", title_justify="left")
    for column in ("label", "name"):
        table.add_column(column)
    for source in merge.sources:
        table.add_column(Text(f"annotated in {source.description.name}", overflow="fold"), justify="right")
    for entry in merge.labels.classes:
        counts = [0] * len(merge.sources)
        for case in merge.cases:
            counts[case.dataset] += entry.name in case.annotated
        totals = (str(len(source.cases)) for source in merge.sources)
        cells = (f"{count} of {total}" for count, total in zip(counts, totals, strict=True))
        table.add_row(", ".join(map(str, entry.values)), Text(entry.name), *cells)
    if merge.labels.ignore_value is not None:
        table.add_row(str(merge.labels.ignore_value), "ignore")
    return table
