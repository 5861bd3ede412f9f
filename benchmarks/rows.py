"""The table: what each row holds, and how it is printed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from mapengine.report.units import size_text

_HEADINGS = ("", "where", "ratio (min to max)", "ours", "theirs", "goal")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: ours of every pair, and where there is something to compare with, theirs.

    `unit` is `s` or `B`. `goal` is the largest ratio that is good, `budget` the largest median of
    ours. A row with `skipped` was not measured, and says why.
    """

    group: str
    what: str
    where: str
    ours: Sequence[float] = ()
    theirs: Sequence[float] = ()
    unit: str = "s"
    goal: float | None = None
    budget: float | None = None
    skipped: str | None = None

    @property
    def ratios(self) -> list[float]:
        """Of each pair; a median of ratios, not a ratio of medians, is what is reported."""
        pairs = zip(self.ours, self.theirs, strict=True) if self.theirs else ()
        return [ours / theirs for ours, theirs in pairs if theirs]

    @property
    def met(self) -> bool | None:
        if self.budget is not None and self.ours:
            return statistics.median(self.ours) <= self.budget
        if self.goal is None or not self.ratios:
            return None
        return statistics.median(self.ratios) <= self.goal

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratios": self.ratios, "met": self.met}


def table_text(rows: Iterable[Row]) -> str:
    """All rows, grouped, in aligned columns."""
    cells = [_HEADINGS, *(_cells(row) for row in rows if row.skipped is None)]
    skipped = [(f"  {row.what}", row.where) for row in rows if row.skipped is not None]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for i in range(2):
        widths[i] = max([widths[i], *(len(cell[i]) for cell in skipped)])
    lines = [_line(_HEADINGS, widths)]
    for group, members in groupby(rows, key=lambda row: row.group):
        lines.append(group)
        for row in members:
            line = _line(_cells(row), widths)
            if row.skipped is not None:
                line = _line((*_cells(row)[:2], f"skipped: {row.skipped}"), widths)
            lines.append(line)
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = ""
    if row.ratios:
        ratio = _number(statistics.median(row.ratios))
        if len(row.ratios) > 1:
            ratio += f" ({_number(min(row.ratios))} to {_number(max(row.ratios))})"
    goal = "" if row.goal is None else f"{row.goal:g}"
    goal = goal if row.budget is None else f"{row.budget:g} s"
    if row.met is not None:
        goal += ": met" if row.met else ": missed"
    ours, theirs = _figure(row.ours, row.unit), _figure(row.theirs, row.unit)
    return f"  {row.what}", row.where, ratio, ours, theirs, goal


def _figure(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    middle = statistics.median(values)
    return size_text(round(middle)) if unit == "B" else f"{middle:.2f} s"


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths[: len(cells)], strict=True)
    return "  ".join(cell.ljust(width) for cell, width in pairs).rstrip()
