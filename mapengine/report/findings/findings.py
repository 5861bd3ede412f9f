"""What `validate` has found, as a value that every format renders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from mapengine.errors import Problem, printable

if TYPE_CHECKING:
    from mapengine.api import Proof


@dataclass(frozen=True, slots=True)
class Checked:
    """One mapping file with its problems, and what is worth a note."""

    file: str
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """All files, in order. When `strict`, notes count as problems."""

    files: tuple[Checked, ...]
    strict: bool = False

    def counted(self, checked: Checked) -> tuple[Problem, ...]:
        """What of a file counts as a problem."""
        return (*checked.problems, *checked.notes) if self.strict else checked.problems

    @property
    def count(self) -> int:
        return sum(len(self.counted(checked)) for checked in self.files)

    def by_level(self) -> Iterator[tuple[str, Checked, Problem]]:
        """Each finding with its level: `error`, `warning` (a note that counts) or `note`."""
        for checked in self.files:
            yield from (("error", checked, problem) for problem in checked.problems)
            level = "warning" if self.strict else "note"
            yield from ((level, checked, note) for note in checked.notes)

    def summary(self) -> str:
        """`2 problems in 1 of 3 files`, or `3 mappings good`."""
        bad = sum(bool(self.counted(checked)) for checked in self.files)
        if not self.count:
            return plural(len(self.files), "mapping") + " good"
        return f"{plural(self.count, 'problem')} in {bad} of {plural(len(self.files), 'file')}"


def plural(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def sentence(problem: Problem) -> str:
    """The part of the mapping and what is wrong with it, without place and code."""
    return f"{problem.path}: {problem.message}" if problem.path else problem.message


def on_one_line(text: str) -> str:
    """`text` without line breaks and control characters."""
    return printable(text).replace("\n", r"\n")


def in_repository(file: str) -> PurePath:
    """A file as it is called from the root of its repository; absolute, if it is in none."""
    path = Path(file).absolute()
    for folder in path.parents:
        if (folder / ".git").exists():
            return path.relative_to(folder)
    return path
