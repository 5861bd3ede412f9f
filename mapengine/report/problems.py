"""Problems as text: the place, the code, the sentence, the line it stands in, and a way out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mapengine.errors import Problem, Where, on_one_line, printable

_WIDTH = 1000  # of a line: what hostile files say may reach it
_FRAMED = 160


def problem_text(problem: Problem, frame: bool = True) -> str:
    """One problem: `file:line:col: CODE path: sentence`, its source line, and the help."""
    lines = [_told(str(problem))]
    if frame and problem.where is not None:
        lines += frame_lines(problem.where)
        via = problem.where.via
        while via is not None:
            lines.append(f"  = used by the alias at {via}")
            via = via.via
    if problem.help:
        lines.append(f"  = help: {_told(problem.help)}")
    return "\n".join(lines)


def _told(text: str) -> str:
    """`text` with its lines cut, and no line but its own: those below the first are indented."""
    first, *others = text.split("\n  ")
    return "\n  ".join(on_one_line(line, _WIDTH) for line in (first, *others))


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


def frame_lines(where: Where) -> list[str]:
    """The line a problem stands in, and a mark below; nothing where it cannot be read."""
    text = _lines(where.file)
    if not 1 <= where.line <= len(text):
        return []
    margin = " " * len(str(where.line))
    line = printable(text[where.line - 1][:_FRAMED])
    if where.column > _FRAMED:
        return [f"{margin} |", f"{where.line} | {line}"]
    caret = " " * (where.column - 1) + "^" * max(min(where.width, len(line) - where.column + 1), 1)
    return [f"{margin} |", f"{where.line} | {line}", f"{margin} | {caret}"]


@lru_cache(maxsize=8)
def _lines(file: str) -> Sequence[str]:
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError):
        return ()
