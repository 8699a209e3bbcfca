"""Networks for people: a table of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from autounet.planners.reasons import by_axis
from autounet.planners.survey import SurveyedNetwork

_GIB = 2**30


def networks_table(networks: Sequence[SurveyedNetwork], title: str) -> Table:
    """One row a network and size."""
    table = Table(title=title, title_justify="left")
    for name in ("network", "paper", "year", "for", "patch", "batch", "parameters", "memory", "options"):
        table.add_column(name, justify="right" if name in ("batch", "parameters", "memory") else "left")
    for network in networks:
        paper = network.paper
        published = (paper.authors, str(paper.year)) if paper else ("", "")
        head = (network.name, *published)
        options = ", ".join(network.options)
        if not network.sizes:
            table.add_row(network.name, *published, "", "", "", "", "", Text(network.refusal, style="yellow"))
        for size in network.sizes:
            parameters, memory = f"{size.num_parameters:,}", f"{size.memory_bytes / _GIB:.2f} GiB"
            row = (size.name, by_axis(size.patch_size), str(size.batch_size), parameters, memory)
            table.add_row(*head, *row, options)
            head, options = ("", "", ""), ""
    return table
