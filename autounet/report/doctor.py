"""The doctor's findings for people: a table, a line for each class, and what to do next."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from autounet.data.doctor.findings import SUSPECTED, counted
from autounet.errors import Severity

if TYPE_CHECKING:
    from rich.console import Console

    from autounet.data.doctor.check import Checked

# More rows would push the first ones off the screen, and one kind would hide the others; the file has them all.
_MAX_ROWS, _MAX_ROWS_OF_A_KIND = 40, 5
_STYLES = {Severity.HOPELESS: "red", Severity.REPAIRABLE: "yellow", Severity.HARMLESS: "green"}


def show_check(checked: Checked, console: Console) -> None:
    """Print everything."""
    if checked.diagnosis.findings:
        console.print(findings_table(checked))
    for line in check_lines(checked):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def findings_table(checked: Checked) -> Table:
    """Every problem with its class, the worst first."""
    name, findings = checked.diagnosis.dataset.description.name, checked.diagnosis.findings
    plural = "s" * (len(findings) != 1)
    table = Table(title=f"{len(findings)} problem{plural} in {name}", title_justify="left", show_lines=True)
    for column in ("case", "file", "class", "what is wrong", "what to do"):
        table.add_column(column, overflow="fold")
    seen: Counter[str] = Counter()
    shown = 0
    for finding in findings:
        seen[finding.check] += 1
        if seen[finding.check] > _MAX_ROWS_OF_A_KIND or shown >= _MAX_ROWS:
            continue
        shown += 1
        problem, style = finding.problem, _STYLES[finding.severity]
        texts = [escape(text) for text in (problem.case, problem.file, problem.what, problem.remedy)]
        table.add_row(*texts[:2], f"[{style}]{finding.severity}[/{style}]", *texts[2:])
    if shown < len(findings):
        kinds = ", ".join(f"{check} {count}" for check, count in seen.items() if count > _MAX_ROWS_OF_A_KIND)
        counts = f" ({kinds} in all)" if kinds else ""
        table.add_row(f"and {len(findings) - shown} more{escape(counts)}", "", "", f"see {checked.table.name}", "")
    return table


def check_lines(checked: Checked) -> list[str]:
    """How much of what was found, what was repaired, and the next command."""
    dataset, findings = checked.diagnosis.dataset, checked.diagnosis.findings
    number = dataset.description.name[7:10].lstrip("0") or dataset.description.name
    if not findings:
        return [f"{len(dataset.cases)} cases, nothing wrong", f"Next: autounet plan_and_preprocess -d {number}"]
    lines = []
    for severity, count in counted(findings).items():
        cases = {entry.problem.case for entry in findings if entry.severity is severity} - {"-"}
        lines.append(f"{severity}: {count} in {len(cases)} case{'s' * (len(cases) != 1)}")
    lines.append(f"All problems: {checked.table}")
    return lines + _next_lines(checked, number)


def _next_lines(checked: Checked, number: str) -> list[str]:
    if checked.copy is not None:
        own = checked.copy.name[7:10].lstrip("0")
        num_left_out = len({entry.case for entry in checked.repaired if "left out" in entry.what})
        cases = f"{num_left_out} case{'s' * (num_left_out != 1)} left out"
        return [
            f"Repaired copy: {checked.copy} ({len(checked.repaired)} repairs, {cases})",
            f"Each repair: {checked.copy / 'repairs.csv'}",
            f"Next: autounet check -d {own or '0'}",
        ]
    if checked.diagnosis.is_sound:
        return [f"Next: autounet plan_and_preprocess -d {number}"]
    repairs = {entry.repair for entry in checked.diagnosis.findings} - {None}
    hopeless = any(entry.severity is Severity.HOPELESS for entry in checked.diagnosis.findings)
    suspected = " --suspected" if repairs and not hopeless and repairs <= SUSPECTED else ""
    if repairs:
        return [f"Next: autounet check -d {number} --fix{suspected} (into a copy; hopeless cases are left out of it)"]
    return ["Next: mend the originals as the table says, and check again; or leave those cases out with --fix"]
