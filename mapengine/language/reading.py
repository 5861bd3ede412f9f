"""A document to a `Mapping`: the only reader of dicts.

The schema has been checked before, so types are what they should be; what is looked at here is
what a schema cannot see: patterns, expressions, names. All problems are collected.
"""

from __future__ import annotations

import math
from typing import Any

from mapengine.errors import MappingError, Problem, by_place
from mapengine.language.document import Document
from mapengine.language.expressions import Expression
from mapengine.language.mapping import (
    MISSING,
    SIDES,
    TENSOR_FILE,
    Choice,
    ConfigField,
    ConfigFile,
    FilePattern,
    Mapping,
    Side,
    SideLayout,
)
from mapengine.language.patterns import Hole
from mapengine.language.reader import Path
from mapengine.language.rule_reading import RuleReader
from mapengine.language.schema_check import check_schema


def read_mapping(document: Document) -> Mapping:
    """The mapping a document holds. Raises `MappingError` with every problem found."""
    check_schema(document)
    reader = _MappingReader(document)
    mapping = reader.mapping()
    if reader.problems:
        raise MappingError(*sorted(reader.problems, key=by_place))
    return mapping


MOST_LAYOUTS = 64


class _MappingReader(RuleReader):
    """Reads the whole file: its sides, its config fields, and its rules."""

    def mapping(self) -> Mapping:
        data = self.document.data
        sides = {name: self.side(name, data[name]) for name in SIDES}
        config = dict(data.get("config", {}))
        carry = config.pop("carry", [])
        if carry != "rest" and not isinstance(carry, list):
            self.problem("ME205", f"{carry!r} is neither a list nor 'rest'", ("config", "carry"))
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
            ignore_objects=tuple(ignore.get("objects", ())),
            dtype=body.get("dtype"),
            root=body.get("root", ""),
            model=body.get("model"),
            where=self.document.where_key(path),
        )
        if math.prod(map(len, side.choices)) > MOST_LAYOUTS:
            message = f"more than {MOST_LAYOUTS:,} layouts: one of each choice is one"
            raise MappingError(*self.problems, Problem("ME103", message, self.where(at)))
        if any(not side.files(layout) for layout in side.layouts()):
            self.problem("ME203", "no layout, and not the side, says its 'tensors'", path)
        return side

    def layout(self, name: str, body: dict[str, Any], path: Path) -> SideLayout:
        if name in self.layout_names:
            self.problem("ME214", f"layout {name!r} is there twice", path)
        self.layout_names.add(name)
        return SideLayout(
            name,
            self.files(body.get("tensors"), (*path, "tensors")),
            self.config_file(body.get("config"), (*path, "config")),
            body.get("root"),
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
            self.problem("ME212", f"{text!r} has both `*` and braces; one of them will do", path)
        hangs = None if prefix is None else self.pattern(prefix, (*path, "prefix"))
        return FilePattern(pattern, hangs, self.document.where(path))

    def config_file(self, body: Any, path: Path) -> ConfigFile | None:
        if body is None:
            return None
        if isinstance(body, str):
            return ConfigFile(self.plain_name(body, path))
        steps = self.path(body["at"], (*path, "at")).steps if "at" in body else ()
        if any("/" in step for step in steps):
            message = f"{body['at']!r} is no config path: / is for the keys of tensors"
            help = f"dots step in: at: {body['at'].strip('/').replace('/', '.')}"
            self.problem("ME217", message, (*path, "at"), help)
        if "file" not in body:
            return ConfigFile(TENSOR_FILE, steps)
        return ConfigFile(self.plain_name(body["file"], (*path, "file")), steps)

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

    def field(self, name: str, body: Any) -> ConfigField:
        path: Path = ("config", name)
        if isinstance(body, str):
            body = {"source": body, "target": body}
        return ConfigField(
            name=name,
            places={side: self.places(body, side, path) for side in SIDES},
            defaults=self.defaults(body.get("default", MISSING), (*path, "default")),
            value=self.choice(body["value"]) if "value" in body else Choice(),
            compute=self.expression(body["compute"], (*path, "compute"))
            if "compute" in body
            else None,
            type=body.get("type"),
            words=body.get("values", {}),
            whens=self.whens(body.get("when", MISSING), (*path, "when")),
            optional=body.get("optional", False),
            each=body.get("each"),
            where=self.document.where_key(path),
        )

    def whens(self, body: Any, path: Path) -> dict[str, Expression]:
        """A condition for both sides, or one for either."""
        if body is MISSING:
            return {}
        if isinstance(body, dict):
            return {side: self.expression(one, (*path, side)) for side, one in body.items()}
        return dict.fromkeys(SIDES, self.expression(body, path))

    def defaults(self, body: Any, path: Path) -> dict[str, Expression]:
        if body is MISSING:
            return {}
        if isinstance(body, dict) and body and body.keys() <= {"source", "target"}:
            return {side: self.expression(v, (*path, side)) for side, v in body.items()}
        if isinstance(body, list | dict):
            kind = "a list" if isinstance(body, list) else "an object"
            message = f"{kind} where a default is wanted: a number, a word in quotes, true, false, "
            help = "a list is given by `value`, a preset or `--set`" if kind == "a list" else ""
            self.problem("ME204", f"{message}null or an expression", path, help)
            return {}
        return {"source": self.expression(body, path)}
