"""What commands write to stdout and stderr in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mapengine.errors import MapengineError, Problem


def say(text: str, err: bool = False) -> None:
    """A line for a person, with what a name in it could do to a terminal escaped."""
    from mapengine.errors import one_line

    click.echo(one_line(text), err=err)


def print_json(value: Any) -> None:
    for part in json.JSONEncoder(indent=2).iterencode(value):
        sys.stdout.write(part)
    click.echo()


def print_problems(problems: Sequence[Problem], err: bool) -> None:
    from mapengine.report.problems import problem_text

    for problem in problems:
        click.echo(problem_text(problem), err=err)


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def fail(error: MapengineError) -> int:
    """Tells what is wrong, as JSON where that was asked for; what to exit with."""
    if "--json" in sys.argv:
        from mapengine.report.problems import problem_dict

        print_json({"format_version": "1.0", "problems": [problem_dict(p) for p in error.problems]})
    else:
        print_problems(error.problems, err=True)
    return error.exit_code
