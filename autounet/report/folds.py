"""The folds of a dataset for people: a table, and what to know of them."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from autounet.data.fold_summary import FoldSummary, PlannedSplits

# More columns do not fit a terminal; classes beyond are counted together.
_MAX_COLUMNS = 8


def tell_folds(splits: PlannedSplits | None, tell: Callable[[RenderableType], None]) -> None:
    """Show the table of folds, and the remarks on them; nothing without folds."""
    if splits is None:
        return
    tell(folds_table(splits))
    for remark in splits.remarks:
        tell(Text(remark))


def folds_table(splits: PlannedSplits) -> Table:
    """One row a fold; cases, groups, and validation cases of each class and site."""
    table = Table(title=f"{len(splits.folds)} folds: {escape(splits.how)}", title_justify="left")
    for name in ("fold", "train", "validation"):
        table.add_column(name, justify="right")
    if any(fold.num_groups is not None for fold in splits.folds):
        table.add_column("groups", justify="right")
    first = splits.folds[0]
    classes = list(first.class_cases)
    if len(classes) > _MAX_COLUMNS:
        table.add_column(f"classes of {len(classes)}", justify="right")
    for name in [*(classes if len(classes) <= _MAX_COLUMNS else []), *list(first.site_cases)[:_MAX_COLUMNS]]:
        table.add_column(Text(name), justify="right")
    for index, fold in enumerate(splits.folds):
        table.add_row(str(index), *(str(number) for number in _numbers(fold)))
    return table


def _numbers(fold: FoldSummary) -> list[int]:
    numbers = [fold.num_train, fold.num_validation]
    if fold.num_groups is not None:
        numbers.append(fold.num_groups)
    counts = list(fold.class_cases.values())
    numbers += counts if len(counts) <= _MAX_COLUMNS else [sum(count > 0 for count in counts)]
    return numbers + list(fold.site_cases.values())[:_MAX_COLUMNS]
