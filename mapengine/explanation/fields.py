"""A config field, by its name or its path on either side: its value, and where that is from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mapengine.binding.config_values import ABSENT, look_up
from mapengine.binding.names import ModelNames, UnboundName
from mapengine.errors import Problem, Where
from mapengine.explanation.known import Known
from mapengine.language.expressions import Expression, ExpressionError
from mapengine.language.mapping import ConfigField, ConfigPath, Mapping, Side


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field stands on a side, and what is there; ABSENT where nothing is."""

    path: str
    value: Any


@dataclass(frozen=True, slots=True)
class FieldExplained:
    """A field of one model. `origin` says where the value is from; ABSENT is a value unknown.

    `used` are the places of the expressions, shapes and patterns that ask for it.
    """

    name: str
    field: ConfigField
    reads: str
    read: tuple[Place, ...]
    writes: str
    written: tuple[Place, ...]
    value: Any
    origin: str
    used: tuple[Where, ...]
    example: bool
    problems: tuple[Problem, ...]


def field_names(known: Known) -> Iterator[str]:
    """The names of all fields, and their paths."""
    names = known.binding.names
    for field in names.mapping.fields.values():
        yield field.name
        for side in (names.side, names.other):
            yield from map(str, field.paths(side.name, names.layout))


def fields_called(known: Known, name: str) -> Iterator[FieldExplained]:
    """The fields of that name, or that stand at such a path."""
    names = known.binding.names
    for field in names.mapping.fields.values():
        paths = {
            text
            for side in (names.side, names.other)
            for path in field.paths(side.name, names.layout)
            for text in _told(path, side, names)
        }
        if name in (field.name, f"config.{field.name}") or name in paths:
            yield _explained(known, field)


def _told(path: ConfigPath, side: Side, names: ModelNames) -> tuple[str, str]:
    """A path as it is written, and with its file before it."""
    main = side.config_file(names.layout)
    whole = path if path.file or not main else ConfigPath((*main.at, *path.steps), main.file)
    return str(path), str(whole)


def _explained(known: Known, field: ConfigField) -> FieldExplained:
    names = known.binding.names
    path = f"config.{field.name}"
    value, origin = ABSENT, "nothing asks for it"
    if field.name in names.failed or field.name in names.missing:
        origin = "it has no value"
    with suppress(UnboundName, ExpressionError):
        if field.name in names.origins:
            value, origin = names.value(field.name), names.origins[field.name]
    if known.example and origin == "--set" and field.name not in known.given:
        origin = "the example"
    return FieldExplained(
        field.name,
        field,
        names.side.name,
        tuple(_read(names, field)),
        names.other.name,
        tuple(_written(known, field)),
        value,
        origin,
        tuple(dict.fromkeys(_uses(names.mapping, field.name))),
        known.example,
        tuple(p for p in (*known.binding.problems, *known.problems) if p.path == path),
    )


def _read(names: ModelNames, field: ConfigField) -> Iterator[Place]:
    for path in field.paths(names.side.name, names.layout):
        whole = _told(path, names.side, names)[1]
        yield Place(whole, look_up(names.config.start(path.file), path.steps))


def _written(known: Known, field: ConfigField) -> Iterator[Place]:
    names, configs = known.binding.names, known.binding.configs
    main = names.other.config_file(names.layout)
    for path in field.paths(names.other.name, names.layout):
        file, below = path.file, () if path.file or not main else main.at
        config = configs.get(file or (main.file if main else "config.json"), {})
        whole = _told(path, names.other, names)[1]
        yield Place(whole, look_up(config, (*below, *path.steps)))


def _uses(mapping: Mapping, name: str) -> Iterator[Where]:
    """The places that ask for a name: fields, ranges, and rules."""
    for field in mapping.fields.values():
        said = (field.compute, *field.defaults.values(), *field.whens.values())
        if any(name in one.names for one in said if one is not None):
            yield field.where
    for index, size in mapping.dims.items():
        if isinstance(size, Expression) and name in size.names:
            yield mapping.document.where_key(("dims", index))
    for rule in mapping.rules:
        expressions: list[Expression] = [
            *rule.when,
            *(size for shape in rule.shapes for size in shape),
        ]
        expressions += [] if rule.constant is None else rule.constant.expressions()
        asked = [one.names for one in (*rule.sources, *rule.targets)]
        asked += [one.names for one in rule.ops] + [one.names for one in expressions]
        if any(name in names for names in asked):
            yield rule.where
