"""A document to a `Mapping`: the only reader of dicts.

The schema has been checked before, so types are what they should be; what is looked at here is
what a schema cannot see: patterns, expressions, names. All problems are collected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from mapengine.errors import MappingError, OpError, Problem, Where, suggest
from mapengine.language.document import Document
from mapengine.language.expressions import Expression, ExpressionError, parse_value
from mapengine.language.mapping import (
    MISSING,
    Choice,
    ConfigField,
    ConfigFile,
    ConfigPath,
    FilePattern,
    Mapping,
    OpCall,
    Rule,
    Side,
    SideLayout,
)
from mapengine.language.patterns import Hole, KeyPattern, PatternError, split_rule, split_scope
from mapengine.language.schema import argument_name, check_schema, path_text
from mapengine.ops import OPS
from mapengine.ops.rearrange import axis_names

Path = tuple[str | int, ...]
T = TypeVar("T")
_NOTHING = parse_value(None)
_ANY_KEY = KeyPattern.parse("?")
_NO_RULES = ("scope", "when", "layout", "tensors", "prefix")


def read_mapping(document: Document) -> Mapping:
    """The mapping a document holds. Raises `MappingError` with every problem found."""
    check_schema(document)
    reader = _Reader(document)
    mapping = reader.mapping()
    if reader.problems:
        raise MappingError(*sorted(reader.problems, key=_place))
    return mapping


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.where.line, problem.where.column) if problem.where else (0, 0)


def read_path(text: str) -> ConfigPath:
    """`moe.num_experts`, `a\\.b.c`, `generation_config.json:eos_token_id`."""
    file, colon, path = text.partition(":")
    if not colon or "." not in file:
        file, path = "", text
    steps = path.replace(r"\.", "\0").split(".")
    return ConfigPath(tuple(step.replace("\0", ".") for step in steps), file or None)


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.layout_names: set[str] = set()
        self.rules: list[Rule] = []

    def _problem(
        self,
        code: str,
        message: str,
        path: Path,
        help: str = "",
        name: str = "",
        where: Where | None = None,
    ) -> None:
        where = where or self._where(path)
        self.problems.append(Problem(code, message, where, name or path_text(path), help))

    def _where(self, path: Path) -> Where:
        """The place of the value at `path`; of the key, for a rule."""
        is_rule = len(path) > 1 and isinstance(path[-2], int) and path[-1] not in _NO_RULES
        return self.document.where_key(path) if is_rule else self.document.where(path)

    def _try(self, read: Callable[[], T], path: Path, otherwise: T, name: str = "") -> T:
        try:
            return read()
        except PatternError as error:
            self._problem("ME212", str(error), path, error.help, name, error.where)
        except ExpressionError as error:
            self._problem("ME211", str(error), path, error.help, name, error.where)
        except OpError as error:
            self._problem(error.code, str(error), path, error.help, name)
        return otherwise

    def expression(self, value: Any, path: Path, name: str = "") -> Expression:
        where = self.document.where(path)
        return self._try(lambda: parse_value(value, where), path, _NOTHING, name)

    def pattern(self, text: str, path: Path, name: str = "") -> KeyPattern:
        where = self._where(path)
        return self._try(lambda: KeyPattern.parse(text, where), path, _ANY_KEY, name)

    # -- the file ---------------------------------------------------------------------------

    def mapping(self) -> Mapping:
        data = self.document.data
        sides = {name: self.side(name, data[name]) for name in ("source", "target")}
        config = dict(data.get("config", {}))
        carry = config.pop("carry", [])
        if carry != "rest" and not isinstance(carry, list):
            self._problem("ME205", f"{carry!r} is neither a list nor 'rest'", ("config", "carry"))
        self.read_rules(data["tensors"], ("tensors",), [], (), ())
        return Mapping(
            name=data["name"],
            title=data.get("title", ""),
            sides=sides,
            files=tuple(
                self.plain_name(f, ("files", i)) for i, f in enumerate(data.get("files", []))
            ),
            fields={name: self.field(name, body) for name, body in config.items()},
            carry=()
            if isinstance(carry, str)
            else tuple(self.path(p, ("config", "carry", i)) for i, p in enumerate(carry)),
            carry_rest=carry == "rest",
            presets=data.get("presets", {}),
            dims={
                name: tuple(size)
                if isinstance(size, list)
                else self.expression(size, ("dims", name))
                for name, size in data.get("dims", {}).items()
            },
            rules=tuple(self.rules),
            example=data.get("example"),
            document=self.document,
        )

    def plain_name(self, name: str, path: Path) -> str:
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            self._problem("ME213", f"{name!r} is not the name of a file in the folder", path)
        return name

    def path(self, text: str, path: Path, *, below: bool = False) -> ConfigPath:
        """A config path; where `below` is meant, it may end in a dot."""
        read = read_path(text)
        if read.file is not None:
            self.plain_name(read.file, path)
        if "" in (read.steps[:-1] if below and len(read.steps) > 1 else read.steps):
            self._problem("ME217", f"{text!r} is no path: a name is missing beside a dot", path)
        return read

    # -- sides ------------------------------------------------------------------------------

    def side(self, name: str, body: dict[str, Any]) -> Side:
        path: Path = (name,)
        choices = body.get("layouts", [])
        listed = choices if isinstance(choices, list) else [choices]
        at: Path = (name, "layouts")
        ignore = body.get("ignore", {})
        side = Side(
            name=name,
            tensors=self.files(body.get("tensors"), (*path, "tensors")) or (),
            config=self.config_file(body.get("config"), (*path, "config")),
            choices=tuple(
                tuple(
                    self.layout(key, value, (*at, key) if listed is not choices else (*at, i, key))
                    for key, value in choice.items()
                )
                for i, choice in enumerate(listed)
            ),
            ignore_tensors=tuple(
                self.pattern(text, (*path, "ignore", "tensors", i))
                for i, text in enumerate(ignore.get("tensors", []))
            ),
            ignore_config=tuple(
                self.path(text, (*path, "ignore", "config", i), below=True)
                for i, text in enumerate(ignore.get("config", []))
            ),
            dtype=body.get("dtype"),
            root=body.get("root", ""),
            model=body.get("model"),
            where=self.document.where_key(path),
        )
        if any(not side.files(layout) for layout in side.layouts()):
            self._problem("ME203", "no layout, and not the side, says its 'tensors'", path)
        return side

    def layout(self, name: str, body: dict[str, Any], path: Path) -> SideLayout:
        if name in self.layout_names:
            self._problem("ME214", f"layout {name!r} is there twice", path)
        self.layout_names.add(name)
        return SideLayout(
            name,
            self.files(body.get("tensors"), (*path, "tensors")),
            self.config_file(body.get("config"), (*path, "config")),
        )

    def files(self, body: Any, path: Path) -> tuple[FilePattern, ...] | None:
        if body is None:
            return None
        if isinstance(body, list):
            return tuple(self.file(item, (*path, i)) for i, item in enumerate(body))
        return (self.file(body, path),)

    def file(self, body: Any, path: Path) -> FilePattern:
        text, prefix = (
            (body, None) if isinstance(body, str) else (body["files"], body.get("prefix"))
        )
        pattern = self.pattern(text, path)
        self.plain_name("".join("0" if isinstance(p, Hole) else p for p in pattern.parts), path)
        if "*" in text and pattern.names:
            self._problem("ME212", f"{text!r} has both `*` and braces; one of them will do", path)
        hangs = None if prefix is None else self.pattern(prefix, (*path, "prefix"))
        return FilePattern(pattern, hangs, self.document.where(path))

    def config_file(self, body: Any, path: Path) -> ConfigFile | None:
        if body is None:
            return None
        if isinstance(body, str):
            return ConfigFile(self.plain_name(body, path))
        steps = self.path(body["at"], (*path, "at")).steps if "at" in body else ()
        return ConfigFile(self.plain_name(body["file"], (*path, "file")), steps)

    # -- config -----------------------------------------------------------------------------

    def choice(self, value: Any) -> Choice:
        """One value, or one per layout: an object whose keys are all names of layouts."""
        if isinstance(value, dict) and value and value.keys() <= self.layout_names:
            return Choice(tuple(value.items()))
        return Choice(((None, value),))

    def places(self, body: dict[str, Any], side: str, path: Path) -> Choice:
        if side not in body:
            return Choice()
        at: Path = (*path, side)
        text = body[side]
        if not isinstance(text, dict):
            return Choice(((None, self.paths(text, at)),))
        for name in text.keys() - self.layout_names:
            self.no_layout(name, (*at, name), self.document.where_key((*at, name)))
        return Choice(tuple((name, self.paths(one, (*at, name))) for name, one in text.items()))

    def paths(self, body: Any, path: Path) -> tuple[ConfigPath, ...]:
        if isinstance(body, str):
            return (self.path(body, path),)
        return tuple(self.path(text, (*path, i)) for i, text in enumerate(body))

    def no_layout(
        self, layout: str, path: Path, where: Where | None = None, name: str = ""
    ) -> None:
        known = ", ".join(sorted(self.layout_names)) or "none"
        help = suggest(layout, self.layout_names) or f"layouts: {known}"
        self._problem("ME215", f"there is no layout {layout!r}", path, help, name, where)

    def field(self, name: str, body: Any) -> ConfigField:
        path: Path = ("config", name)
        if isinstance(body, str):
            body = {"source": body, "target": body}
        return ConfigField(
            name=name,
            places={side: self.places(body, side, path) for side in ("source", "target")},
            defaults=self.defaults(body.get("default", MISSING), (*path, "default")),
            value=self.choice(body["value"]) if "value" in body else Choice(),
            compute=self.expression(body["compute"], (*path, "compute"))
            if "compute" in body
            else None,
            type=body.get("type"),
            words=body.get("values", {}),
            when=self.expression(body["when"], (*path, "when")) if "when" in body else None,
            optional=body.get("optional", False),
            each=body.get("each"),
            where=self.document.where_key(path),
        )

    def defaults(self, body: Any, path: Path) -> dict[str, Expression]:
        if body is MISSING:
            return {}
        if isinstance(body, dict) and body and body.keys() <= {"source", "target"}:
            return {side: self.expression(v, (*path, side)) for side, v in body.items()}
        if isinstance(body, list | dict):
            self._problem("ME204", "a default is a value or an expression", path)
            return {}
        return {"source": self.expression(body, path)}

    # -- rules ------------------------------------------------------------------------------

    def read_rules(
        self,
        items: list[Any],
        path: Path,
        prefixes: list[tuple[str, str]],
        when: tuple[Expression, ...],
        layouts: tuple[frozenset[str], ...],
    ) -> None:
        for i, item in enumerate(items):
            at = (*path, i)
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
        layouts: tuple[frozenset[str], ...],
    ) -> None:
        prefix = self._try(lambda: split_scope(item["scope"]), (*path, "scope"), ("?", "?"))
        when, layouts = self.conditions(item, path, path_text(path), when, layouts)
        inside = [*prefixes, prefix]
        self.read_rules(item["tensors"], (*path, "tensors"), inside, when, layouts)

    def conditions(
        self,
        body: dict[str, Any],
        path: Path,
        name: str,
        when: tuple[Expression, ...],
        layouts: tuple[frozenset[str], ...],
    ) -> tuple[tuple[Expression, ...], tuple[frozenset[str], ...]]:
        if "when" in body:
            when = (*when, self.expression(body["when"], (*path, "when"), f"{name}.when"))
        if "layout" in body:
            names = body["layout"]
            kept = frozenset([names] if isinstance(names, str) else names)
            for one in sorted(kept - self.layout_names):
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
        layouts: tuple[frozenset[str], ...],
    ) -> Rule:
        name = f"rules[{len(self.rules)}]"
        where = self._where(path)
        nothing: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        sources, targets = self._try(lambda: split_rule(text), path, nothing, name)
        if not sources and targets:
            self._problem("ME212", "a rule needs a source", path, name=name)
        prefix = ["".join(p[side] for p in prefixes) for side in (0, 1)]
        when, layouts = self.conditions(body, path, name, when, layouts)
        return Rule(
            sources=tuple(self.pattern(prefix[0] + key, path, name) for key in sources),
            targets=tuple(self.pattern(prefix[1] + key, path, name) for key in targets),
            shapes=self.shapes(body.get("shape"), len(sources), path, f"{name}.shape"),
            ops=tuple(
                self.op(call, (*path, "ops", i), f"{name}.ops[{i}]")
                for i, call in enumerate(body.get("ops", []))
            ),
            when=when,
            layouts=layouts,
            optional=body.get("optional", False),
            scope=(prefix[0], prefix[1]),
            where=where,
            path=name,
        )

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
            self._problem(
                "ME216", f"one shape, or one for each of {sources} sources", at, name=name
            )
            return ()
        return tuple(
            tuple(self.expression(size, (*at, i, j), name) for j, size in enumerate(shape))
            for i, shape in enumerate(body)
        )

    def op(self, call: Any, path: Path, name: str) -> OpCall:
        op, body = (call, {}) if isinstance(call, str) else next(iter(call.items()))
        kind = OPS[op]
        where = self.document.where(path) if op == call else self.document.where_key((*path, op))
        here: Path = path if op == call else (*path, op)
        name = f"{name}.{op}"
        given = body if isinstance(body, dict) else {kind.positional: body}
        arguments = {}
        for argument in fields(kind):
            key = argument_name(argument)
            if key in given:
                at = (*here, key) if isinstance(body, dict) else here
                value, as_kind = given[key], argument.metadata["kind"]
                arguments[argument.name] = self.argument(value, as_kind, at, name)
        return OpCall(op, arguments, where, name)

    def argument(self, value: Any, kind: str, path: Path, name: str) -> Any:
        match kind:
            case "integer" | "number":
                return self.expression(value, path, name)
            case "integers" if isinstance(value, list):
                return tuple(self.expression(v, (*path, i), name) for i, v in enumerate(value))
            case "integers":
                return self.expression(value, path, name)
            case "axes":
                self._try(lambda: axis_names(value), path, frozenset[str](), name)
        return value
