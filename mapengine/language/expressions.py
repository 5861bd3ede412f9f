"""The arithmetic of mappings: `hidden // heads`, `layer >= dense`, `a if tied else b`.

Python's own parser reads the text, a whitelist decides what of it is language, and a walk over
what is left computes the value. Nothing else runs.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeVar

from mapengine.errors import Where, suggest
from mapengine.language.arithmetic import (
    FUNCTIONS,
    ExpressionError,
    checked,
    compare,
    compute,
    number,
    shown,
    truth,
)
from mapengine.language.expression_syntax import CONSTANTS, Call, Checker, read

__all__ = ["Expression", "ExpressionError", "Names", "Scope", "parse", "parse_value"]

T = TypeVar("T")


class Scope(Protocol):
    """What an expression can see: names, and answers to `has`, `size` and their like."""

    def name(self, name: str, /) -> Any: ...
    def call(self, function: str, /, *args: Any) -> Any: ...


@dataclass(frozen=True)
class Names:
    """A scope of plain names, with no checkpoint to ask."""

    values: Mapping[str, Any]

    def name(self, name: str, /) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise unknown(name, self.values) from None

    def call(self, function: str, /, *args: Any) -> NoReturn:
        raise ExpressionError(f"{function}() asks a checkpoint, and there is none here")


def unknown(name: str, known: Iterable[str]) -> ExpressionError:
    """The error for a name that is not among `known`."""
    return ExpressionError(f"there is no name {name!r} here", help=suggest(name, known))


@dataclass(frozen=True)
class Expression:
    """A text known to be in the language; equal texts are equal expressions.

    `names` are what it needs from a scope, `calls` what it asks a checkpoint.
    """

    text: str
    names: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    calls: tuple[Call, ...] = field(default=(), compare=False, repr=False)
    where: Where | None = field(default=None, compare=False, repr=False)
    tree: ast.expr = field(default_factory=lambda: ast.Constant(None), compare=False, repr=False)

    def evaluate(self, scope: Scope | Mapping[str, Any]) -> Any:
        """The value in `scope`; raises ExpressionError at the part that has none."""
        try:
            return _evaluate(self.tree, Names(scope) if isinstance(scope, Mapping) else scope)
        except ExpressionError as error:
            error.place(self.where, self.text)
            raise

    def __str__(self) -> str:
        return self.text


def parse(text: str, where: Where | None = None) -> Expression:
    """Reads an expression; anything outside the language is an ExpressionError at its place."""
    text = text.strip()
    try:
        checker = Checker(text)
        tree = read(text)
        checker.check(tree)
    except ExpressionError as error:
        error.place(where, text)
        raise
    return Expression(text, frozenset(checker.names), tuple(checker.calls), where, tree)


def parse_value(value: Any, where: Where | None = None) -> Expression:
    """A YAML scalar where an expression may stand: words are parsed, the rest are constants."""
    if isinstance(value, str):
        return parse(value, where)
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            checked(value)
        elif value is not None and not isinstance(value, bool | float):
            raise ExpressionError(f"an expression is needed here, found {shown(value)}")
    except ExpressionError as error:
        error.place(where, "")
        raise
    return Expression(shown(value), where=where, tree=ast.Constant(value, col_offset=0))


def _evaluate(node: ast.expr, scope: Scope) -> Any:
    try:
        return _value(node, scope)
    except ExpressionError as error:
        if error.offset is None:
            error.offset = node.col_offset
        raise


def _operand(read: Callable[[Any], T], node: ast.expr, scope: Scope) -> T:
    """The value of `node` as `read` takes it; refused at the operand, in its own words."""
    value = _evaluate(node, scope)
    try:
        return read(value)
    except ExpressionError as error:
        named = f"{node.id}: " if isinstance(node, ast.Name) else ""
        raise ExpressionError(f"{named}{error}", node.col_offset) from None


def _compare(left: ast.expr, ops: list[ast.cmpop], rights: list[ast.expr], scope: Scope) -> bool:
    """A chain, each part read once and no further than the first that does not hold."""
    value = _evaluate(left, scope)
    for op, right in zip(ops, rights, strict=True):
        other = _evaluate(right, scope)
        if not compare(type(op).__name__, value, other):
            return False
        value = other
    return True


def _value(node: ast.expr, scope: Scope) -> Any:
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            return CONSTANTS[name] if name in CONSTANTS else scope.name(name)
        case ast.BinOp(left, op, right):
            values = [_operand(number, part, scope) for part in (left, right)]
            return compute(type(op).__name__, *values)
        case ast.UnaryOp(ast.Not(), operand):
            return not _operand(truth, operand, scope)
        case ast.UnaryOp(op, operand):
            value = _operand(number, operand, scope)
            return -value if isinstance(op, ast.USub) else value
        case ast.BoolOp(ast.And(), values):
            return all(_operand(truth, part, scope) for part in values)
        case ast.BoolOp(_, values):
            return any(_operand(truth, part, scope) for part in values)
        case ast.IfExp(test, body, orelse):
            return _evaluate(body if _operand(truth, test, scope) else orelse, scope)
        case ast.Compare(left, ops, rights):
            return _compare(left, ops, rights, scope)
        case ast.Tuple(parts):
            return tuple(_evaluate(part, scope) for part in parts)
        case ast.Call(ast.Name(function), args):
            values = [_evaluate(arg, scope) for arg in args]
            call = FUNCTIONS.get(function)
            return call(*values) if call else scope.call(function, *values)
    raise AssertionError(f"not in the language: {ast.dump(node)}")
