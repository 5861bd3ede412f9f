"""What commands write to stdout and stderr in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mapengine.errors import Problem


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
