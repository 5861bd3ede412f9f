"""What can go wrong, as values: where, what was wanted, what was found, and the way out.

A room collects the problems it sees and raises them together; only the command line prints them.
Codes are stable, and `codes/` says what each means; their hundreds say which room speaks: 1 the
YAML text, 2 the mapping, 3 tensors and ops, 4 the config, 5 checkpoint files, 6 output and run,
7 verification.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from mapengine.displayed import Displayed, traceback_lines


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a text file. `line` and `column` count from 1; `width` is in characters.

    `via` is the place of the YAML alias through which this text was used, if it was.
    """

    file: str
    line: int
    column: int
    width: int = 1
    via: Where | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}".replace("\n", r"\n")


@dataclass(frozen=True, slots=True)
class Problem(Displayed):
    """One thing wrong: a stable `code`, the sentence, where it stands, and what to do about it.

    `path` names the part of the mapping in its own words (`rules[7].ops[0].split`).
    """

    code: str
    message: str
    where: Where | None = None
    path: str = ""
    help: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        path = f"{self.path}: " if self.path else ""
        return f"{place}{self.code} {path}{self.message}"


class Problems(list[Problem], Displayed):
    """Problems that a notebook shows as a table. A list otherwise."""


class MapengineError(Exception, Displayed):
    """The one root of the errors raised here; `problems` says everything that was found.

    `exit_code` is what the command line exits with: 1 for findings, 2 for "could not run".
    """

    exit_code = 1

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    def __reduce__(self) -> tuple[object, ...]:
        """How it goes to another process: by its problems, and what was noted on its way."""
        return type(self), tuple(self.problems), self.__dict__

    def _render_traceback_(self) -> list[str]:
        """What a notebook prints where nothing catches it: the problems, not our own calls."""
        return traceback_lines(self)


class MappingError(MapengineError):
    """The mapping file itself is wrong."""


class NotFoundError(MappingError):
    """There is no mapping file to read."""

    exit_code = 2


class PlanError(MapengineError):
    """This mapping and this checkpoint do not fit together."""


class CheckpointError(MapengineError):
    """A file of a checkpoint cannot be read, or lies."""

    exit_code = 2


class OutputError(MapengineError):
    """The output cannot be written where it was asked for."""

    exit_code = 2


class SourceChangedError(OutputError):
    """A file of the source is not what was planned with: nothing made of it can be kept."""


class OpError(ValueError):
    """An op refuses its tensors. Carries no place: the caller knows it and adds it."""

    def __init__(self, message: str, code: str = "ME301", help: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.help = help

    def at(self, where: Where | None, path: str) -> Problem:
        return Problem(self.code, str(self), where, path, self.help)


_MOST_KNOWN, _LONGEST = 5_000, 250
_NICKNAMES = {
    "bf16": "bfloat16", "fp16": "float16", "f16": "float16", "half": "float16",
    "fp32": "float32", "f32": "float32", "float": "float32", "fp64": "float64",
    "f64": "float64", "double": "float64", "fp8": "float8_e4m3fn", "i64": "int64",
    "long": "int64", "i32": "int32", "int": "int32", "u8": "uint8", "byte": "uint8",
    "boolean": "bool", "st": "safetensors", "pt": "torch", "pth": "torch", "bin": "torch",
}  # fmt: skip
"""What people write for dtypes and formats, and no comparison of letters tells."""


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'split'?`, or nothing when no known word is near.

    Not all are looked at where there are very many, nor a very long one: it takes too much time.
    """
    short = [one for one in islice(known, _MOST_KNOWN) if len(one) <= _LONGEST]
    if _NICKNAMES.get(word.lower()) in short:
        return f"did you mean {_NICKNAMES[word.lower()]!r}?"
    near = difflib.get_close_matches(word[:_LONGEST], short, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def printable(text: str) -> str:
    """`text` with control, bidirectional and unpaired characters escaped, newlines kept."""
    return "\n".join(map(one_line, text.split("\n")))


def one_line(text: str) -> str:
    """`text` escaped as `printable` does, newlines too.

    Or a key could begin a line that looks as if we had said it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def on_one_line(text: str, width: int) -> str:
    """`text` as `printable`, its newlines escaped too, its middle left out where it is long."""
    if len(text) > width:
        text = f"{text[: width - width // 3]} … {text[-(width // 3) :]}"
    return printable(text).replace("\n", "\\n")


def by_place(problem: Problem) -> tuple[int, int]:
    """Sorts problems in the order of the file."""
    return (problem.where.line, problem.where.column) if problem.where else (0, 0)
