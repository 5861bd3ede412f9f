"""Plans, problems and checks in a notebook: HTML without styles of its own page, and no script.

All that comes from a mapping or a checkpoint is escaped; what is long is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import singledispatch
from html import escape
from typing import TYPE_CHECKING, Any

from mapengine.errors import MapengineError, PlanError, Problem, Problems, on_one_line
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.plan import Plan
from mapengine.verification.check import Check, Checks

if TYPE_CHECKING:
    from mapengine.errors import Where

_LONGEST = 300  # characters of a cell
_MOST = 200  # rows of a table: a notebook keeps them all in its file
_LEFT = ' style="text-align:left"'
_RIGHT = ' style="text-align:right"'


@singledispatch
def html(value: Any) -> str:
    """A value as HTML."""
    return _text(repr(value))


@html.register
def _plan(plan: Plan) -> str:
    from mapengine.report.plans import HEADINGS, indices, plan_cells, titles, totals

    scopes, cells = plan_cells(plan)
    numbers = {0, 4, 7}
    rows: list[str] = []
    before: tuple[str, ...] = ("", "")
    for scope, row in zip(scopes, cells, strict=True):
        if scope != before:
            rows.append(_row(["", *_keys(scope)], set(), "td"))
            before = scope
        rows.append(_row([_key(cell) if i in (1, 3) else _text(cell)
                          for i, cell in enumerate(row)], numbers, "td"))  # fmt: skip
    head = [_bold(title) for title in titles(plan)]
    told = [*head, _text(indices(plan)), _table(HEADINGS, rows, numbers)]
    return _block([*told, *map(_text, totals(plan, _working_memory(plan)))])


def _working_memory(plan: Plan) -> int:
    from mapengine.executors import default_workers

    try:
        return plan.peak_memory(default_workers(), DEFAULT_MEMORY)
    except PlanError:  # it takes more than a run is given by default, and the run will say so
        return plan.peak_memory(1, 2**63)


@html.register
def _problems(problems: Problems) -> str:
    if not problems:
        return _block([_text("no problems")])
    rows = [_problem_row(problem) for problem in problems]
    return _block([_table(("CODE", "WHERE", "WHAT", "WAY OUT"), rows, set())])


@html.register
def _problem(problem: Problem) -> str:
    return _problems(Problems([problem]))


@html.register
def _error(error: MapengineError) -> str:
    return _block([_bold(_heading(error)), _problems(Problems(error.problems))])


@html.register
def _checks(checks: Checks) -> str:
    rows = []
    for check in checks:
        mark = "✗" if check.findings else "-" if check.skipped else "✓"
        told = [_text(check.skipped or check.detail), *map(_finding, check.findings)]
        rows.append(_row([mark, _text(check.name), "<br>".join(told)], set(), "td"))
    return _block([_table(("", "CHECK", "FOUND"), rows, set())])


@html.register
def _check(check: Check) -> str:
    return _checks(Checks([check]))


def lines(error: MapengineError) -> list[str]:
    """An error that nothing caught, for people."""
    from mapengine.report.problems import problem_text

    return [_heading(error), *map(problem_text, error.problems)]


def _heading(error: MapengineError) -> str:
    count = len(error.problems)
    return f"{type(error).__name__}: {count} problem{'' if count == 1 else 's'}"


# -- problems -------------------------------------------------------------------------------------


def _problem_row(problem: Problem) -> str:
    what = _text(problem.message)
    if problem.path:
        what = f"{_key(problem.path)}: {what}"
    if frame := _frame(problem):
        what += f'<pre style="margin:0">{frame}</pre>'
    return _row([_text(problem.code), _place(problem.where), what, _text(problem.help)],
                set(), "td")  # fmt: skip


def _place(where: Where | None) -> str:
    return _key(str(where)) if where else ""


def _frame(problem: Problem) -> str:
    """The line it stands in, and a mark below."""
    from mapengine.report.problems import frame_lines

    return escape("\n".join(frame_lines(problem.where))) if problem.where else ""


def _finding(finding: Problem) -> str:
    place = f"{_place(finding.where)} " if finding.where else ""
    out = f" ({_text(finding.help)})" if finding.help else ""
    return f"{place}{_text(f'{finding.code} {finding.message}')}{out}"


# -- HTML -----------------------------------------------------------------------------------------


def _text(text: str) -> str:
    return escape(on_one_line(text, _LONGEST))


def _key(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _keys(scope: Sequence[str]) -> list[str]:
    taken, made = (f"<i>{_text(side)}</i>" for side in scope)
    return [taken, "→", made, *[""] * 5]


def _bold(text: str) -> str:
    return f"<b>{_text(text)}</b>"


def _row(cells: Iterable[str], numbers: set[int], tag: str) -> str:
    """A row of cells that are HTML already."""
    told = (
        f"<{tag}{_RIGHT if i in numbers else _LEFT}>{cell}</{tag}>" for i, cell in enumerate(cells)
    )
    return f"<tr>{''.join(told)}</tr>"


def _table(headings: Sequence[str], rows: Sequence[str], numbers: set[int]) -> str:
    head = _row(map(escape, headings), numbers, "th")
    more = len(rows) - _MOST
    below = f"<div>and {more} more rows</div>" if more > 0 else ""
    return f"<table>{head}{''.join(rows[:_MOST])}</table>{below}"


def _block(parts: Iterable[str]) -> str:
    return f"<div>{''.join(f'<div>{part}</div>' for part in parts)}</div>"
