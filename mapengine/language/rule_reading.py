"""The `tensors:` of a document to rules: scopes, keys, shapes, conditions and ops."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mapengine.errors import MappingError, Problem, suggest
from mapengine.language.expressions import Expression
from mapengine.language.mapping import (
    Constant,
    Layout,
    OpCall,
    Rule,
)
from mapengine.language.patterns import split_rule, split_scope
from mapengine.language.reader import Path, Reader
from mapengine.language.schema_check import path_text
from mapengine.language.schema_ops import argument_name
from mapengine.ops import OPS
from mapengine.ops.rearrange import axis_names
from mapengine.specs import DTYPES
from mapengine.views import VALUES

MOST_RULES = 5_000
_CONSTANT = "key: {value: zeros, shape: [8], dtype: float32}"


class RuleReader(Reader):
    """Reads rules, in the order of the file, into `rules`."""

    def read_rules(
        self,
        items: list[Any],
        path: Path,
        prefixes: list[tuple[str, str]],
        when: tuple[Expression, ...],
        layouts: tuple[frozenset[Layout], ...],
    ) -> None:
        for i, item in enumerate(items):
            at = (*path, i)
            if len(self.rules) == MOST_RULES:
                message = f"more than {MOST_RULES:,} rules; an index writes many as one"
                raise MappingError(*self.problems, Problem("ME103", message, self.where(at)))
            if isinstance(item, dict) and "scope" in item:
                self.scope(item, at, prefixes, when, layouts)
            else:
                text, body = (item, {}) if isinstance(item, str) else next(iter(item.items()))
                here = at if isinstance(item, str) else (*at, text)
                self.rules.append(self.rule(text, body or {}, here, prefixes, when, layouts))

    def scope(
        self,
        item: dict[str, Any],
        path: Path,
        prefixes: list[tuple[str, str]],
        when: tuple[Expression, ...],
        layouts: tuple[frozenset[Layout], ...],
    ) -> None:
        prefix = self.attempt(lambda: split_scope(item["scope"]), (*path, "scope"), ("?", "?"))
        when, layouts = self.conditions(item, path, path_text(path), when, layouts)
        inside = [*prefixes, prefix]
        self.read_rules(item["tensors"], (*path, "tensors"), inside, when, layouts)

    def conditions(
        self,
        body: dict[str, Any],
        path: Path,
        name: str,
        when: tuple[Expression, ...],
        layouts: tuple[frozenset[Layout], ...],
    ) -> tuple[tuple[Expression, ...], tuple[frozenset[Layout], ...]]:
        if "when" in body:
            when = (*when, self.expression(body["when"], (*path, "when"), f"{name}.when"))
        if "layout" in body:
            names = body["layout"]
            listed = [names] if isinstance(names, str) else names
            kept = frozenset(frozenset(one.split("+")) for one in listed)
            for one in sorted(frozenset[str]().union(*kept) - self.layout_names):
                self.no_layout(one, (*path, "layout"), name=f"{name}.layout")
            layouts = (*layouts, kept)
        return when, layouts

    def rule(
        self,
        text: str,
        body: dict[str, Any],
        path: Path,
        prefixes: list[tuple[str, str]],
        when: tuple[Expression, ...],
        layouts: tuple[frozenset[Layout], ...],
    ) -> Rule:
        name = f"rules[{len(self.rules)}]"
        where = self.where(path)
        nothing: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        sources, targets = self.attempt(lambda: split_rule(text), path, nothing, name)
        constant = self.constant(body, path, name) if targets and not sources else None
        if sources:
            self.no_constant(body, path, name)
        prefix = ["".join(p[side] for p in prefixes) for side in (0, 1)]
        when, layouts = self.conditions(body, path, name, when, layouts)
        return Rule(
            sources=tuple(self.pattern(prefix[0] + key, path, name) for key in sources),
            targets=tuple(self.pattern(prefix[1] + key, path, name) for key in targets),
            shapes=self.shapes(
                body.get("shape") if sources else None, len(sources), path, f"{name}.shape"
            ),
            dtypes=self.dtypes(body.get("dtype") if sources else None, len(sources), path, name),
            ops=tuple(
                self.op(call, (*path, "ops", i), f"{name}.ops[{i}]")
                for i, call in enumerate(body.get("ops", []))
            ),
            when=when,
            layouts=layouts,
            optional=body.get("optional", False),
            scope=(prefix[0], prefix[1]),
            constant=constant,
            where=where,
            path=name,
        )

    def constant(self, body: dict[str, Any], path: Path, name: str) -> Constant | None:
        """The tensor that a rule without a source says itself."""
        missing = [word for word in ("value", "shape", "dtype") if word not in body]
        if missing:
            words = ", ".join(map(repr, missing))
            message = f"no source has this key, and {words} is missing"
            self.problem("ME203", message, path, f"- -> {_CONSTANT}", name)
            return None
        if "ops" in body:
            message = "a constant takes no ops: its value, shape and dtype say all"
            self.problem("ME227", message, (*path, "ops"), name=f"{name}.ops")
        for word in ("shape", "dtype"):
            several = body[word] if word == "shape" else [body[word]]
            if any(isinstance(one, list) for one in several):
                message = f"a constant has one {word}, of its target"
                self.problem("ME216", message, (*path, word), name=f"{name}.{word}")
                return None
        ((*shape,),) = self.shapes(body["shape"], 1, path, f"{name}.shape")
        value, dtype = body["value"], body["dtype"]
        if value not in VALUES:
            value = self.expression(value, (*path, "value"), f"{name}.value")
        if dtype not in DTYPES:
            dtype = self.expression(dtype, (*path, "dtype"), f"{name}.dtype")
        return Constant(value, tuple(shape), dtype)

    def no_constant(self, body: dict[str, Any], path: Path, name: str) -> None:
        """Refuses what only a rule without a source can say."""
        if "value" in body:
            message = "'value' is for a key that no source has"
            where = self.document.where_key((*path, "value"))
            self.problem("ME227", message, path, f"- -> {_CONSTANT}", f"{name}.value", where)

    def shapes(
        self, body: Any, sources: int, path: Path, name: str
    ) -> tuple[tuple[Expression, ...], ...]:
        if body is None:
            return ()
        at: Path = (*path, "shape")
        if not any(isinstance(size, list) for size in body):
            one = tuple(self.expression(size, (*at, i), name) for i, size in enumerate(body))
            return (one,) * sources
        if len(body) != sources or not all(isinstance(size, list) for size in body):
            self.problem("ME216", f"one shape, or one for each of {sources} sources", at, name=name)
            return ()
        return tuple(
            tuple(self.expression(size, (*at, i, j), name) for j, size in enumerate(shape))
            for i, shape in enumerate(body)
        )

    def dtypes(self, body: Any, sources: int, path: Path, name: str) -> tuple[str, ...]:
        listed = body if isinstance(body, list) else [body] * sources if body else []
        at, name = (*path, "dtype"), f"{name}.dtype"
        if listed and len(listed) != sources:
            message = f"one dtype, or one for each of {sources} sources"
            self.problem("ME216", message, at, name=name)
        for dtype in dict.fromkeys(listed):
            if dtype not in DTYPES:
                hint = suggest(dtype, DTYPES) or f"dtypes: {', '.join(DTYPES)}"
                self.problem("ME205", f"there is no dtype {dtype!r}", at, hint, name)
        return tuple(listed)

    def op(self, call: Any, path: Path, name: str) -> OpCall:
        op, body = (call, {}) if isinstance(call, str) else next(iter(call.items()))
        kind = OPS[op]
        where = self.document.where(path) if op == call else self.document.where_key((*path, op))
        here: Path = path if op == call else (*path, op)
        name = f"{name}.{op}"
        given = body if isinstance(body, dict) else {kind.positional: body}
        arguments, names = {}, frozenset[str]()
        for argument in fields(kind):
            key = argument_name(argument)
            if key in given:
                at = (*here, key) if isinstance(body, dict) else here
                value, as_kind = given[key], argument.metadata["kind"]
                arguments[argument.name], used = self.argument(value, as_kind, at, name)
                names |= used
        return OpCall(op, arguments, names, where, name)

    def argument(self, value: Any, kind: str, path: Path, name: str) -> tuple[Any, frozenset[str]]:
        """An argument, and the names in it."""
        match kind:
            case "integers" if isinstance(value, list):
                read = tuple(self.expression(v, (*path, i), name) for i, v in enumerate(value))
                return read, frozenset[str]().union(*(one.names for one in read))
            case "integer" | "number" | "integers":
                expression = self.expression(value, path, name)
                return expression, expression.names
            case "axes":
                nothing = frozenset[str]()
                return value, self.attempt(lambda: axis_names(value), path, nothing, name)
        return value, frozenset()
