"""Problems as text: the place, the code, the sentence, the line it stands in, and a way out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mapengine.errors import Problem, Where, printable


def problem_text(problem: Problem, frame: bool = True) -> str:
    """One problem: `file:line:col: CODE path: sentence`, its source line, and the help."""
    lines = [printable(str(problem))]
    if frame and problem.where is not None:
        lines += _frame(problem.where)
        via = problem.where.via
        while via is not None:
            lines.append(f"  = used by the alias at {via}")
            via = via.via
    if problem.help:
        lines.append(f"  = help: {printable(problem.help)}")
    return "\n".join(lines)


def problem_dict(problem: Problem) -> dict[str, Any]:
    """A problem for JSON; places that are not known are null."""
    where = problem.where
    return {
        "code": problem.code,
        "message": problem.message,
        "path": problem.path or None,
        "help": problem.help or None,
        "file": where.file if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
    }


def _frame(where: Where) -> list[str]:
    text = _lines(where.file)
    if not 1 <= where.line <= len(text):
        return []
    margin = " " * len(str(where.line))
    line = printable(text[where.line - 1])[:160]
    caret = " " * (where.column - 1) + "^" * max(min(where.width, len(line) - where.column + 1), 1)
    return [f"{margin} |", f"{where.line} | {line}", f"{margin} | {caret}"]


@lru_cache(maxsize=8)
def _lines(file: str) -> Sequence[str]:
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError):
        return ()
