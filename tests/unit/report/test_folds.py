"""The table of folds."""

from __future__ import annotations

import io

from rich.console import Console

from autounet.data.fold_summary import FoldSummary, PlannedSplits
from autounet.data.splits import Split
from autounet.report.folds import folds_table, tell_folds


def planned(num_groups: int | None, class_cases: dict[str, int], site_cases: dict[str, int]) -> PlannedSplits:
    fold = FoldSummary(8, 2, num_groups, class_cases, site_cases)
    return PlannedSplits((Split(train=("a",), validation=("b",)),), "by [patient]", (fold,), ("Look out.",))


def shown(splits: PlannedSplits | None) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    tell_folds(splits, console.print)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_row_tells_cases_groups_classes_and_sites() -> None:
    lines = shown(planned(1, {"organ": 2, "[b]tumour": 0}, {"Ulm": 2}))
    assert lines[0].startswith("1 folds: by [patient]")
    assert [cell.strip() for cell in lines[2].strip("┃").split("┃")] == [
        "fold",
        "train",
        "validation",
        "groups",
        "organ",
        "[b]tumour",
        "Ulm",
    ]
    assert [cell.strip() for cell in lines[4].strip("│").split("│")] == ["0", "8", "2", "1", "2", "0", "2"]
    assert lines[-1] == "Look out."


def test_many_classes_are_counted_together() -> None:
    table = folds_table(planned(None, {f"c{index}": index % 2 for index in range(40)}, {}))
    assert [str(column.header) for column in table.columns] == ["fold", "train", "validation", "classes of 40"]
    assert list(table.columns[3].cells) == ["20"]


def test_without_folds_nothing_is_shown() -> None:
    assert shown(None) == []
