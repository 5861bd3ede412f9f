"""Key patterns, `layers.{layer}.wq.weight`, and rules, `a, b -> c`.

Braces hold an expression, doubled ones are literal. A pattern is filled from known names and never
matched, so any expression reads in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mapengine.errors import Where
from mapengine.language.arithmetic import ExpressionError, place_of, shown
from mapengine.language.expressions import Expression, Names, Scope, parse

MAX_LENGTH = 1024


class PatternError(ExpressionError):
    """What is wrong with a pattern or the key of a rule, at `offset` in its text."""


_BRACE = re.compile(r"\{\{|\}\}|[{}]")
_INSIDE = re.compile(r"(?:[^{}'\"]|'[^']*'|\"[^\"]*\")*")
_WIDTH = re.compile(r"(.*?)(?::([^:'\"]*))?", re.DOTALL)
_DIGITS = re.compile(r"0[1-9][0-9]?")
_GLOB_SIGN = re.compile(r"[*?\[]")
_WORD = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # a part of a name, never a way to a folder
_BRACED = re.compile(r"\{[^{}]*\}")
_RULE = re.compile(r"\{\{|\}\}|\{[^{}]*\}|->|,")


@dataclass(frozen=True)
class Hole:
    """One pair of braces: its expression, the width its number is filled up to, its offset."""

    expression: Expression
    width: int
    offset: int
    name: str | None  # the whole expression, where it is no more than a name

    def fill(self, scope: Scope) -> str:
        try:
            name = self.name
            value = self.expression.evaluate(scope) if name is None else scope.name(name)
            if type(value) is int and value >= 0:
                return f"{value:0{self.width}}" if self.width else str(value)
            if type(value) is str and not self.width and _WORD.fullmatch(value):
                return value
            wanted = "an index" if self.width else "an index or a word"
            raise ExpressionError(f"{{{self.expression}}} is {shown(value)}, not {wanted}")
        except ExpressionError as error:
            raise _relayed(error, self.offset, self.expression.where) from None


@dataclass(frozen=True)
class KeyPattern:
    """A whole key with expressions in braces; equal texts are equal patterns."""

    text: str
    parts: tuple[str | Hole, ...] = field(compare=False, repr=False)
    where: Where | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, text: str, where: Where | None = None) -> KeyPattern:
        """Reads a pattern that stands at `where`; what is wrong in it is a PatternError."""
        try:
            return cls(text, _parts(text, where), where)
        except PatternError as error:
            error.place(where, text)
            raise

    @cached_property
    def holes(self) -> tuple[Hole, ...]:
        return tuple(part for part in self.parts if isinstance(part, Hole))

    @cached_property
    def names(self) -> frozenset[str]:
        """What it needs from a scope."""
        return frozenset().union(*(hole.expression.names for hole in self.holes))

    def fill(self, scope: Scope | Mapping[str, Any]) -> str:
        """The key in `scope`: every hole an index, or a word where no width is asked for."""
        if isinstance(scope, Mapping):
            scope = Names(scope)
        parts = self.parts
        return "".join([part if type(part) is str else part.fill(scope) for part in parts])  # type: ignore[union-attr]

    def wildcard(self) -> str:
        """The pattern as `fnmatch` and `glob` read it: `*` for what braces hold."""
        pieces: list[str] = []
        for part in self.parts:
            if not isinstance(part, Hole):
                pieces.append(_GLOB_SIGN.sub(r"[\g<0>]", part))
            elif pieces[-1:] != ["*"]:  # two in a row would mean any folder
                pieces.append("*")
        return "".join(pieces)

    def __str__(self) -> str:
        return self.text


def split_rule(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sources and targets that the key of a rule names; without an arrow they are the same.

    Left of the arrow there may be nothing.
    """
    (start, left), *rest = _sides(text)
    sources = _names(left, start)
    if not rest:
        if len(sources) != 1:
            raise PatternError("a list of keys needs an arrow: a, b -> c", 0)
        return sources, sources
    ((start, right),) = rest
    targets = _names(right, start)
    if not targets:
        help = "what is left behind is named under ignore:"
        raise PatternError("there is no key right of the arrow", len(text), help)
    return sources, targets


def split_scope(text: str) -> tuple[str, str]:
    """The prefixes that a scope puts before sources and targets; either may be empty."""
    sides = _sides(text)
    for start, side in sides:
        if len(_names(side, start)) > 1:
            raise PatternError("a scope has one prefix on a side", start)
    return sides[0][1].strip(), sides[-1][1].strip()


def _sides(text: str) -> list[tuple[int, str]]:
    """What stands left and right of the arrow, with its offset; one side where there is none."""
    arrows = []
    for found in _RULE.finditer(text):
        if found[0].startswith("{") and re.search(r",|->", found[0]):
            message = "braces in the key of a rule hold no comma and no arrow"
            help = "name the value under config: with compute:"
            raise PatternError(message, found.start(), help)
        if found[0] == "->":
            arrows.append(found)
    if not text.strip():
        raise PatternError("a key is missing here", 0)
    if len(arrows) > 1:
        raise PatternError("a second arrow in one rule", arrows[1].start())
    if not arrows:
        return [(0, text)]
    return [(0, text[: arrows[0].start()]), (arrows[0].end(), text[arrows[0].end() :])]


def _names(side: str, start: int) -> tuple[str, ...]:
    if not side.strip():
        return ()
    names: list[str] = []
    for name in side.split(","):
        if not name.strip():
            raise PatternError("a key is missing beside this comma", start)
        if re.search(r"\s", _BRACED.sub("", name.strip())):
            help = "an arrow is written ->, and a comma stands between keys"
            raise PatternError(f"the key {name.strip()!r} has a blank in it", start, help)
        if name.strip() in names:
            raise PatternError(f"the key {name.strip()!r} is here twice", start)
        names.append(name.strip())
        start += len(name) + 1
    return tuple(names)


def _parts(text: str, where: Where | None) -> tuple[str | Hole, ...]:
    if len(text) > MAX_LENGTH:
        raise PatternError(f"a key of more than {MAX_LENGTH} characters", 0)
    if curly := re.search("[“„‘]", text):  # the one that closes comes with it
        message = f"{curly[0]} would be a part of the key"
        raise PatternError(message, curly.start(), help="YAML's quotes are \" and '")
    parts: list[str | Hole] = []
    literal, at = "", 0
    while found := _BRACE.search(text, at):
        literal += text[at : found.start()]
        at = found.end()
        if len(found[0]) == 2:
            literal += found[0][0]
        elif found[0] == "}":
            raise PatternError("a } that closes nothing; a literal one is doubled", found.start())
        else:
            end = _INSIDE.match(text, at).end()  # type: ignore[union-attr]  # may be empty
            if text[end : end + 1] != "}":
                message = "a { that is not closed; a literal one is doubled"
                help = f"close it: {text[found.start() : end]}}}"
                raise PatternError(message, found.start(), help=help)
            parts += [literal] if literal else []
            parts.append(_hole(text, at, end, where))
            literal, at = "", end + 1
    literal += text[at:]
    if not text:
        raise PatternError("a key is missing here", 0)
    return (*parts, literal) if literal else tuple(parts)


def _hole(text: str, start: int, end: int, where: Where | None) -> Hole:
    inside = _WIDTH.fullmatch(text[start:end])
    assert inside is not None
    content, width = inside[1], inside[2]
    start += len(content) - len(content.lstrip())
    content = content.strip()
    if width is not None and not _DIGITS.fullmatch(width):
        raise PatternError("a width is written with a zero before it: {rank:02}", start)
    if not content:
        raise PatternError("an expression is missing here", start, "name an index: {layer}")
    place = place_of(where, text, start, len(content))
    try:
        expression = parse(content, place)
    except ExpressionError as error:
        raise _relayed(error, start, place) from None
    name = content if content in expression.names else None
    return Hole(expression, int(width or 0), start, name)


def _relayed(error: ExpressionError, offset: int, where: Where | None) -> PatternError:
    """The error of an expression as one of the pattern that holds it at `offset`."""
    relayed = PatternError(str(error), offset + (error.offset or 0), error.help)
    relayed.where = error.where or where
    return relayed
