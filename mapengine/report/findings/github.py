"""For GitHub Actions: annotations at the lines, and a table for the summary of the step.

GitHub shows ten annotations of a kind per step and drops the others without a word; so where there
are more, the tenth counts them.
"""

from __future__ import annotations

from mapengine.errors import Problem, printable
from mapengine.report.findings.findings import (
    Checked,
    Findings,
    in_repository,
    on_one_line,
    sentence,
)

MOST_SHOWN = 10
MOST_BYTES = 1 << 20
"""What GitHub takes of the summary of a step."""

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def github(findings: Findings) -> str:
    lines = []
    for level, command in _COMMANDS.items():
        found = [(one, problem) for at, one, problem in findings.by_level() if at == level]
        shown = found if len(found) <= MOST_SHOWN else found[: MOST_SHOWN - 1]
        lines += [_annotation(command, *one) for one in shown]
        if more := len(found) - len(shown):
            lines.append(f"::{command}::and {more} more: the summary of the step has all")
    return "\n".join([*lines, findings.summary(), ""])


def github_summary(findings: Findings) -> str:
    """The table of all findings in Markdown, as far as a summary may be long."""
    head = f"### mapengine: {findings.summary()}\n"
    if not any(True for _ in findings.by_level()):
        return head
    table = f"{head}\n| where | code | what | cure |\n|---|---|---|---|\n"
    size = len(table.encode())
    rows = []
    for _, checked, problem in findings.by_level():
        row = _row(checked, problem)
        size += len(row.encode())
        if size > MOST_BYTES - 100:
            rows.append("\nand more, which the summary has no room for\n")
            break
        rows.append(row)
    return table + "".join(rows)


def _annotation(command: str, checked: Checked, problem: Problem) -> str:
    where = problem.where
    values = {
        "title": problem.code,
        "file": str(in_repository(where.file if where else checked.file)),
    }
    if where is not None:
        values |= {
            "line": str(where.line),
            "endLine": str(where.line),
            "col": str(where.column),
            "endColumn": str(where.column + where.width),
        }
    told = ",".join(f"{name}={_property(value)}" for name, value in values.items())
    help = f"\n{problem.help}" if problem.help else ""
    return f"::{command} {told}::{_escaped(sentence(problem) + help)}"


def _escaped(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _row(checked: Checked, problem: Problem) -> str:
    where = problem.where
    place = f"{in_repository(where.file)}:{where.line}" if where else in_repository(checked.file)
    cells = map(_cell, (str(place), problem.code, sentence(problem), problem.help))
    return f"| {' | '.join(cells)} |\n"


def _cell(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    lines = on_one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(r"\n", "<br>")
    return "".join(f"\\{c}" if c in r"\|`*_[]~#" else c for c in lines)
