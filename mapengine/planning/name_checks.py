"""Names in a mapping's expressions that nothing gives a value, and conditions that are none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mapengine.errors import Problem, Where, suggest
from mapengine.language.arithmetic import place_of
from mapengine.language.expressions import Expression
from mapengine.language.mapping import Constant, Mapping, Rule
from mapengine.language.patterns import KeyPattern, PatternError
from mapengine.language.schema_hints import OLD_WORDS
from mapengine.planning.fan_checks import loops_of
from mapengine.specs import DTYPES
from mapengine.views import VALUES

_IS_WORD = "a config field is named under `config`; a word stands in quotes twice: \"'{0}'\""
_OF_HEADERS = ("size", "dtype", "present", "count")


def unknown(
    expression: Expression,
    known: Iterable[str],
    path: str,
    indices: Iterable[str] = (),
    words_too: Iterable[str] = (),
) -> Iterator[Problem]:
    """Names an expression cannot see. `indices` are those of the file that have no value here.

    `words_too` might stand in the expression's place.
    """
    words = [*known, "layout"]
    for name in sorted(expression.names.difference(words)):
        where = _where_of(name, expression)
        if name in indices:
            message = f"{name!r} is an index, and has no one value here"
            yield Problem(
                "ME218", message, where, path, "an index has a value where the rule loops"
            )
        else:
            yield Problem(
                "ME218",
                f"there is no name {name!r}",
                where,
                path,
                _instead(name) or suggest(name, [*words, *words_too]) or _IS_WORD.format(name),
            )
    yield from _patterns_asked_for(expression, path)


def _instead(name: str) -> str:
    return f"write {OLD_WORDS[name.lower()]}" if name.lower() in OLD_WORDS else ""


def _where_of(name: str, expression: Expression) -> Where | None:
    found = re.search(rf"\b{re.escape(name)}\b", expression.text)
    return place_of(expression.where, expression.text, found.start() if found else 0, len(name))


def _patterns_asked_for(expression: Expression, path: str) -> Iterator[Problem]:
    for function, words in expression.calls:
        try:
            for hole in KeyPattern.parse(str(words[0])).holes if function == "count" else ():
                if hole.name is None:
                    message = (
                        f"count takes braces for anything, and works out no {{{hole.expression}}}"
                    )
                    help = f"write {{{min(hole.expression.names, default='n')}}}: all are counted"
                    yield Problem("ME212", message, expression.where, path, help)
        except PatternError as error:
            yield Problem("ME212", str(error), expression.where, path, error.help)


def _condition(when: Expression, path: str) -> Iterator[Problem]:
    if isinstance(when.tree, ast.Constant) and not isinstance(when.tree.value, bool):
        message = f"a condition is true or false, never {when.text}"
        yield Problem("ME218", message, when.where, path)


def config_expressions(mapping: Mapping) -> Iterator[Problem]:
    indices = mapping.dims.keys()
    for name, expression, path in _expressions_of_config(mapping):
        yield from unknown(expression, mapping.fields, path, indices)
        if name == "when":
            yield from _condition(expression, path)
        if name == "backwards":
            yield from _headers_asked(expression, path)


def _headers_asked(default: Expression, path: str) -> Iterator[Problem]:
    """Headers are those of the source: what the target's absence means cannot ask them."""
    choices = (ast.IfExp, ast.BoolOp)  # of which another part may be what is worked out
    if any(isinstance(node, choices) for node in ast.walk(default.tree)):
        return
    for function, words in default.calls:
        if function in _OF_HEADERS:
            message = (
                f"{function}({', '.join(map(repr, words))}) asks the headers of the source, and "
                "this is for when the target is read"
            )
            help = "leave it out: on the way back a preset or `--set` says the value"
            yield Problem("ME405", message, default.where, path, help)


def _expressions_of_config(mapping: Mapping) -> Iterator[tuple[str, Expression, str]]:
    for field in mapping.fields.values():
        path = f"config.{field.name}"
        if field.compute is not None:
            yield "compute", field.compute, f"{path}.compute"
        for when in dict.fromkeys(field.whens.values()):
            yield "when", when, f"{path}.when"
        for side, default in field.defaults.items():
            yield ("backwards" if side == "target" else "default"), default, f"{path}.default"
    for index, size in mapping.dims.items():
        if isinstance(size, Expression):
            yield "dims", size, f"dims.{index}"


def rule_expressions(mapping: Mapping) -> Iterator[Problem]:
    known = {*mapping.fields, *mapping.dims, "layout"}
    for rule in mapping.rules:
        for pattern in (*rule.sources, *rule.targets):
            for hole in pattern.holes:
                for name in sorted(hole.expression.names.difference(known)):
                    near = suggest(name, mapping.dims)
                    help = near or f"an index gets its range under dims: {{{name}: ...}}"
                    message = f"there is no name {name!r}"
                    yield Problem("ME218", message, rule.where, rule.path, help)
                yield from _patterns_asked_for(hole.expression, rule.path)
        inside = {*mapping.fields, *loops_of(rule, mapping)}
        for when in rule.when:
            yield from unknown(when, inside, f"{rule.path}.when", mapping.dims)
            yield from _condition(when, f"{rule.path}.when")
        for path, expression in _expressions_of(rule):
            yield from unknown(expression, inside, path, mapping.dims)
        if rule.constant is not None:
            yield from _constant(rule, rule.constant, inside, mapping)


def _expressions_of(rule: Rule) -> Iterator[tuple[str, Expression]]:
    for shape in dict.fromkeys(rule.shapes):
        yield from ((f"{rule.path}.shape", size) for size in shape)
    for call in rule.ops:
        for value in call.arguments.values():
            listed: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
            yield from ((call.path, one) for one in listed if isinstance(one, Expression))


def _constant(
    rule: Rule, constant: Constant, inside: set[str], mapping: Mapping
) -> Iterator[Problem]:
    for size in constant.shape:
        yield from unknown(size, inside, f"{rule.path}.shape", mapping.dims)
    for name, one, words in (
        ("value", constant.value, VALUES),
        ("dtype", constant.dtype, DTYPES),
    ):
        if isinstance(one, Expression):
            yield from unknown(one, inside, f"{rule.path}.{name}", mapping.dims, words)
