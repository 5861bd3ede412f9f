"""What all reading of a mapping's parts shares: places, problems, expressions, patterns, paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mapengine.errors import OpError, Problem, Where, suggest
from mapengine.language.document import Document
from mapengine.language.expressions import Expression, ExpressionError, parse_value
from mapengine.language.mapping import (
    Choice,
    ConfigPath,
    Rule,
)
from mapengine.language.patterns import KeyPattern, PatternError
from mapengine.language.schema_check import path_text
from mapengine.specs import is_plain_name

Path = tuple[str | int, ...]
T = TypeVar("T")
_NOTHING = parse_value(None)
_ANY_KEY = KeyPattern.parse("?")
_NO_RULES = ("scope", "when", "layout", "tensors", "prefix")


def read_path(text: str) -> ConfigPath:
    """`moe.num_experts`, `a\\.b.c`, `generation_config.json:eos_token_id`."""
    file, colon, path = text.partition(":")
    if not colon or "." not in file:
        file, path = "", text
    steps = path.replace(r"\.", "\0").split(".")
    return ConfigPath(tuple(step.replace("\0", ".") for step in steps), file or None)


class Reader:
    """Reads parts of a document and collects what is wrong with them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.layout_names: set[str] = set()
        self.rules: list[Rule] = []

    def problem(
        self,
        code: str,
        message: str,
        path: Path,
        help: str = "",
        name: str = "",
        where: Where | None = None,
    ) -> None:
        where = where or self.where(path)
        problem = Problem(code, message, where, name or path_text(path), help)
        if problem not in self.problems:  # both sides of a rule may have it
            self.problems.append(problem)

    def where(self, path: Path) -> Where:
        """The place of the value at `path`; of the key, for a rule."""
        is_rule = len(path) > 1 and isinstance(path[-2], int) and path[-1] not in _NO_RULES
        return self.document.where_key(path) if is_rule else self.document.where(path)

    def attempt(self, read: Callable[[], T], path: Path, otherwise: T, name: str = "") -> T:
        try:
            return read()
        except PatternError as error:
            self.problem("ME212", str(error), path, error.help, name, error.where)
        except ExpressionError as error:
            self.problem("ME211", str(error), path, error.help, name, error.where)
        except OpError as error:
            self.problem(error.code, str(error), path, error.help, name)
        return otherwise

    def expression(self, value: Any, path: Path, name: str = "") -> Expression:
        where = self.document.where(path)
        return self.attempt(lambda: parse_value(value, where), path, _NOTHING, name)

    def pattern(self, text: str, path: Path, name: str = "") -> KeyPattern:
        where = self.where(path)
        return self.attempt(lambda: KeyPattern.parse(text, where), path, _ANY_KEY, name)

    def plain_name(self, name: str, path: Path) -> str:
        if not is_plain_name(name):
            self.problem("ME213", f"{name!r} is not the name of a file in the folder", path)
        return name

    def path(self, text: str, path: Path, *, below: bool = False) -> ConfigPath:
        """A config path; where `below` is meant, it may end in a dot, or with its file's colon."""
        read = read_path(text)
        if read.file is not None:
            self.plain_name(read.file, path)
        ends = below and (len(read.steps) > 1 or read.file is not None)
        if "" in (read.steps[:-1] if ends else read.steps):
            self.problem("ME217", f"{text!r} is no path: a name is missing beside a dot", path)
        return read

    def choice(self, value: Any) -> Choice:
        """One value, or one per layout: an object whose keys are all names of layouts."""
        if isinstance(value, dict) and value and value.keys() <= self.layout_names:
            return Choice(tuple(value.items()))
        return Choice(((None, value),))

    def no_layout(
        self, layout: str, path: Path, where: Where | None = None, name: str = ""
    ) -> None:
        known = ", ".join(sorted(self.layout_names)) or "none"
        help = suggest(layout, self.layout_names) or f"layouts: {known}"
        self.problem("ME215", f"there is no layout {layout!r}", path, help, name, where)

    def paths(self, body: Any, path: Path) -> tuple[ConfigPath, ...]:
        if isinstance(body, str):
            return (self.path(body, path),)
        return tuple(self.path(text, (*path, i)) for i, text in enumerate(body))
